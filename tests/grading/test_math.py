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
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilr_bench.core.errors import MissingInputError
from ilr_bench.grading import killable_pool
from ilr_bench.grading.math import LONGEST, Grader, compare_numbers
from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict

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
        st.integers(1, 12).map(lambda part: signed(rf"\frac{{{abs(number) * part}}}{{{part}}}", number < 0)),
        st.integers(0, 999).map(lambda part: signed(f"{int(digits + '000') + part:,}", number < 0)),
        st.integers(0, 999).map(lambda part: signed(str(int(digits + "000") + part), number < 0)),
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


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(PAIRS)
def test_fast_path_agrees_with_math_verify(pair: tuple[str, str]) -> None:
    check_agreement(pair)


@pytest.mark.slow
@settings(max_examples=6000, deadline=None, suppress_health_check=list(HealthCheck))
@given(PAIRS)
def test_fast_path_agrees_with_math_verify_on_thousands(pair: tuple[str, str]) -> None:
    check_agreement(pair)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789./-+,%$ \\{}x^e٣", max_size=8), st.integers(0, 99).map(str))
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
    "answer", ["17", "-18", "18.5", "17,18", "17 or 18", "17=18x", "abc", "}", "\x00", r"\infty", "１９"]
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


def test_a_large_batch_keeps_its_order_whatever_dies_on_the_way() -> None:
    pairs: list[tuple[str | None, str]] = [(rf"\frac{{{n}}}{{3}} m", rf"\frac{{{n + n % 2}}}{{3}}") for n in range(120)]
    pairs[40] = pairs[80] = (TOWER, "3")
    with Grader(cpu_seconds=0.5, workers=2) as fresh:
        verdicts = fresh.grade(pairs)
    wanted = [Verdict.WRONG if n % 2 else Verdict.CORRECT for n in range(120)]
    wanted[40] = wanted[80] = Verdict.TIMEOUT
    assert verdicts == wanted


def test_an_endless_answer_is_wrong_unread(grader: Grader) -> None:
    assert grader.grade([("x=" + "1" * LONGEST, "1")]) == [Verdict.WRONG]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("4.5e33", Verdict.CORRECT),
        ("4.50E+33", Verdict.CORRECT),
        (r"4.5\times 10^{33}", Verdict.CORRECT),
        (r"45 \cdot 10^{32}\ \mathrm{erg/s}", Verdict.CORRECT),
        ("4.5e32", Verdict.WRONG),
        ("403.65", Verdict.WRONG),  # what math-verify makes of 4.5 e 33
    ],
)
def test_scientific_notation_is_read_where_the_gold_is_written_so(
    answer: str, verdict: Verdict, grader: Grader
) -> None:
    assert grader.grade([(answer, "4.5e33")]) == [verdict]


def test_the_limit_is_processor_time_spent_on_grading() -> None:
    with Grader(cpu_seconds=0.2) as fresh:
        fresh.grade([("x=3", "3")])
        time.sleep(0.5)
        assert fresh.grade([("x=4", "4")]) == [Verdict.CORRECT]


def pid_of(grader: Grader) -> int:
    assert grader.worker_pid is not None
    return grader.worker_pid


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


@pytest.mark.parametrize("whom", ["all", "nurse", "worker"])
def test_killed_processes_are_replaced(whom: str) -> None:
    with Grader(workers=2) as fresh:
        fresh.grade([("x=5", "5")])
        nurse = pid_of(fresh)
        victims = {"all": [nurse, *children(nurse)], "nurse": [nurse], "worker": children(nurse)}[whom]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        time.sleep(0.2)
        assert fresh.grade([("x=6", "6"), ("x=6", "7"), (TOWER, "3")]) == [
            Verdict.CORRECT,
            Verdict.WRONG,
            Verdict.TIMEOUT,
        ]


@pytest.mark.parametrize("whom", ["all", "worker"])
def test_processes_killed_while_they_work_cost_no_verdict(whom: str) -> None:
    with Grader(workers=1) as fresh:
        fresh.grade([("x=7", "7")])
        nurse = pid_of(fresh)
        (worker,) = children(nurse)
        os.kill(worker, signal.SIGSTOP)
        victims = [nurse, worker] if whom == "all" else [worker]
        threading.Timer(0.3, lambda: [os.kill(victim, signal.SIGKILL) for victim in victims]).start()
        assert fresh.grade([("x=8", "8"), ("x=8", "9")]) == [Verdict.CORRECT, Verdict.WRONG]
        assert (pid_of(fresh) == nurse) == (whom == "worker")


def test_silent_workers_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader(workers=1) as fresh:
        fresh.grade([("x=7", "7")])
        monkeypatch.setattr(killable_pool, "WALL_SECONDS", 0.3)
        os.killpg(pid_of(fresh), signal.SIGSTOP)
        assert fresh.grade([("x=8", "8"), ("9", "9")]) == [Verdict.TIMEOUT, Verdict.CORRECT]
        assert fresh.worker_pid is None


def test_close_ends_all_processes_even_those_that_hang() -> None:
    fresh = Grader(workers=2)
    fresh.grade([("x=5", "5")])
    nurse = pid_of(fresh)
    deadline = time.monotonic() + 20
    while len(children(nurse)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = [nurse, *children(nurse)]
    assert len(pids) == 3
    os.kill(pids[1], signal.SIGSTOP)
    fresh.close()
    assert gone(pids)


def test_no_process_outlives_the_one_that_asks() -> None:
    code = (
        "import os, signal; from ilr_bench.grading.math import Grader; grader = Grader(workers=2);"
        "grader.grade([('x=5', '5')]); pid = grader.worker_pid;"
        "import time; time.sleep(1);"  # the first worker answers before the second is there
        "print(pid, open(f'/proc/{pid}/task/{pid}/children').read(), flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in ran.stdout.split()]
    assert len(pids) == 3
    assert gone(pids)


def test_a_worker_that_cannot_start_is_one_message() -> None:
    with pytest.raises(MissingInputError, match=r"no_such_worker 1.0` does not start"):
        killable_pool.KillablePool("no_such_worker", 1.0).ask("x")


def test_a_request_too_large_for_the_queue_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100,000 bytes"):
        killable_pool.KillablePool("ilr_bench.grading.math_worker", 1.0).ask("x" * killable_pool.LARGEST)


def test_plain_answers_are_graded_by_the_thousand() -> None:
    pairs: list[tuple[str | None, str]] = [(str(index % 97), f"{index % 89}.50") for index in range(5000)]
    with Grader() as fresh:
        start = time.process_time()
        fresh.grade(pairs)
        assert time.process_time() - start < 1


def test_neither_side_imports_torch() -> None:
    code = "import sys, ilr_bench.grading.math, ilr_bench.grading.math_worker; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("1e-05", "1e-5", Verdict.CORRECT), ("0.00001", "1e-5", Verdict.CORRECT),
        ("-4.5e3", "-4500.0e0", Verdict.CORRECT),
        ("4.5e3", "-4.5e3", Verdict.WRONG), ("2e3", "2e", Verdict.WRONG), ("3+5", "8", Verdict.WRONG),
        ("x+1", "1+x", Verdict.CORRECT), ("3+x+5", "8+x", Verdict.CORRECT), ("x=8", "8", Verdict.CORRECT),
    ],
)  # fmt: skip
def test_math_verify_is_followed_but_where_the_gold_is_a_number(answer: str, gold: str, verdict: Verdict) -> None:
    assert judge(answer, gold) is verdict
