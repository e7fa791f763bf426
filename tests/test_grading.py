"""Grading: verdicts, the fast path's agreement with math-verify, and hostile answers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilr_bench import workers
from ilr_bench.grading import Grader, compare_numbers
from ilr_bench.grading_worker import judge
from ilr_bench.records import Verdict

TOWER = "9^{9^{9^{9}}}"


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    logging.disable(logging.CRITICAL)
    with Grader() as grader:
        yield grader
    logging.disable(logging.NOTSET)


def signed(text: str, negative: bool) -> str:
    return f"-{text}" if negative else text


def spellings(number: int) -> st.SearchStrategy[str]:
    """Ways to write an integer, or something close to it."""
    zeros = st.integers(0, 2).map(lambda count: "0" * count)
    digits = str(abs(number))
    return st.one_of(
        zeros.map(lambda zero: signed(zero + digits, number < 0)),
        zeros.map(lambda zero: signed(f"{digits}.0{zero}", number < 0)),
        st.integers(1, 12).map(lambda factor: signed(f"{abs(number) * factor}/{factor}", number < 0)),
        st.integers(0, 9999).map(lambda part: signed(f"{digits}.{part:04d}", number < 0)),
        st.integers(0, 9999).map(lambda part: signed(f"{abs(number) * 10000 + part}/10000", number < 0)),
        st.tuples(st.integers(0, 20), st.integers(0, 9)).map(lambda part: f"{part[0]}/{part[1]}"),
        st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda part: f"{part[0] / part[1]:.4f}"),
    )


PAIRS = st.integers(-30, 120).flatmap(lambda number: st.tuples(spellings(number), spellings(number)))


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)


def check_agreement(pair: tuple[str, str]) -> None:
    ours = compare_numbers(*pair)
    if ours is not None:
        assert ours == (judge(*pair) is Verdict.CORRECT)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(PAIRS)
def test_fast_path_agrees_with_math_verify(pair: tuple[str, str]) -> None:
    check_agreement(pair)


@pytest.mark.slow
@settings(max_examples=6000, deadline=None, suppress_health_check=list(HealthCheck))
@given(PAIRS)
def test_fast_path_agrees_with_math_verify_on_thousands(pair: tuple[str, str]) -> None:
    check_agreement(pair)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789./-+,%$ \\{}x^٣", max_size=8), st.integers(0, 99).map(str))
def test_fast_path_leaves_everything_but_plain_numbers_to_math_verify(answer: str, gold: str) -> None:
    if compare_numbers(answer, gold):
        assert judge(answer, gold) is Verdict.CORRECT


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("18", "18"), ("18.0", "18"), ("0.5", "1/2"), (r"\frac{1}{2}", "0.5"), ("1,000", "1000"), ("x=18", "18"),
     ("-(3)", "-3"), (r"2\sqrt{3}", r"\sqrt{12}"), (r"6.4\times 10^{3}", "6400"), ("18 apples", "18")],
)  # fmt: skip
def test_equivalent_answers_are_correct(grader: Grader, answer: str, gold: str) -> None:
    assert grader.grade([(answer, gold)]) == [Verdict.CORRECT]


@pytest.mark.parametrize(
    "answer", ["17", "-18", "18.5", "17,18", "17 or 18", "17=18x", "abc", "}", "\x00", r"\infty", "１８"]
)
def test_other_answers_are_wrong(grader: Grader, answer: str) -> None:
    assert grader.grade([(answer, "18")]) == [Verdict.WRONG]


@pytest.mark.parametrize("answer", ["12+9-3", "2*9", r"2\times 9", "(3)(6)", "36/(1*2)", "12+9-3=?", "(2+7)*2=?"])
def test_a_question_copied_into_the_box_earns_nothing(grader: Grader, answer: str) -> None:
    assert grader.grade([(answer, "18")]) == [Verdict.WRONG]


def test_no_answer_is_missing(grader: Grader) -> None:
    assert grader.grade([(None, "1"), ("", "1"), (" \n", "1")]) == [Verdict.MISSING] * 3


def test_plain_answers_start_no_worker() -> None:
    with Grader() as fresh:
        assert fresh.grade([("7", "7"), ("7", "8"), ("1/2", "0.5")]) == [
            Verdict.CORRECT,
            Verdict.WRONG,
            Verdict.CORRECT,
        ]
        assert fresh.worker_pid is None


def test_hostile_answer_is_a_time_out_and_the_batch_goes_on() -> None:
    with Grader() as fresh:
        verdicts = fresh.grade([("x=3", "3"), (TOWER, "3"), ("x=3", "3"), ("4", "4")])
    assert verdicts == [Verdict.CORRECT, Verdict.TIMEOUT, Verdict.CORRECT, Verdict.CORRECT]


def test_a_repeated_hostile_answer_costs_its_limit_once(grader: Grader) -> None:
    grader.grade([(TOWER, "3")])
    start = time.perf_counter()
    assert grader.grade([(TOWER, "3")] * 50) == [Verdict.TIMEOUT] * 50
    assert time.perf_counter() - start < 0.5


def test_the_limit_is_processor_time_spent_on_grading() -> None:
    with Grader(cpu_seconds=0.2) as fresh:
        fresh.grade([("x=3", "3")])
        time.sleep(0.5)
        assert fresh.grade([("x=4", "4")]) == [Verdict.CORRECT]


def test_a_killed_worker_is_replaced(grader: Grader) -> None:
    grader.grade([("x=5", "5")])
    assert grader.worker_pid is not None
    os.kill(grader.worker_pid, signal.SIGKILL)
    time.sleep(0.2)
    assert grader.grade([("x=6", "6")]) == [Verdict.CORRECT]


def test_a_worker_killed_while_it_works_costs_no_verdict(grader: Grader) -> None:
    grader.grade([("x=7", "7")])
    pid = grader.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    assert grader.grade([("x=8", "8")]) == [Verdict.CORRECT]
    assert grader.worker_pid != pid


def test_a_silent_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader() as fresh:
        fresh.grade([("x=7", "7")])
        monkeypatch.setattr(workers, "WALL_SECONDS", 0.3)
        assert fresh.worker_pid is not None
        os.kill(fresh.worker_pid, signal.SIGSTOP)
        assert fresh.grade([("x=8", "8"), ("9", "9")]) == [Verdict.TIMEOUT, Verdict.CORRECT]
        assert fresh.worker_pid is None


def test_close_ends_the_worker() -> None:
    fresh = Grader()
    fresh.grade([("x=5", "5")])
    pid = fresh.worker_pid
    assert pid is not None
    fresh.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_plain_answers_are_graded_by_the_thousand() -> None:
    pairs: list[tuple[str | None, str]] = [(str(place % 97), f"{place % 89}.50") for place in range(5000)]
    with Grader() as fresh:
        start = time.process_time()
        fresh.grade(pairs)
        assert time.process_time() - start < 1


def test_neither_side_imports_torch() -> None:
    code = "import sys, ilr_bench.grading, ilr_bench.grading_worker; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
