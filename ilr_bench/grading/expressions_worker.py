"""The process behind `grading.expressions`: `python -m ilr_bench.grading.expressions_worker CPU_SECONDS`."""

from __future__ import annotations

import json
from typing import Any

from ilr_bench.grading.killable_pool import serve

MEMORY_BYTES = 512 << 20


def run(source: str, entry_point: str, inputs: list[list[Any]]) -> list[list[Any]]:
    """One list per input: `[output]`, or empty where the program raised or returned no JSON value."""
    names: dict[str, Any] = {"__builtins__": {}}
    try:
        exec(compile(source, "<program>", "exec"), names)
    except SyntaxError:
        # Two parameters of one name: valid in a syntax tree, refused by the compiler.
        return [[] for _ in inputs]
    return [_call(names[entry_point], arguments) for arguments in inputs]


def _call(function: Any, arguments: list[Any]) -> list[Any]:
    try:
        output = function(*arguments)
        json.dumps(output)
    except (ArithmeticError, TypeError, ValueError, NameError, MemoryError):
        return []
    return [output]


def _reply(request: str) -> str:
    return json.dumps(run(*json.loads(request)))


if __name__ == "__main__":
    serve(_reply, MEMORY_BYTES, isolated=True)
