"""One question in two sets is found however it is typed, and two questions are never taken for one."""

from __future__ import annotations

import pytest

from ilr_bench.core.profiles import MICRO, SMALL
from ilr_bench.study.own_data import find_overlaps
from ilr_bench.tasks.overlap import normalised, overlaps
from ilr_bench.tasks.types import expand

SAME = [
    ("What is 3 + 5?", "what is  3+5"),
    ("What is 3 + 5?", "What is\n3 + 5 ?"),
    (r"Simplify $\dfrac{1}{2}\,x$.", r"Simplify \(\frac{1}{2} x\)"),
    (r"$\left( x + 1 \right)$", r"$(x+1)$"),
    ("Tom's cat costs 1,000 dollars.", "Toms cat costs 1000 dollars"),
    ("“Why?” he asked", '"why" he asked.'),
    ("Hello! How many?", "hello, how many"),
    ("ﬁve", "five"),
]
OTHER = [
    ("What is 3 - 5?", "What is 3 + 5?"),
    ("What is 35?", "What is 3 5?"),
    ("What is 3-5?", "What is 35?"),
    ("Round 1.5", "Round 15"),
    ("The pairs (1, 2)", "The pairs (12)"),
    ("What is 5!?", "What is 5?"),
    ("What is n!?", "What is n?"),
    (r"\alpha + 1", "alpha + 1"),
    (r"$x^{2y}$", r"$x^2y$"),
    ("3 * 4", "3 / 4"),
    ("a = b", "a < b"),
    ("Ann has 3 pens", "Ann has 4 pens"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_another_copy_of_a_question_is_the_same(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_changes_the_question_is_no_layout(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_overlaps_are_counted_and_shown_by_set() -> None:
    training = [(f"t{n}", f"What is {n} + 1?") for n in range(9)]
    tested = [("b0", "what is 0+1"), ("b1", "What is 1 + 1?"), ("b9", "What is 9 + 1?")]
    every = [(f"v{n}", text) for n, (_, text) in enumerate(training)]
    found = overlaps(training, {"the benchmark b": tested, "validation": every, "another": tested[2:]})
    assert [(one.where, len(one.pairs), one.exact) for one in found] == [
        ("the benchmark b", 2, 1), ("validation", 9, 9),
    ]  # fmt: skip
    assert str(found[0]) == (
        "2 of 9 training questions stand in the benchmark b, 1 of them letter by letter "
        "(t0 is b0: 'What is 0 + 1?'; t1 is b1: 'What is 1 + 1?')"
    )
    assert str(found[1]).endswith("; t2 is v2: 'What is 2 + 1?'; ...)")
    assert "9 of 9 training questions stand in validation, letter by letter" in str(found[1])


def test_the_micro_and_small_profiles_train_on_nothing_that_they_evaluate() -> None:
    from dataclasses import replace

    every = replace(MICRO, evaluation=replace(MICRO.evaluation, benchmarks=("micro", "sums")))
    assert len(expand(every.evaluation.benchmarks)) == 7
    assert find_overlaps([every, SMALL]) == ()
