"""mean@k, pass@k and maj@k against closed forms and brute force."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.evaluation.metrics import NO_ANSWER, answer_classes, majority_at_k, mean_at_k, pass_at_k, sample_table
from ilr_bench.storage.records import SampleRecord, Verdict

tables = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=4)
)


def record(question: str, sample: int, answer: str | None, verdict: Verdict) -> SampleRecord:
    return SampleRecord("b", "a", question, sample, "", "", answer, "1/2", verdict, 1, 0)


@given(table=tables, k=st.integers(1, 6))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer(table: list[list[bool]], k: int) -> None:
    n = len(table[0])
    if k > n:
        with pytest.raises(ValueError, match="k must lie"):
            pass_at_k(table, k)
        return
    drawn = [np.mean([any(row[i] for i in chosen) for chosen in combinations(range(n), k)]) for row in table]
    assert pass_at_k(table, k) == pytest.approx(drawn, abs=1e-12)


@pytest.mark.parametrize(("n", "right", "k"), [(200, 3, 10), (200, 0, 100), (200, 200, 1), (1000, 7, 100), (5, 5, 5)])
def test_pass_at_k_is_chens_formula(n: int, right: int, k: int) -> None:
    table = [[index < right for index in range(n)]]
    assert pass_at_k(table, k)[0] == pytest.approx(1 - comb(n - right, k) / comb(n, k), abs=1e-12)


@given(table=tables)
def test_pass_at_1_is_mean_at_k_and_pass_at_n_asks_for_one(table: list[list[bool]]) -> None:
    assert pass_at_k(table, 1) == pytest.approx(mean_at_k(table), abs=1e-12)
    assert pass_at_k(table, len(table[0])).tolist() == [float(any(row)) for row in table]


@pytest.mark.parametrize(
    ("classes", "correct", "expected"),
    [
        ([0, 0, 1], [True, True, False], 1.0),
        ([0, 1, 1], [True, False, False], 0.0),
        ([0, 1], [True, False], 0.5),
        ([0, 1, 2], [False, True, False], 1 / 3),
        ([NO_ANSWER, NO_ANSWER, 4], [False, False, True], 1.0),
        ([NO_ANSWER, NO_ANSWER], [False, False], 0.0),
    ],
)
def test_the_majority_decides_and_ties_share(classes: list[int], correct: list[bool], expected: float) -> None:
    assert majority_at_k([classes], [correct]).tolist() == [pytest.approx(expected)]


@given(table=tables)
def test_one_sample_has_its_own_majority(table: list[list[bool]]) -> None:
    first = [[row[0]] for row in table]
    assert majority_at_k(np.zeros((len(table), 1), dtype=int), first).tolist() == mean_at_k(first).tolist()


def test_right_answers_are_one_class_and_equal_numbers_another() -> None:
    answers = [
        ("0.5", Verdict.CORRECT),
        (r"\frac{1}{2}", Verdict.CORRECT),
        ("1/4", Verdict.WRONG),
        ("0.25", Verdict.WRONG),
        (" x + 1", Verdict.WRONG),
        ("x+1", Verdict.WRONG),
        ("9^{9^{9}}", Verdict.TIMEOUT),
        (None, Verdict.MISSING),
        ("", Verdict.MISSING),
        ("1/0", Verdict.WRONG),
        ("1e999999999", Verdict.WRONG),
    ]
    assert answer_classes(answers) == [0, 0, 1, 1, 2, 2, 3, NO_ANSWER, NO_ANSWER, 4, 5]


def test_commas_between_thousands_make_no_other_answer() -> None:
    texts = ["1,000", "1000", "1{,}000", "1,00", "1, 0", "-1,234.50", "-1234.5", "1,2,3", "123", "x1,000", "x1000"]
    classes = answer_classes([(text, Verdict.WRONG) for text in texts])
    assert classes == [0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7]


def test_an_answer_that_was_never_read_has_no_class() -> None:
    assert answer_classes([(None, Verdict.TIMEOUT), ("7", Verdict.MISSING)]) == [NO_ANSWER, NO_ANSWER]


def test_tables_of_unequal_shapes_and_draws_of_no_sample_are_refused() -> None:
    with pytest.raises(ValueError, match=r"classes \(1, 1\) and verdicts \(1, 2\) differ in shape"):
        majority_at_k([[0]], [[True, False]])
    with pytest.raises(ValueError, match="k must lie between 1 and the number of samples, 2; it is 0"):
        pass_at_k([[True, False]], 0)


def test_records_alone_give_the_table() -> None:
    output = [("0.5", Verdict.CORRECT), ("3", Verdict.WRONG), ("3.0", Verdict.WRONG)]
    records = [record(question, k, *output[k]) for question in ("q1", "q2") for k in range(3)]
    correct, classes = sample_table(records)
    assert correct.tolist() == [[True, False, False]] * 2
    assert majority_at_k(classes, correct).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="same number of samples"):
        sample_table(records[:-1])


@pytest.mark.parametrize("bad", [[], [[]], [True, False]])
def test_what_is_no_table_is_refused(bad: list[object]) -> None:
    with pytest.raises(ValueError, match="questions, samples"):
        mean_at_k(bad)
