"""A second option named beside the first makes an answer a hedge, unless it is denied or belongs to a reason."""

from __future__ import annotations

import pytest

from ilr_bench.prompts import STYLES, task_formats
from ilr_bench.prompts.letters import letter_of

PAIRS = (
    # (names B, hedges between B and another), alike but for what decides
    ("B, because C is wrong", "B, because C is also possible"),
    ("B, not C", "B, possibly C"),
    ("B, not C.", "B, if not C."),
    ("B (not C)", "B (or C)"),
    ("The answer is B (not A, as some might think)", "The answer is B (or A, as some might think)"),
    ("B, and not C", "B, and C"),
    ("B, but not C", "B, but maybe C"),
    ("B, never C", "B, else C"),
    ("B, rather than C", "B, or rather C"),
    ("B, since A and C are false", "B, since A and C are not false"),
    ("B, as C fails", "B, though C fits"),
    ("B; C is impossible", "B; C is possible"),
    ("B; C cannot hold", "B; C could hold"),
    ("B. C is wrong", "B. C is also right"),
    ("B. C is ruled out", "B. C cannot be ruled out"),
    ("B - C is too small", "B - C is close, too"),
    ("B, C isn't", "B, C is"),
    ("B, I think", "B, I think, or C"),
    ("B (I think)", "B (I think C too)"),
    ("B, probably", "B, probably C"),
    ("B, maybe", "B, or maybe A"),
    ("B, a cell", "B, A or C"),
    ("B, A cell", "B, A also"),
    ("B. seven, not C", "B. seven, or C"),
    ("B. seven, not (C) eight", "B. seven, or (C) eight"),
    ("(B) seven, because (C) is wrong", "(B) seven, possibly (C) eight"),
    ("B. both A and C", "B, both B and C"),
    ("B. neither A nor C", "B. or A, C"),
    ("B. all of A, C and D", "B. A, C and D"),
    ("B. Only A and C hold", "B. Possibly A"),
    ("B. either A or C", "B. or C"),
    ("B. vitamin B or C", "B. vitamins or C"),
    ("B, vitamin C", "B, conceivably C"),
    ("B. not enough is known", "B. not enough, C"),
    ("B. to the left", "B to C"),
    ("B. neither", "B. maybe C"),
    ("B) likely causes", "B) likely C"),
    ("B: otherwise healthy", "B: otherwise C"),
    ("(B) perhaps never", "(B) perhaps (C)"),
    ("B (5 A)", "B (A, 5)"),
    ("B (25 °C)", "B (25%) C"),
    ("B, P(A) = 2", "B, P = 2 or A"),
    ("B, F = ma", "B, F"),
    ("B (E = 3)", "B (E: 3)"),
    ("B (I and II)", "B (I)"),
    ("B. UK. law", "B. UK, C"),
    ("B, instead of A or C", "B, alternatively A or C"),
    ("B, after eliminating A, C and D", "B, after A, C and D"),
    ("B is correct", "B is correct, but so might C be"),
    ("B is the answer, C is wrong", "B is the answer, or C"),
    ("B because A lacks water", "B because A might fit as well"),
    ("b) seven", "b) possibly c)"),
    ("(b) not (c)", "(b) or (c)"),
    (r"\text{B}, \text{ not C}", r"\text{B}, \text{ possibly C}"),
    (r"\textbf{B} (not \textbf{C})", r"\textbf{B} (or \textbf{C})"),
    ("B, unlike C", "B, like C"),
    ("B, without doubt not C", "B, without doubt C"),
)
HEDGES = ("B? C?", "B? Or C?", "(B)? (C)?", "B / C", "B | C", "B vs. C", "B, C?", "B, or C, or D", "possibly B", "B→C")


@pytest.mark.parametrize(("sure", "hedge"), PAIRS)
def test_a_second_option_counts_unless_it_is_denied_or_a_reason(sure: str, hedge: str) -> None:
    assert (letter_of(sure), letter_of(hedge)) == ("B", None)


@pytest.mark.parametrize("hedge", HEDGES)
def test_questions_and_signs_between_two_letters_name_none(hedge: str) -> None:
    assert letter_of(hedge) is None


@pytest.mark.parametrize(("sure", "hedge"), [pair for pair in PAIRS if pair[0].startswith(("B", "(B)"))])
def test_both_styles_refuse_hedges(sure: str, hedge: str) -> None:
    chat, fewshot = (task_formats(STYLES.get(name)) for name in ("chat", "fewshot"))
    read = [
        (chat.extract_as(rf"So \boxed{{{said}}}", "choice"), fewshot.extract_as(f"So the answer is {said}", "choice"))
        for said in (sure, hedge)
    ]
    assert read == [("B", "B"), (None, None)]
