"""Verdicts on programs that models wrote, taken outside the jail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ilr_bench.benchmarks import code
from ilr_bench.benchmarks.code import CodeJudge
from ilr_bench.benchmarks.code_rules import oracle_of
from ilr_bench.errors import ConfigurationError
from ilr_bench.jail.host import Request
from ilr_bench.outputs import Comparison
from ilr_bench.records import Verdict

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
    assert set(Request.__dataclass_fields__) == {"source", "entry_point", "calls", "setup", "view", "cpu_seconds"}


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


def task(task_id: str, entry_point: str, atol: float = 0) -> dict[str, Any]:
    return {"task_id": task_id, "entry_point": entry_point, "atol": atol}


@pytest.mark.parametrize(
    ("problem", "output", "expected", "arguments", "right"),
    [
        (task("HumanEval/32", "find_zero", 1e-4), -0.50001, -0.5, [[1, 2]], True),
        (task("HumanEval/32", "find_zero", 1e-4), -0.6, -0.5, [[1, 2]], False),
        (task("HumanEval/32", "find_zero", 1e-4), "x", -0.5, [[1, 2]], False),
        (task("HumanEval/32", "find_zero", 1e-4), 10**400, -0.5, [[1, 2]], False),
        (task("Mbpp/2", "similar_elements"), [2, 1, 1], (1, 2), [], True),
        (task("Mbpp/2", "similar_elements"), [[1]], (1, 2), [], False),
        (task("Mbpp/2", "similar_elements"), 7, (1, 2), [], False),
        (task("Mbpp/164", "are_equivalent"), None, True, [36, 57], True),
        (task("Mbpp/295", "sum_div"), 0, 7, [8], True),
        (task("Mbpp/295", "sum_div"), 8, 7, [8], False),
        (task("Mbpp/558", "digit_distance_nums"), 9, 5, [5, 50], False),
        (task("Mbpp/558", "digit_distance_nums"), 10, 5, [5, 50], True),
        (task("Mbpp/581", "surface_Area", 1e-4), 33, 40, [3, 4], False),
        (task("Mbpp/581", "surface_Area", 1e-4), 35, 33, [3, 4], True),
        (task("Test/2", "similar_elements"), [2, 1], (1, 2), [], False),
        (task("Mbpp/2", "similar_elements") | {"tests": []}, (2, 1), (1, 2), [], False),
    ],
)
def test_single_tasks_have_oracles(problem: Any, output: Any, expected: Any, arguments: Any, right: bool) -> None:
    assert Comparison(problem["atol"], oracle_of(problem)).accepts(output, expected, arguments) is right


def test_a_tolerance_that_a_float_brought_stays() -> None:
    comparison = Comparison(0)
    assert not comparison.accepts([1.0, 2.0000001, "a"], [1.0, 2.0, "a"])
    assert comparison.accepts(2.0000001, 2.0)
    assert comparison.accepts([[1.0], [2.0000001]], [[1.0], [2.0]])
    assert not comparison.accepts(2.0000001, 2.0, exact=False)


def test_a_comparison_cannot_be_made_to_fill_the_memory() -> None:
    column, row = [[1.0]] * 20_000, [1.0] * 20_000
    assert not Comparison(1e-6).accepts(column, [1.5, *row[1:]])
