"""MBPP (Austin et al. 2021): 500 short functions, the test split (tasks 11 to 510), with its three tests each.

All tests have the form `assert CALL == LITERAL`: the call is evaluated in the jail, the comparison is made outside.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from ilr_bench.benchmarks.base import Benchmark, Row, register
from ilr_bench.benchmarks.evalplus_data import CODE_TOKENS
from ilr_bench.errors import MissingInputError
from ilr_bench.questions.data import Dataset, read_rows

DATA = Dataset(
    file="mbpp/mbpp.jsonl",
    hub="google-research-datasets/mbpp",
    configuration="full",
    split="prompt+test+validation+train",
    rows=974,
    sha256="a39309de6219ee5eb6cc684538f78838d6f8f7af8655744a8b25772c21bdba76",
    text=itemgetter("task_id", "text", "code", "test_list", "test_setup_code"),
)


def _load() -> tuple[Row, ...]:
    return tuple(_row(row) for row in read_rows(DATA) if 11 <= row["task_id"] <= 510)


def _row(row: Mapping[str, Any]) -> Row:
    question = "\n".join([row["text"], "Your code should pass these tests:", *row["test_list"]])
    tests = [_call_and_result(test) for test in row["test_list"]]
    problem = {
        "task_id": f"Mbpp/{row['task_id']}",
        "entry_point": tests[0][0].partition("(")[0],
        "prompt": "",
        "canonical_solution": row["code"],
        "setup": row["test_setup_code"],
        "tests": tests,
        "atol": 0,
    }
    return Row(problem["task_id"], question, row["code"], problem)


def _call_and_result(test: str) -> tuple[str, Any]:
    (statement,) = ast.parse(test).body
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        comparison = statement.test
        if isinstance(comparison.ops[0], ast.Eq) and len(comparison.ops) == 1:
            return ast.unparse(comparison.left), ast.literal_eval(comparison.comparators[0])
    raise MissingInputError(f"{DATA.file}: a test is no `assert CALL == LITERAL` ({test}); fetch the file again")


register(
    Benchmark(
        name="mbpp",
        column="MBPP",
        summary="500 short functions, three tests each",
        kind="code",
        domain="out-of-domain",
        load=_load,
        data=(DATA,),
        size=500,
        max_new_tokens=CODE_TOKENS,
    )
)
