"""From rewards to advantages (GRPO, and the rivals that calibration is compared with)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHANGE_THRESHOLD = 1e-3
"""An advantage counts as changed above this: rounding, or an epsilon under the standard deviation, stays below."""


def group_advantages(
    rewards: ArrayLike,
    scale: Literal["group", "batch", "none"] = "group",
    baseline: Literal["group", "agents", "batch", "none"] = "group",
) -> NDArray[np.float64]:
    """(r - baseline) / scale for rewards of shape (..., n), the last axis being a group.

    `baseline`: mean over the group, over the groups of all agents on the question (the last two axes, agents
    x n), or over everything. `scale`: sample standard deviation (no epsilon) of the answers that the baseline
    is taken over, of the whole batch, or 1. Where the deviation is 0 there is nothing to learn: advantages 0.
    Baseline `none` leaves the rewards as they are, whatever the scale: REINFORCE, or a critic's business.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if baseline == "none":
        return values.copy()
    pool: tuple[int, ...] | None = {"group": (-1,), "agents": (-2, -1), "batch": None}[baseline]
    if baseline == "agents" and values.ndim < 2:
        raise ValueError("a baseline over agents needs rewards of shape (..., agents, n)")
    if scale == "none":
        return np.where(_flat(values, pool), 0.0, values - values.mean(axis=pool, keepdims=True))
    spread = pool if scale == "group" else None
    flat = _flat(values, spread) | _flat(values, pool)
    deviation = _deviation(values, spread)
    return np.where(flat, 0.0, (values - values.mean(axis=pool, keepdims=True)) / np.where(deviation > 0, deviation, 1))


def changed(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which groups have an advantage that moved by more than the threshold; (..., n) -> (...)."""
    return np.asarray(np.abs(after - before).max(axis=-1) > CHANGE_THRESHOLD)


def _flat(values: NDArray[np.float64], axes: tuple[int, ...] | None) -> NDArray[np.bool_]:
    # Compared exactly: the deviation of equal numbers may round to something above 0.
    return np.asarray(values.max(axis=axes, keepdims=True) == values.min(axis=axes, keepdims=True))


def _deviation(values: NDArray[np.float64], axes: tuple[int, ...] | None) -> NDArray[np.float64]:
    count = values.size if axes is None else int(np.prod([values.shape[axis] for axis in axes]))
    if count < 2:
        return np.zeros_like(values.max(axis=axes, keepdims=True))
    return np.asarray(values.std(axis=axes, ddof=1, keepdims=True))
