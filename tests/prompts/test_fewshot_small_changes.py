"""What the plain-text style reads, and how it names itself."""

from __future__ import annotations

import pytest

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.fewshot import _bare

FEWSHOT = STYLES.get("fewshot")


def test_styles_know_their_name_and_whether_a_template_goes_around_them() -> None:
    found = {
        name: (STYLES.get(name).name, STYLES.get(name).uses_chat_template) for name in ("micro", "chat", "fewshot")
    }
    assert found == {"micro": ("micro", True), "chat": ("chat", True), "fewshot": ("fewshot", False)}


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("c,a,b", (2, 0, 1)), ("c a b", (2, 0, 1)), ("c, a, b", (2, 0, 1)),
        ("ab c a", None), ("b cd a", None), ("bc b c", None), ("a 1 c", None), ("a a b", None), ("a b", None),
    ],
)  # fmt: skip
def test_a_ranking_is_a_permutation_of_single_letters(text: str, order: tuple[int, ...] | None) -> None:
    assert FEWSHOT.parse_ranking(text, 3) == order


@pytest.mark.parametrize(
    ("text", "order"), [("a3 b5 c2 : c a b", (2, 0, 1)), ("c ab b", None), ("c : b ca b", None), (": ab bc c", None)]
)
def test_a_micro_ranking_is_a_permutation_of_single_letters(text: str, order: tuple[int, ...] | None) -> None:
    assert STYLES.get("micro").parse_ranking(text, 3) == order


@pytest.mark.parametrize(
    ("said", "bare"),
    [
        ("$\\frac{1}{2}$", "\\frac{1}{2}"), ("\\frac{1}{2}$", "\\frac{1}{2}$"), ("$\\pi", "$\\pi"), ("$$", "$$"),
        ("$x$", "x"), ("$1,200", "1200"), ("12 birds", "12"), ("$ a $", "a"),
    ],
)  # fmt: skip
def test_dollars_are_taken_off_where_they_stand_on_both_sides(said: str, bare: str) -> None:
    assert _bare(said) == bare
