"""Where EvalPlus (0.3.1) does not ask for equality: its oracles for single tasks, on plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from ilr_bench.grading.compare_outputs import Oracle

_PRESENT = ("check_str", "text_match_three", "text_starta_endb")
_SAME_SET = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip


def view_of(problem: Mapping[str, Any]) -> Literal["value", "items", "present"]:
    """What of an output counts: itself, the items of an iterable, or that it is not None."""
    if not _is_mbpp_plus(problem):
        return "value"
    entry_point = problem["entry_point"]
    return "present" if entry_point in _PRESENT else "items" if entry_point in _SAME_SET else "value"


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
