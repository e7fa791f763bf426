"""Model-written programs: what is found, what is admitted, what it earns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.expressions import ProgramRunner, agree, check_safe_subset, extract_program
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.sources.micro import code_problems

DOUBLE: dict[str, Any] = {
    "task_id": "Test/0",
    "prompt": "",
    "entry_point": "f",
    "canonical_solution": "def f(x): return x*2\n",
    "base_input": [[0], [2]],
    "plus_input": [[3], [-4]],
    "atol": 0,
}


@pytest.fixture(scope="module")
def runner() -> Iterator[ProgramRunner]:
    with ProgramRunner() as runner:
        yield runner


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("def f(x): return x", "def f(x): return x"),
        ("Sure:\ndef f(x):\n    return x\n\nDone.", "def f(x):\n    return x"),
        ("Text\n```python\nimport os\ndef f(x):\n    return x\n```\ndef g(): pass", "def f(x):\n    return x"),
        ("```\nno code\n```\ndef f(x): return 1", "def f(x): return 1"),
        ("```python\ndef f(x): return 1", "def f(x): return 1"),
        ("x+1", None),
        ("", None),
        ("the def f(x): return x", None),
    ],
)
def test_the_first_function_is_found(completion: str, program: str | None) -> None:
    assert extract_program(completion) == program


@pytest.mark.parametrize(
    "program",
    ["def f(x): return (x+3)*2", "def f(x):\n    'Doubles.'\n    return x * 2", "def f(x): return x-2>9",
     "def f(a, b): return -a // b % 3", "def f(x): return 1 <= x < 5", "'''Task.'''\ndef f(x: int) -> int: return 7"],
)  # fmt: skip
def test_single_expressions_are_admitted(program: str) -> None:
    admitted = check_safe_subset(program, "f")
    assert admitted is not None
    assert len(ast.parse(admitted).body) == 1


@pytest.mark.parametrize(
    "program",
    ["def f(x): return x**9", "def f(x): return y", "def f(x): return print(x)", "def f(x): return x.real",
     "def f(x): return x[0]", "def f(x): return 'a'*x", "def f(x): return 1.5*x", "def f(x): return x or 1",
     "def f(x): return x if x else 1", "def f(x): return lambda: 1", "def f(x): return [x]", "def f(x): return x<<9",
     "def f(x): return (y := x)", "def f(x): return True", "def f(x): return f(x)", "def f(x): return",
     "def f(x): pass",
     "def f(x):\n    y = x\n    return y", "def f(x):\n    while 1: pass", "def f(x=1): return x",
     "def f(*x): return 1",
     "def f(**x): return 1", "def f(x, /): return x", "def f(*, x): return x", "def g(x): return x",
     "@f\ndef f(x): return x", "def f(x): return x\nf(1)", "import os\ndef f(x): return x", "async def f(x): return x",
     "def f(x): return x is x", "def f(x): return x in x", "def f(x): return " + "-" * 900 + "x",
     "def f(x): return " + "x*" * 900 + "x", "class f: pass", "def f(x): return f'{x}'", "def f(x): yield x"],
)  # fmt: skip
def test_everything_else_is_refused(runner: ProgramRunner, program: str) -> None:
    assert runner.judge(program, DOUBLE) is Verdict.REFUSED


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="def f(x):retun+-*/%<>=.,[]'\"\n 0129_", max_size=40))
def test_whatever_is_admitted_names_only_its_parameters(tail: str) -> None:
    try:
        admitted = check_safe_subset(f"def f(x): return x{tail}", "f")
    except SyntaxError:
        return
    if admitted is not None:
        assert {node.id for node in ast.walk(ast.parse(admitted)) if isinstance(node, ast.Name)} <= {"x"}


@pytest.mark.parametrize(
    "program", [None, "def f(x): return (x", "def f(x)", "def f(x): return x\0", "def f(x): return " + "(" * 900]
)
def test_no_program_is_missing(runner: ProgramRunner, program: str | None) -> None:
    assert runner.judge(program, DOUBLE) is Verdict.MISSING


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(x): return x+x", Verdict.CORRECT),
        ("def f(x): return x*2/1", Verdict.CORRECT),
        ("def f(x): return x*x", Verdict.WRONG),
        ("def f(x): return 2*x*(x>-1)", Verdict.WRONG),
        ("def f(x): return x%x", Verdict.WRONG),
        ("def f(x, y): return x*2", Verdict.WRONG),
        ("def f(x, x): return x*2", Verdict.WRONG),
    ],
)
def test_all_outputs_must_be_right(runner: ProgramRunner, program: str, verdict: Verdict) -> None:
    assert runner.judge(program, DOUBLE) is verdict


def test_an_overrun_is_a_time_out_and_the_next_program_runs() -> None:
    problem = DOUBLE | {"base_input": [[[1] * 1000]], "plus_input": [], "canonical_solution": "def f(x): return 1"}
    with ProgramRunner(cpu_seconds=0.1) as hurried:
        slow = " + ".join(["(x*9999 < x*9999)"] * 5)
        assert hurried.judge(f"def f(x): return {slow}", problem) is Verdict.TIMEOUT
        assert hurried.judge("def f(x): return 1", problem) is Verdict.CORRECT


def test_all_memory_is_not_to_be_had(runner: ProgramRunner) -> None:
    problem = DOUBLE | {"base_input": [[[1]]], "plus_input": [], "canonical_solution": "def f(x): return 1"}
    assert runner.judge("def f(x): return 1 + (x*999999999 > x)", problem) in (Verdict.WRONG, Verdict.TIMEOUT)


def test_a_canonical_solution_that_cannot_run_is_named(runner: ProgramRunner) -> None:
    for solution in ("def f(x): return x**2", "def f(x): return 2 // x", "def f(x): return y"):
        with pytest.raises(ConfigurationError, match="Test/0"):
            runner.judge("def f(x): return 1", DOUBLE | {"canonical_solution": solution})


@pytest.mark.parametrize(
    ("output", "expected", "atol", "verdict"),
    [
        ([1.0], 1, 0, True),
        ([0.1 + 0.2], 0.3, 0, True),
        ([0.3001], 0.3, 0, False),
        ([0.3001], 0.3, 1e-3, True),
        ([1], 1.0000001, 0, False),
        ([[0.1 + 0.2, 1.0]], [0.3, 1.0], 0, True),
        ([[0.3]], [0.3, 1.0], 0, False),
        ([True], 1, 0, True),
        ([], None, 0, False),
        ([None], None, 0, True),
    ],
)
def test_outputs_are_compared_by_evalplus_rules(output: list[Any], expected: Any, atol: float, verdict: bool) -> None:
    assert agree([output], [expected], atol) is verdict


def test_every_gold_program_passes_and_another_ones_does_not(runner: ProgramRunner) -> None:
    problems = code_problems(20)
    golds = [extract_program(problem["prompt"] + problem["canonical_solution"]) for problem in problems]
    assert all(runner.judge(gold, problem) is Verdict.CORRECT for gold, problem in zip(golds, problems, strict=True))
    others = zip(golds[1:], problems, strict=False)
    assert sum(runner.judge(gold, problem) is Verdict.CORRECT for gold, problem in others) <= 2


def test_programs_are_admitted_up_to_their_longest() -> None:
    program = "def f(x): return x"
    assert check_safe_subset(program + " " * (1000 - len(program)), "f") is not None
    assert check_safe_subset(program + " " * (1001 - len(program)), "f") is None


@pytest.mark.parametrize(
    ("expression", "admitted"), [("-x" + "+x" * 24, True), ("--1" + "+x" * 24, False), ("x" + "+x" * 25, False)]
)
def test_expressions_are_admitted_up_to_a_hundred_nodes(expression: str, admitted: bool) -> None:
    nodes = len(list(ast.walk(ast.parse(expression, mode="eval").body)))
    assert (nodes <= 100) is admitted
    assert (check_safe_subset(f"def f(x): return {expression}", "f") is not None) is admitted


def test_what_is_run_is_written_anew_with_its_parameters_in_their_order() -> None:
    assert (
        check_safe_subset("def f(b: int, a):\n    'Text.'\n    return b-a  # all", "f") == "def f(b, a): return b - a"
    )
    assert check_safe_subset("def f(x):\n    b'no text'\n    return x", "f") is None
    assert check_safe_subset("def f(x):\n    7\n    return x", "f") is None
    assert check_safe_subset("'Text.'\n'More.'\ndef f(x): return x", "f") is None


def test_the_tolerance_of_base_tests_does_not_reach_the_others(runner: ProgramRunner) -> None:
    problem = DOUBLE | {"base_input": [[0.5]], "plus_input": [[5 * 10**8]]}
    off_by_one = "def f(x): return x*2 + (x > 9)"
    assert runner.judge(off_by_one, problem) is Verdict.WRONG
    assert runner.judge(off_by_one, problem | {"base_input": [[0.5], [5 * 10**8]], "plus_input": []}) is Verdict.CORRECT
    assert agree([[1.0], [10**9 + 1]], [1.0, 10**9], 0)
    assert not agree([[1.0], [10**9 + 1]], [1, 10**9], 0)


def test_base_and_plus_tests_both_count(runner: ProgramRunner) -> None:
    assert runner.judge("def f(x): return x*2 - (x == 3)", DOUBLE) is Verdict.WRONG
    assert runner.judge("def f(x): return x*2 - (x == 2)", DOUBLE) is Verdict.WRONG
    assert runner.judge("def f(x): return x*2 - (x == 2)", DOUBLE | {"base_input": [[0]]}) is Verdict.CORRECT


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("```\ndef f(x): return 1\n```\n```\ndef g(x): return 2\n```", "def f(x): return 1"),
        ("def f(x):\n\n    return x\n  # more\nend", "def f(x):\n\n    return x\n  # more"),
        ("def f(x):\n\treturn x\n\n\n", "def f(x):\n\treturn x"),
        ("one\ntwo\ndef f(x):\n return 1\ndef g(x):\n return 2", "def f(x):\n return 1"),
        ("  def f(x): return x", "def f(x): return x"),
        ("define\ndef f(x): return x", "def f(x): return x"),
    ],
)
def test_a_function_ends_where_its_lines_do(completion: str, program: str) -> None:
    assert extract_program(completion) == program


def test_a_program_ends_before_any_line_that_begins_with_a_letter() -> None:
    assert extract_program("def f(x):\n    return x + 1\nxylophone") == "def f(x):\n    return x + 1"


@pytest.mark.parametrize("before", ["f(1)", "x", "3"])
def test_what_stands_before_the_function_and_is_no_text_leaves_the_subset(before: str) -> None:
    assert check_safe_subset(f"{before}\ndef f(x):\n    return x", "f") is None
