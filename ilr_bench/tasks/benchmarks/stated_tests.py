"""Problems whose tests are `assert CALL == LITERAL`: what goes into the jail, and what stays outside."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ilr_bench.core.errors import MissingInputError
from ilr_bench.tasks.base import Row


def problem_of(row: Mapping[str, Any]) -> Row:
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
    return Row(problem["task_id"], question, row["code"], problem)


def _call_and_result(test: str) -> tuple[str, Any]:
    try:
        match ast.parse(test).body:
            case [ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[result]))]:
                return ast.unparse(call), ast.literal_eval(result)
    except (SyntaxError, ValueError) as error:
        raise MissingInputError(f"a test of MBPP cannot be read ({test}: {error}); fetch the data again") from error
    raise MissingInputError(f"a test of MBPP is no `assert CALL == LITERAL` ({test}); fetch the data again")
