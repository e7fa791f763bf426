"""Verdicts on programs that models wrote, taken outside the jail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading import code
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.compare_outputs import Comparison, is_floats, oracle_of, tolerance_after, view_of
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


SETS = "similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum intersection_array"
SETS += " find_dissimilar Diff"


@pytest.mark.parametrize("name", SETS.split())
def test_collections_in_any_order_are_compared_as_sets(name: str) -> None:
    assert view_of(task("Mbpp/9", name)) == "items"
    assert Comparison(0, oracle_of(task("Mbpp/9", name))).accepts([3, 1, 1], [1, 3])
    assert not Comparison(0, oracle_of(task("Mbpp/9", name))).accepts([1], [1, 3])


@pytest.mark.parametrize("name", ["check_str", "text_match_three", "text_starta_endb"])
def test_of_a_match_it_counts_that_there_is_one(name: str) -> None:
    assert view_of(task("Mbpp/9", name)) == "present"
    assert oracle_of(task("Mbpp/9", name)) is None


@pytest.mark.parametrize("problem", [task("HumanEval/9", "check_str"), task("Mbpp/9", "check_str") | {"tests": []}])
def test_elsewhere_the_value_itself_counts(problem: Any) -> None:
    assert view_of(problem) == view_of(task("Mbpp/9", "other")) == "value"


@pytest.mark.parametrize(
    ("problem", "output", "expected", "arguments", "right"),
    [
        (task("HumanEval/32", "find_zero", 0.5), 0.5, 9.0, [[0, 1]], True),  # at the tolerance itself
        (task("HumanEval/32", "find_zero", 1e-4), 2.0, 9.0, [[-8, 2, 1]], True),  # -8 + 2 x + x^2
        (task("HumanEval/32", "find_zero", 1e-4), 2.0, 2.0, [[1, 2, -8]], False),
        (task("Test/32", "find_zero", 0), 2.0, 9.0, [[-8, 2, 1]], False),
        (task("Mbpp/164", "are_equivalent"), 5, 7, [], True),
        (task("Mbpp/295", "sum_div"), 7, 7, [8], True),
        (task("Mbpp/295", "sum_div"), 1, 7, [8], False),
        (task("Mbpp/558", "digit_distance_nums"), 5, 5, [5, 50], True),
        (task("Mbpp/558", "digit_distance_nums"), 10, 0, [194, 231], True),  # 1 + 6 + 3
        (task("Mbpp/581", "surface_Area", 2), 37, 33, [3, 4], True),  # 35, and the tolerance
        (task("Mbpp/581", "surface_Area", 2), 38, 33, [3, 4], False),
        (task("Mbpp/581", "surface_Area", 1e-4), 360, 0, [10, 12], True),  # 100 + 4 (10 * 13) / 2
    ],
)
def test_oracles_calculate_with_the_arguments(
    problem: Any, output: Any, expected: Any, arguments: Any, right: bool
) -> None:
    assert Comparison(problem["atol"], oracle_of(problem)).accepts(output, expected, arguments) is right


@pytest.mark.parametrize(
    ("output", "expected", "close"),
    [
        (1 + 1.05e-6, 1.0, True), (1 + 1.2e-6, 1.0, False), (1e6 + 0.09, 1e6, True), (1e6 + 0.11, 1e6, False),
        ([1.0000001, 2.0], [1.0, 2.0], True), ((1.0000001,), (1.0,), True), ((1.0000001,), [1.0], False),
        ([1.0000001], [1.0, 1.0], False), ([], [1.0], False), ([1.0000001, "a"], [1.0, "a"], False),
        (float("nan"), float("nan"), False),
    ],
)  # fmt: skip
def test_floats_are_close_within_numpys_two_tolerances(output: Any, expected: Any, close: bool) -> None:
    assert Comparison(0).accepts(output, expected) is close


@pytest.mark.parametrize(
    ("value", "floats"),
    [(1.0, True), (1, False), ([], False), ((), False), ([1.0, 2.0], True), ((1.0,), True), ([1.0, 2], False),
     ([[1.0]], False), ({1.0}, False)],
)  # fmt: skip
def test_a_tolerance_is_due_to_floats_and_rows_of_them(value: Any, floats: bool) -> None:
    assert is_floats(value) is floats


def test_a_tolerance_of_the_problems_own_is_kept() -> None:
    assert Comparison(tolerance_after(0.1, floats=True)).accepts(1.05, 1.0)
    assert Comparison(tolerance_after(0, floats=True)).accepts([[1.0000001]], [[1.0]])
    assert not Comparison(0).accepts(10**9 + 1, 10**9)
    assert not Comparison(tolerance_after(0, floats=False)).accepts([[1.0000001]], [[1.0]])


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
