"""A second letter in brackets or in a reason is not an option that is named; one with a mark of its own is."""

from __future__ import annotations

import pytest

from ilr_bench.prompts.letters import letter_of, names_another

NAMED = (
    "( B ) one", "( B )", "[ B ] one",
    "B. seven (see C. eight)", "B. seven (see C) eight", "B. seven (as in C: x) more",
    "B. one (two (three) C. four)", "B. one (the C) four", "B, because A or C would need more",
    "B, because if it were A or C, the sum would be odd", "B, since either A or C needs heat", "B, because A: heat",
    "B, because (A) burns", "B, because A", "B, since A.", "B, because A or D; possibly none",
    "B, because A. x may be", "B, so B it is", "B (b)", "B, only A and C hold", "B. C x", "B) one (two C. four",
)  # fmt: skip
HEDGED = (
    "B. seven (C) eight", "B. seven C. eight", "B. seven C) eight", "B. seven (big) C) eight",
    "B. one (two) three C. four", "B. one (C. two", "B. one two) C. three", "B. one D: two",
    "(B)or C", "B, only A and C hold, or D", "B, not A, maybe C", "B. c", "B. seven might C", "B. seven could be C",
    "B. seven may well C", "B) one (two) C. four",
)  # fmt: skip


@pytest.mark.parametrize("text", NAMED)
def test_a_letter_within_brackets_or_a_reason_is_no_second_option(text: str) -> None:
    assert letter_of(text) == "B"


@pytest.mark.parametrize("text", HEDGED)
def test_a_second_letter_with_a_mark_of_an_option_is_one(text: str) -> None:
    assert letter_of(text) is None


def test_the_nearest_hundred_and_twenty_characters_decide_on_a_letter() -> None:
    before = {size: f"B, because {'x' * (size - 9)} C" for size in (120, 121)}
    after = {size: f"B; C {'x' * (size - 10)} is wrong" for size in (120, 121)}
    assert [letter_of(text) for text in before.values()] == ["B", None]
    assert [letter_of(text) for text in after.values()] == ["B", None]
    assert letter_of("B, not C; " + "seven " * 40) == "B"


def test_words_of_the_option_name_no_other() -> None:
    assert (names_another(". seven", "B"), names_another(". C", "B")) == (False, True)
