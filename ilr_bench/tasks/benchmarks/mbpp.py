"""MBPP and MBPP+: short functions, asked for with their tests."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from ilr_bench.core.errors import MissingInputError
from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS, MBPP, mbpp_rows
from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion, register


def problem_of(row: Mapping[str, Any]) -> BenchmarkQuestion:
    """A row of MBPP (`task_id`, `text`, `code`, `test_list`, `test_setup_code`); its question shows all tests.

    Raises MissingInputError where a test has another form.
    """
    tests = [_call_and_result(test) for test in row["test_list"]]
    problem = {
        "task_id": f"Mbpp/{row['task_id']}",
        "prompt": "",
        "entry_point": tests[0][0].partition("(")[0],
        "canonical_solution": row["code"],
        "setup": row["test_setup_code"],
        "tests": tests,
        "atol": 0,
    }
    question = "\n".join([row["text"], "Your code should pass these tests:", *row["test_list"]])
    return BenchmarkQuestion(problem["task_id"], question, row["code"], problem)


def _call_and_result(test: str) -> tuple[str, Any]:
    try:
        match ast.parse(test).body:
            case [ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[result]))]:
                return ast.unparse(call), ast.literal_eval(result)
    except (SyntaxError, ValueError) as error:
        raise MissingInputError(f"a test of MBPP cannot be read ({test}: {error}); fetch the data again") from error
    raise MissingInputError(f"a test of MBPP is no `assert CALL == LITERAL` ({test}); fetch the data again")


DATA = Dataset(
    file="mbpp/mbpp.jsonl",
    hub="google-research-datasets/mbpp",
    configuration="full",
    split="prompt+test+validation+train",
    rows=974,
    sha256="a39309de6219ee5eb6cc684538f78838d6f8f7af8655744a8b25772c21bdba76",
    text=itemgetter("task_id", "text", "code", "test_list", "test_setup_code"),
)


def _load() -> tuple[BenchmarkQuestion, ...]:
    return tuple(problem_of(row) for row in read_rows(DATA) if 11 <= row["task_id"] <= 510)


register(
    Benchmark(
        name="mbpp",
        column="MBPP",
        summary="500 short functions, three tests each",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=_load,
        data=(DATA,),
        size=500,
        max_new_tokens=CODE_TOKENS,
        exceptions={"Mbpp/367": "its tests use a class that the function does not name, so that extraction drops it"},
    )
)


register(
    Benchmark(
        name="mbpp_plus",
        column="MBPP+",
        summary="378 short functions, EvalPlus's tests",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=partial(mbpp_rows, plus=True),
        data=(MBPP,),
        max_new_tokens=CODE_TOKENS,
        exceptions={"Mbpp/630": "its helper is a generator without `return`, which EvalPlus's extraction drops"},
    )
)
