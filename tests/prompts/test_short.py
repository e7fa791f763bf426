"""The style `short`: plain questions for small instruct models, and what counts as their answer."""

from __future__ import annotations

import pytest

from ilr_bench.prompts import STYLES, task_formats
from ilr_bench.prompts.style import Mode

SHORT = STYLES.get("short")
FORMS = task_formats(SHORT)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("cold", "cold"),
        ("Cold.", "Cold"),
        ('The answer is "56".', "56"),
        ("The answer is: **56**", "56"),
        ("2 + 3 = 5", "5"),
        ("The opposite of open is closed.", "closed"),
        ("\n It is what it is: New York City!", "New York City"),
        ("56\nNo, 65", "56"),
        ("A rose is a plant.", "plant"),
        ("An animal", "animal"),
        ("The Hague", "The Hague"),
        ("A", "A"),
        ("The larger one is", None),  # cut off: no answer, and not its last word
        ("<think>It is 3.</think>4", "4"),
        ("To find the larger number we have to compare both", None),
        ("", None),
        ("is:", None),
    ],
)
def test_a_short_line_is_the_answer_and_of_a_sentence_its_end(said: str, answer: str | None) -> None:
    assert SHORT.extract_answer(said) == answer
    assert FORMS.extract_as(said, "answer") == answer


def test_a_choice_is_one_letter() -> None:
    said = ("B", "(B) dog", "B or C", "dog\nB")
    assert [FORMS.extract_as(text, "choice") for text in said] == ["B", "B", None, None]


def test_questions_are_asked_plainly_and_again_after_the_discussion() -> None:
    assert SHORT.solve("How many?") == "How many?\nAnswer with one word or number."
    one = SHORT.analyse("How many?", "2", ["3"], Mode.COOPERATE)
    assert one.splitlines()[1:3] == ["You answered: 2", "Your partner answered: 3"]
    two = SHORT.fuse("How many?", "2", ["3", "4"], "good", ["bad", "fine"], Mode.COMPETE)
    assert "Your opponent 2 answered: 4\nYou remarked: good\nYour opponent 1 remarked: bad\n" in two
    assert two.endswith(f"Now once more: {SHORT.solve('How many?')}")
    assert "wrong" in SHORT.analyse("How many?", "2", ["3"], Mode.COMPETE)
    assert "wrong" not in one


def test_forms_follow_the_kind_of_answer() -> None:
    assert FORMS.solve_as("Which?", "choice") == "Which?\nAnswer with the letter of the right option."
    assert "```python" in FORMS.solve_as("Sort.", "code")
    assert FORMS.stops_as("code") == ()
    assert FORMS.stops_as("choice") == SHORT.stop_strings() == ("\n",)


@pytest.mark.parametrize(
    ("said", "order"), [("2, 1, 3", (1, 0, 2)), ("3 2 1\n1", (2, 1, 0)), ("1, 2", None), ("1, 1, 2", None)]
)
def test_rankings_are_numbers_of_the_first_line(said: str, order: tuple[int, ...] | None) -> None:
    assert SHORT.parse_ranking(said, 3) == order
