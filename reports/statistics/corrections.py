"""P-values corrected for how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

Floats = NDArray[np.float64]


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's (1979) step-down p-values: family-wise error under any dependence; shape (comparisons,)."""
    return _corrected(pvalues, "holm")


def benjamini_hochberg(pvalues: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) p-values: they bound the expected share of false ones among the marked.

    That is less than the chance of a single false one. For tests that are independent or go together; shape
    (comparisons,).
    """
    return _corrected(pvalues, "fdr_bh")


def _corrected(pvalues: ArrayLike, method: str) -> Floats:
    raw = np.asarray(pvalues, dtype=np.float64)
    # statsmodels refuses an empty family, which a table without comparisons has.
    return np.asarray(multipletests(raw, method=method)[1]) if len(raw) else raw
