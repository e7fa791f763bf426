"""EvalPlus's comparison of outputs (`evalplus.eval.unsafe_execute` 0.3.1), on plain data.

It runs outside the process that ran the program, and on plain data only, so that no `==` of the program's own is used.
What a program says can still be dear to decode and compare (numbers that collide in a set, nested lists that numpy
would fill up), so `OutputJudge` does both in a process that may be killed; and what cannot be right by its kind or
size is refused before it is converted.
"""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from ilr_bench.grading.killable_pool import KillablePool, ProcessOwner, serve
from ilr_bench.grading.sandbox.wire import decode, encode

FLOAT_TOLERANCE, RELATIVE_TOLERANCE = 1e-6, 1e-7
_LARGEST_TABLE = 10_000_000
"""Numbers that a comparison of nested lists may hold in one array."""

CPU_SECONDS = 10.0
"""CPU time of one comparison; the largest answers of the benchmarks (2 MB) take about one."""
MEMORY_BYTES = 2 << 30
_MOST_VALUES = 10_000_000
"""Values of one output; `sandbox.wire` refuses most that are larger before they are sent."""
_LARGEST_REQUEST = 1 << 30

_PRESENT = ("check_str", "text_match_three", "text_starta_endb")
_SAME_SET = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip

Oracle = Callable[[Any, Any, Any], bool | None]
"""(output, expected, arguments) -> whether the output is right; None leaves it to the tolerance."""


class Comparison:
    """Compares the outputs of one program, one test after the other."""

    def __init__(self, atol: float, oracle: Oracle | None = None) -> None:
        """`atol` as in EvalPlus's problem; `oracle` where equality is not the question."""
        self._atol = atol
        self._oracle = oracle

    def accepts(self, output: Any, expected: Any, arguments: Any = (), *, exact: bool = True) -> bool:
        """Equal, or close within the tolerance and of the same type (`exact`: the type has not been lost).

        As in EvalPlus, the tolerance of a float answer stays in force for the answers after it.
        """
        try:
            right = output == expected if self._oracle is None else self._oracle(output, expected, arguments)
        except (TypeError, ValueError, ArithmeticError):
            return False
        self._atol = tolerance_after(self._atol, floats=is_floats(expected))
        if right or right is None or not self._atol:
            return bool(right)
        return exact and type(output) is type(expected) and _close(output, expected, self._atol)


def tolerance_after(tolerance: float, *, floats: bool) -> float:
    """The tolerance that is in force after an expected output that was (or was not) of floats."""
    return FLOAT_TOLERANCE if floats and tolerance == 0 else tolerance


def is_floats(value: Any) -> bool:
    """Whether a tolerance is due: a float, or a list or tuple of nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(part, float) for part in value)
    return isinstance(value, float)


def _close(output: Any, expected: Any, atol: float) -> bool:
    """`numpy.allclose`, which makes one shape of two."""
    if isinstance(expected, list | tuple) and len(output) != len(expected):
        return False
    ours, theirs = _shape(output), _shape(expected)
    if ours is None or theirs is None:
        return False
    try:
        if math.prod(np.broadcast_shapes(ours, theirs)) > _LARGEST_TABLE:
            return False
        return bool(np.allclose(np.asarray(output), np.asarray(expected), rtol=RELATIVE_TOLERANCE, atol=atol))
    except (TypeError, ValueError, OverflowError):
        return False


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of numpy's array of a number or of nested lists of them; None where it would have none."""
    if not isinstance(value, list | tuple):
        return () if isinstance(value, int | float | complex) else None
    shapes = {_shape(part) for part in value}
    if not shapes:
        return (0,)
    inner = shapes.pop()
    return None if shapes or inner is None else (len(value), *inner)


def view_of(problem: Mapping[str, Any]) -> Literal["value", "items", "present"]:
    """What of an output counts: itself, the items of an iterable, or that it is not None."""
    if not _is_mbpp_plus(problem):
        return "value"
    entry_point = problem["entry_point"]
    return "present" if entry_point in _PRESENT else "items" if entry_point in _SAME_SET else "value"


def has_oracle(problem: Mapping[str, Any]) -> bool:
    """Whether equality does not decide."""
    return oracle_of(problem) is not None


def oracle_of(problem: Mapping[str, Any]) -> Oracle | None:
    """The task's own oracle; None where equality decides."""
    entry_point, atol = problem["entry_point"], problem["atol"]
    if problem["task_id"].startswith("HumanEval/") and entry_point == "find_zero":
        return lambda output, _, arguments: abs(_polynomial(arguments[0], output)) <= atol or _never()
    if not _is_mbpp_plus(problem):
        return None
    if entry_point in _SAME_SET:
        return lambda output, expected, _: set(output) == set(expected)
    if entry_point == "are_equivalent":
        return lambda *_: True
    if entry_point == "sum_div":
        return lambda output, expected, _: output == expected or output == 0
    if entry_point == "surface_Area":
        return lambda output, expected, arguments: output == expected or abs(output - _surface(*arguments)) <= atol
    if entry_point == "digit_distance_nums":
        return lambda output, expected, arguments: output in (expected, _digit_distance(*arguments))
    return None


def _is_mbpp_plus(problem: Mapping[str, Any]) -> bool:
    # The original MBPP states its tests itself, and equality is what they ask for.
    return problem["task_id"].startswith("Mbpp/") and "tests" not in problem


def _never() -> bool:
    raise ValueError("no root, and no second chance by tolerance")


def _polynomial(coefficients: list[float], x: float) -> float:
    return sum(factor * math.pow(x, power) for power, factor in enumerate(coefficients))


def _surface(base_edge: float, height: float) -> int:
    """Surface of a square pyramid of this height over the base."""
    slant = math.sqrt((base_edge / 2) ** 2 + height**2)
    return round(base_edge**2 + 4 * (base_edge * slant) / 2)


def _digit_distance(first: int, second: int) -> int:
    """Sum of the differences of digits, the shorter number filled up with zeros."""
    texts = str(first), str(second)
    longest = max(map(len, texts))
    digits = zip(*(text.zfill(longest) for text in texts), strict=True)
    return sum(abs(int(one) - int(other)) for one, other in digits)


class OutputJudge(ProcessOwner):
    """Compares what programs sent, in a process with limits of CPU time and memory. Thread-safe."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS) -> None:
        """`cpu_seconds` limits one comparison."""
        self._pool = KillablePool("ilr_bench.grading.compare_outputs", cpu_seconds, largest=_LARGEST_REQUEST)
        self._lock = threading.Lock()

    def accepts(
        self, problem: Mapping[str, Any], tolerance: float, line: bytes, expected: bytes, call: Any
    ) -> bool | None:
        """Whether a line holds a right output, where `expected` does; None where that takes too much to tell.

        `tolerance` is the one in force; `call` the arguments, or an expression.
        """
        # Kinds other than ASCII's are no output of ours, nor is any other coding that JSON may have.
        if not line.isascii() or max(line.count(b","), line.count(b"[")) > _MOST_VALUES:
            return False
        task = {"task_id": problem["task_id"], "entry_point": problem["entry_point"], "atol": problem["atol"]}
        if "tests" in problem:
            task["tests"] = True
        arguments = encode(call) if has_oracle(problem) else encode(())
        head = json.dumps([task, tolerance])
        with self._lock:
            reply = self._pool.ask("\n".join([head, arguments, expected.decode(), line.decode()]))
        return None if reply is None else reply == "right"

    def close(self) -> None:
        """See `ProcessOwner.close`."""
        self._pool.close()


def _reply(request: str) -> str:
    head, arguments, expected, line = request.split("\n")
    task, tolerance = json.loads(head)
    oracle = oracle_of(task)
    try:
        if oracle is None and not _alike(json.loads(line)[0], json.loads(expected)[0]):
            return "wrong"
        output, wanted, call = decode(line.encode()), decode(expected.encode()), decode(arguments.encode())
        if output is None or wanted is None or call is None:
            return "wrong"
        comparison = Comparison(tolerance, oracle)
        right = comparison.accepts(output.value, wanted.value, call.value, exact=output.exact)
    except (ValueError, TypeError, LookupError, RecursionError, MemoryError):
        return "wrong"
    return "right" if right else "wrong"


def _alike(output: Any, expected: Any) -> bool:
    """Whether two values could be equal or close, by the kind and size of what JSON holds of them."""
    return _kind(output) == _kind(expected)


def _kind(value: Any) -> tuple[str, int]:
    if isinstance(value, list):
        return "list", len(value)
    if not isinstance(value, dict):
        return ("number" if isinstance(value, int | float) else type(value).__name__), 0
    ((kind, content),) = value.items()
    if kind in ("tuple", "set", "frozenset", "dict"):
        return kind.removeprefix("frozen"), len(content)
    return (kind if kind == "bytes" else "number"), 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Comparison(1.0).accepts([1.0], [1.5])  # what numpy imports and compiles when first used
    serve(_reply, MEMORY_BYTES, isolated=True)
