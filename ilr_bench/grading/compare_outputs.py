"""EvalPlus's comparison of outputs (`evalplus.eval.unsafe_execute` 0.3.1), on plain data.

It runs outside the process that ran the program, and on plain data only, so that no `==` of the program's own is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

FLOAT_TOLERANCE, RELATIVE_TOLERANCE = 1e-6, 1e-7
_LARGEST_TABLE = 10_000_000
"""Numbers that a comparison of nested lists may hold in one array."""

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
        self.tolerate(is_floats(expected))
        if right or right is None or not self._atol:
            return bool(right)
        return exact and type(output) is type(expected) and _close(output, expected, self._atol)

    def tolerate(self, floats: bool) -> None:
        """Takes note that an expected output, which need not be compared any more, was of floats."""
        if self._atol == 0 and floats:
            self._atol = FLOAT_TOLERANCE


def is_floats(value: Any) -> bool:
    """Whether a tolerance is due: a float, or a list or tuple of nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(part, float) for part in value)
    return isinstance(value, float)


def _close(output: Any, expected: Any, atol: float) -> bool:
    """`numpy.allclose`, which makes one shape of two."""
    if isinstance(expected, list | tuple) and len(output) != len(expected):
        return False
    try:
        ours, theirs = np.asarray(output), np.asarray(expected)
        if math.prod(np.broadcast_shapes(ours.shape, theirs.shape)) > _LARGEST_TABLE:
            return False
        return bool(np.allclose(ours, theirs, rtol=RELATIVE_TOLERANCE, atol=atol))
    except (TypeError, ValueError, OverflowError):
        return False
