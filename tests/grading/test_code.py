"""Verdicts on programs that models wrote, taken outside the jail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading import code
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.sandbox.host import ProgramRequest
from ilr_bench.storage.records import Verdict

DOUBLE: dict[str, Any] = {
    "task_id": "Test/0", "prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": "    return x * 2\n",
    "base_input": [[0], [2]], "plus_input": [[3], ["ab"]], "atol": 0,
}  # fmt: skip
STATED: dict[str, Any] = {
    "task_id": "Mbpp/1", "prompt": "", "entry_point": "f", "canonical_solution": "", "setup": "a = A()",
    "tests": [("f(1)", {1, 2}), ("f(a)", None)], "atol": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeJudge]:
    with CodeJudge() as judge:
        yield judge


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(x): return x + x", Verdict.CORRECT),
        ("f = lambda x: 2 * x", Verdict.CORRECT),
        ("def f(x): return x ** x if x else 0", Verdict.WRONG),
        ("def f(x): return 2 * int(x)", Verdict.WRONG),
        ("def f(x): return x * 2 if x != 2 else None", Verdict.WRONG),
        ("def f(x): pass", Verdict.WRONG),
        ("def f(x): return x * 2\nraise ValueError", Verdict.WRONG),
        ("def g(x): return x * 2", Verdict.WRONG),
        ("def f(x) return x", Verdict.WRONG),
        ("", Verdict.WRONG),
        (None, Verdict.MISSING),
    ],
)
def test_every_output_of_every_test_must_be_right(judge: CodeJudge, program: str | None, verdict: Verdict) -> None:
    assert judge.judge(program, DOUBLE) is verdict


def test_base_tests_alone_are_fewer(judge: CodeJudge) -> None:
    program = "def f(x): return int(x) * 2"
    assert judge.judge(program, DOUBLE) is Verdict.WRONG
    assert judge.judge(program, DOUBLE | {"plus_input": []}) is Verdict.CORRECT


def test_the_first_failure_decides(judge: CodeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "TEST_SECONDS", 0.2)
    problem = dict(DOUBLE)
    assert judge.judge("def f(x):\n while x: pass\n return 0", problem) is Verdict.TIMEOUT
    assert judge.judge("def f(x):\n while x: pass\n return 1", problem) is Verdict.WRONG


def test_a_slow_canonical_solution_buys_time(judge: CodeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "TEST_SECONDS", 0.1)
    slow = "import time\ndef f(x):\n e = time.process_time() + {}\n while time.process_time() < e: pass\n return x"
    problem = DOUBLE | {"prompt": "", "canonical_solution": slow.format(0.2), "base_input": [[1]], "plus_input": []}
    assert judge.judge(slow.format(0.4), problem) is Verdict.CORRECT
    assert judge.judge(slow.format(2.0), problem) is Verdict.TIMEOUT


def test_base_and_plus_tests_start_from_a_fresh_program(judge: CodeJudge) -> None:
    program = "n = 0\ndef f(x):\n global n\n n += 1\n return x * 2 if n <= 2 else 0"
    assert judge.judge(program, DOUBLE) is Verdict.CORRECT


def test_a_canonical_solution_that_fails_is_named(judge: CodeJudge) -> None:
    broken = DOUBLE | {"canonical_solution": "    return x // 2\n"}
    with pytest.raises(ConfigurationError, match=r"Test/0.*failed on test 1"):
        judge.judge("def f(x): return x", broken | {"base_input": [[0], ["a"]]})


def test_what_enters_the_jail_holds_no_answer() -> None:
    assert set(ProgramRequest.__dataclass_fields__) == {
        "source",
        "entry_point",
        "calls",
        "setup",
        "view",
        "cpu_seconds",
    }


def test_stated_results_are_compared_outside(judge: CodeJudge) -> None:
    program = "class A: pass\ndef f(x): return {1, 2} if x == 1 else None"
    assert judge.judge(program, STATED) is Verdict.CORRECT
    assert judge.judge(program.replace("{1, 2}", "[1, 2]"), STATED) is Verdict.WRONG
    equal = "class A:\n __eq__ = lambda s, o: True\n __hash__ = None\ndef f(x): return A()"
    assert judge.judge(equal, STATED) is Verdict.WRONG
    assert judge.judge("def f(x): return {1, 2} if x == 1 else None", STATED) is Verdict.WRONG


def test_verdicts_of_many_are_in_their_order() -> None:
    programs = ["def f(x): return x + x", None, "def f(x): return 1", "def f(x): return x * 2"] * 3
    wanted = [Verdict.CORRECT, Verdict.MISSING, Verdict.WRONG, Verdict.CORRECT] * 3
    with CodeJudge(workers=3) as judge:
        assert judge.judge_many([(program, DOUBLE) for program in programs]) == wanted
        assert judge.judge_many([]) == []


def test_without_a_jail_the_verdict_is_the_same() -> None:
    with CodeJudge(jail=False) as judge:
        assert judge.protection == "none"
        assert judge.judge("def f(x): return x + x", DOUBLE) is Verdict.CORRECT
        equal = "class A:\n __eq__ = lambda s, o: True\ndef f(x): return A()"
        assert judge.judge(equal, DOUBLE) is Verdict.WRONG


def test_a_float_answer_that_was_right_brings_its_tolerance_to_later_tests_of_its_part(judge: CodeJudge) -> None:
    problem = DOUBLE | {
        "prompt": "", "canonical_solution": "def f(x): return 0.5 if x else [[1.0]]", "base_input": [[1], [0]],
        "plus_input": [],
    }  # fmt: skip
    near = "def f(x): return 0.5 if x else [[1.0000001]]"
    assert judge.judge(near, problem) is Verdict.CORRECT
    assert judge.judge(near, problem | {"base_input": [[0], [1]]}) is Verdict.WRONG
    assert judge.judge(near, problem | {"base_input": [[1]], "plus_input": [[0]]}) is Verdict.WRONG


def test_not_a_number_is_no_right_answer(judge: CodeJudge) -> None:
    problem = DOUBLE | {"prompt": "", "canonical_solution": "def f(x): return float('nan')", "plus_input": []}
    assert judge.judge("def f(x): return float('nan')", problem) is Verdict.WRONG


def test_all_tests_together_have_a_limit(judge: CodeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PROGRAM_SECONDS", 0.1)
    slow = "import time\ndef f(x):\n e = time.process_time() + 0.3\n while time.process_time() < e: pass\n return x"
    problem = DOUBLE | {"prompt": "", "canonical_solution": "def f(x): return x", "plus_input": []}
    # A tenth of a second and the one that is always granted.
    assert judge.judge(slow, problem | {"base_input": [[1]] * 2}) is Verdict.CORRECT
    assert judge.judge(slow, problem | {"base_input": [[1]] * 6}) is Verdict.TIMEOUT


def test_limits_are_evalplus_own() -> None:
    config = pytest.importorskip("evalplus.config")
    assert code.TEST_SECONDS == config.DEFAULT_MIN_TIME_LIMIT
    assert code.REFERENCE_FACTOR == config.DEFAULT_GT_TIME_LIMIT_FACTOR
    assert code.PROGRAM_SECONDS == 60  # EVALPLUS_TIMEOUT_PER_TASK of evalplus.eval


def test_a_problem_without_tests_is_passed_by_any_program(judge: CodeJudge) -> None:
    assert judge.judge("raise ValueError", DOUBLE | {"base_input": [], "plus_input": []}) is Verdict.CORRECT
