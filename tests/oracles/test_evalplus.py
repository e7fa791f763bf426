"""Our verdicts on programs equal those of EvalPlus's own checker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ilr_bench.grading.expressions import ProgramRunner, extract_program
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.sources.micro import code_problems

evaluation = pytest.importorskip("evalplus.eval")

PROBLEMS = code_problems(12)
QUOTIENT: dict[str, Any] = {
    "task_id": "Test/0", "prompt": "", "entry_point": "f", "canonical_solution": "def f(x, y): return x/y*3",
    "base_input": [[1, 7], [2, 3]], "plus_input": [[5, 11], [-3, 13]], "atol": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Iterator[ProgramRunner]:
    with ProgramRunner() as runner:
        yield runner


def expected_outputs(problem: dict[str, Any], inputs: list[list[Any]]) -> list[Any]:
    names: dict[str, Any] = {}
    exec(problem["prompt"] + problem["canonical_solution"], names)
    return [names[problem["entry_point"]](*arguments) for arguments in inputs]


def evalplus_passes(program: str, problem: dict[str, Any]) -> bool:
    verdicts = []
    for inputs in (problem["base_input"], problem["plus_input"]):
        status, _ = evaluation.untrusted_check(
            "humaneval", program, inputs, problem["entry_point"], expected_outputs(problem, inputs), problem["atol"],
            ref_time=[0.01] * len(inputs), fast_check=True, min_time_limit=1.0,
        )  # fmt: skip
        verdicts.append(status == evaluation.PASS)
    return all(verdicts)


@pytest.mark.parametrize("place", range(len(PROBLEMS)))
def test_micro_programs_get_evalplus_verdicts(runner: ProgramRunner, place: int) -> None:
    problem, other = PROBLEMS[place], PROBLEMS[place - 1]
    gold = problem["canonical_solution"]
    for program in (gold, f"{gold.rstrip()}+0", f"{gold.rstrip()}//x", other["canonical_solution"]):
        ours = runner.judge(extract_program(program), problem)
        assert (ours is Verdict.CORRECT) == evalplus_passes(program, problem)


@pytest.mark.parametrize(
    "program",
    ["def f(x, y): return 3*x/y", "def f(x, y): return x*3//y", "def f(x, y): return x/y*3+1/10000000",
     "def f(x, y): return x/y*3+1/100000", "def f(x, y): return x/(y-7)", "def f(x): return x",
     "def f(x, y): return (x"],
)  # fmt: skip
def test_float_outputs_get_evalplus_verdicts(runner: ProgramRunner, program: str) -> None:
    assert (runner.judge(program, QUOTIENT) is Verdict.CORRECT) == evalplus_passes(program, QUOTIENT)
