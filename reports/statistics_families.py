"""P-values corrected for how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's (1979) step-down p-values: family-wise error under any dependence; shape (comparisons,)."""
    raw = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def benjamini_hochberg(pvalues: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) p-values: they bound the expected share of false ones among the marked.

    That is less than the chance of a single false one. For tests that are independent or go together; shape
    (comparisons,).
    """
    raw = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(-raw, kind="stable")
    steps = raw[order] * len(raw) / np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps), 1.0)
    return adjusted
