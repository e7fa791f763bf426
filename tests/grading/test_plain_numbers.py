"""Numbers that are read without a library, what makes two of them equal, and what a grader asks its workers."""

from __future__ import annotations

import os
from fractions import Fraction

import pytest

from ilr_bench.grading import math
from ilr_bench.grading.math import (
    LONGEST,
    ROUNDING,
    Grader,
    PlainNumber,
    compare_numbers,
    is_rounding,
    read_number,
    reject_question_echo,
    same_number,
    written,
)
from ilr_bench.storage.records import Verdict


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("123456789", "123456789", True), ("1234567890", "1234567890", None),
        ("0.1234", "0.1234", True), ("0.12345", "0.12345", None),
        ("1,234,567", "1234567", True), ("12,34", "1234", None), ("0,123", "123", None), ("1,234,567,890", "1", None),
        ("1/3", "2/6", True), (r"\dfrac{1}{3}", "1/3", True), (r"\tfrac{-1}{3}", "1/3", None),
        (r"-\frac{1}{4}", "-0.25", True), ("-1/4", "1/4", False), ("-7", "7", False), ("--7", "7", None),
        ("1/0", "1", None), ("1", "x", None), ("x", "1", None), ("0/5", "0", True), ("+7", "7", None),
        (".5", "0.5", None), ("5.", "5", None),
        # Closer than math-verify's rounding: it must decide.
        ("1/100000", "0", False), ("1/100001", "0", None), ("0", "1/100001", None),
    ],
)  # fmt: skip
def test_plain_numbers_are_these_and_no_others(answer: str, gold: str, equal: bool | None) -> None:
    assert compare_numbers(answer, gold) is equal


@pytest.mark.parametrize(
    ("answer", "question", "own"),
    [("8", "3+5", "8"), ("3+5", " 3+5\n", None), ("it is 3+5 again", "3+5", None), ("3 + 5", "3+5", "3 + 5"),
     (None, "3+5", None), ("3+", "3+5", "3+")],
)  # fmt: skip
def test_an_answer_that_holds_the_whole_question_is_none(answer: str | None, question: str, own: str | None) -> None:
    assert reject_question_echo(answer, question) == own


class ToldWorker:
    """Stands in for the processes: notes how it is made and what it is asked."""

    def __init__(self, name: str, cpu_seconds: float, killable_pool: int) -> None:
        self.made, self.asked, self.pid = (name, cpu_seconds, killable_pool), [], None

    def ask_many(self, requests: list[str]) -> list[str | None]:
        self.asked += requests
        return [None if "hostile" in request else "correct" if "x" in request else "wrong" for request in requests]

    def close(self) -> None:
        self.asked.append("closed")


def test_every_different_pair_is_asked_once_and_only_if_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "KillablePool", ToldWorker)
    with Grader(0.7, 3) as fresh:
        worker = fresh._worker
        pairs = [("7", "7"), (" x ", "y "), ("x", "y"), ("hostile", "y"), (None, "x"), ("8", "7"), ("a", "b")]
        right, wrong = Verdict.CORRECT, Verdict.WRONG
        expected = [right, right, right, Verdict.TIMEOUT, Verdict.MISSING, wrong, wrong]
        assert fresh.grade(pairs) == fresh.grade(pairs) == expected
        assert worker.asked == ['["x", "y", false]', '["hostile", "y", false]', '["a", "b", false]']
        assert worker.made == ("ilr_bench.grading.math_worker", 0.7, 3)
        fresh.grade([("x" * LONGEST, "y"), ("x" * (LONGEST + 1), "y")])
        assert len(worker.asked) == 4
        assert fresh.grade([("7", "7"), ("7", "7.4")], measured=True) == [right, wrong]
        assert worker.asked[4:] == ['["7", "7.4", true]']
    assert worker.asked[-1] == "closed"


def test_one_process_per_core_and_eight_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "KillablePool", ToldWorker)
    for cores, workers_made in ((1, 1), (5, 5), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert Grader()._worker.made == ("ilr_bench.grading.math_worker", 1.0, workers_made)


NUMBERS: dict[str, PlainNumber] = {
    "0": PlainNumber(Fraction(0), 1, False), "7": PlainNumber(Fraction(7), 1, False),
    "-12": PlainNumber(Fraction(-12), 2, False), "+ 3": PlainNumber(Fraction(3), 1, False),
    "007": PlainNumber(Fraction(7), 1, False), "1,234,567": PlainNumber(Fraction(1234567), 7, False),
    "1 234 567.5": PlainNumber(Fraction("1234567.5"), 8, True), "1,234.50": PlainNumber(Fraction("1234.5"), 6, True),
    ".05": PlainNumber(Fraction(1, 20), 1, True), "5.": PlainNumber(Fraction(5), 1, True),
    "0.0": PlainNumber(Fraction(0), 1, True), "1.50e2": PlainNumber(Fraction(150), 3, True),
    "4.5E+3": PlainNumber(Fraction(4500), 2, True), "12e-1": PlainNumber(Fraction(6, 5), 2, False),
    r"3 \times 10^{8}": PlainNumber(Fraction(3 * 10**8), 1, False),
    r"2.5\cdot 10 ^ { -2 }": PlainNumber(Fraction(1, 40), 2, True), "3*10^2": PlainNumber(Fraction(300), 1, False),
    "10^3": PlainNumber(Fraction(1000), None, False), "-10^{-2}": PlainNumber(Fraction(-1, 100), None, False),
    "3/4": PlainNumber(Fraction(3, 4), None, False), "- 6 / 8": PlainNumber(Fraction(-3, 4), None, False),
    "1 1/2": PlainNumber(Fraction(3, 2), None, False), "1 0/2": PlainNumber(Fraction(1), None, False),
    "-1 1/2": PlainNumber(Fraction(-3, 2), None, False),
    r"2\frac{1}{2}": PlainNumber(Fraction(5, 2), None, False),
    r"\frac{-1}{2}": PlainNumber(Fraction(-1, 2), None, False),
    r"0.1\overline{6}": PlainNumber(Fraction(1, 6), None, False), r".\bar 3": PlainNumber(Fraction(1, 3), None, False),
    r"-1.\dot{12}": PlainNumber(Fraction(-37, 33), None, False),
    r"2.34\overline{5}": PlainNumber(Fraction(2111, 900), None, False),
    r"0.\overline{012}": PlainNumber(Fraction(4, 333), None, False),
    "9" * 100: PlainNumber(Fraction(10**100 - 1), 100, False),
}  # fmt: skip
NO_NUMBERS = (
    "", "x", "1/0", r"\frac{1}{0}", r"1\frac{-1}{2}", "1,23", "1,2345", "1 23", "--1", "1/2/3", "1 1", "٣", "10^1000",
    "1e1000", "9" * 101, "1.2.3", "1e", r"\overline{3}", "1 000,000", ".", "1/-2",
)  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_read_with_their_digits(text: str) -> None:
    assert read_number(text) == NUMBERS[text]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert read_number(text) is None


def test_fractions_are_written_for_latex() -> None:
    values = {Fraction(3): "3", Fraction(-3): "-3", Fraction(-1, 2): r"-\frac{1}{2}", Fraction(0): "0"}
    assert {value: written(value) for value in values} == values
    assert [written(Fraction(1, size)) for size in (2, -2)] == [r"\frac{1}{2}", r"-\frac{1}{2}"]
    assert written(Fraction(7, 3)) == r"\frac{7}{3}"


@pytest.mark.parametrize(
    ("ours", "theirs", "measured", "same"),
    [
        ("0.5", "1/2", False, True), ("1/2", "1/3", False, False), ("0.333", "1/3", False, False),
        ("0.3333333333333", "1/3", False, True), ("1/3", "0.3333333333333", False, True),
        ("0.333333333333", "1/3", False, False), ("0.3333333333333", "0.33333333333330001", False, False),
        ("10000000000001", r"10^{13}", False, False), ("10000000000001.0", r"10^{13}", False, True),
        (r"10^{13}", "10000000000001", False, False), (r"10^{13}", "10000000000001.0", False, True),
        ("1/3", r"0.\overline{33333333333333}", False, True),
        ("1/3", "33333333333333333/100000000000000000", False, False),
        ("0.33", "1/3", True, True), ("0.34", "1/3", True, False), ("0.3", "1/3", True, False),
        ("1/3", "0.33", True, False), ("33/100", "1/3", True, False), ("0", "0", True, True), ("1", "0", True, False),
        ("4.6", "4.62", True, True), ("4.62", "4.6", True, False), ("500", "523", True, False),
        ("520", "523", True, False), ("523", "523.4", True, True), ("-0.33", "-1/3", True, True),
    ],
)  # fmt: skip
def test_numbers_are_equal_up_to_the_rounding_of_decimals(ours: str, theirs: str, measured: bool, same: bool) -> None:
    one, other = read_number(ours), read_number(theirs)
    assert one is not None
    assert other is not None
    assert same_number(one, other, measured) is same


def test_the_rounding_of_a_float_is_a_trillionth_of_the_gold() -> None:
    gold = PlainNumber(Fraction(-1000), None, rounded=False)
    assert Fraction(1, 10**12) == ROUNDING
    for off, same in ((Fraction(999, 10**12), True), (Fraction(1000, 10**12), False)):
        assert same_number(PlainNumber(gold.value + off, 20, rounded=True), gold, measured=False) is same


@pytest.mark.parametrize(
    ("value", "digits", "gold", "rounded"),
    [
        ("3.1", 2, "3.1415", True), ("3.2", 2, "3.1415", False), ("3", 1, "3.1415", False), ("3.1", 1, "3.1415", True),
        ("3.142", 4, "3.1415", True), ("3.141", 4, "3.1415", True), ("3.143", 4, "3.1415", False),
        ("31000", 2, "31415", True), ("31000", 3, "31415", False), ("0.0031", 2, "0.0031415", True),
        ("0.0032", 2, "0.0031415", False), ("10", 2, "9.96", True), ("9.9", 2, "9.96", False), ("10", 2, "9.94", False),
        ("1.05", 3, "1.045", True), ("-3.1", 2, "-3.1415", True), ("3.1", 2, "-3.1415", False), ("0", 2, "0", False),
        ("1.0", 2, "1", True), ("10.0", 3, "10.04", True), ("10.0", 3, "10.06", False), ("0.10", 2, "0.1", True),
        ("100", 3, "99.96", True), ("99.9", 3, "99.96", False),
    ],
)  # fmt: skip
def test_a_number_is_the_gold_rounded_to_its_digits(value: str, digits: int, gold: str, rounded: bool) -> None:
    assert is_rounding(Fraction(value), digits, Fraction(gold)) is rounded
