"""From rewards to advantages: calibration, then GRPO's standardisation or a baseline that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Mechanisms
from ilr_bench.method.calibration import Calibration, calibrate_group

CHANGE_THRESHOLD = 1e-3
"""An advantage counts as changed above this: rounding, or an epsilon under the standard deviation, stays below."""


@dataclass(frozen=True)
class AdvantageBatch:
    """One agent's groups of one stage: a row per question, n answers in each."""

    rewards: NDArray[np.float64]
    """(questions, n) base rewards."""
    calibrated: NDArray[np.float64]
    """(questions, n) calibrated rewards."""
    advantages: NDArray[np.float64]
    """(questions, n), from the calibrated rewards."""
    advantage_change: NDArray[np.float64]
    """(questions, n): how far calibration moved each advantage."""
    clipped: NDArray[np.bool_]
    """(terms,): was the term of equation (5) clipped; empty without calibration or peers."""
    flat_peers: NDArray[np.bool_]
    """(questions x peers,): had the peer one reward only."""

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(questions,): groups whose advantages calibration changed."""
        return changed(np.zeros_like(self.advantage_change), self.advantage_change)


StageAdvantages = dict[str, list[AdvantageBatch]]
"""Of every trained stage, by agent."""

Estimator = Callable[[Sequence[NDArray[np.float64]]], Sequence[NDArray[np.float64]]]
"""(questions, n) calibrated rewards of each agent -> advantages of the same shapes."""
ESTIMATORS: Mechanisms[Estimator] = Mechanisms("advantage estimator", "advantages.kind", group="ilr_bench.advantages")
"""By `advantages.kind`."""


@dataclass(frozen=True)
class Standardised:
    """GRPO's advantages: `group_advantages` of each agent, or of all together where the baseline is over agents."""

    scale: Literal["group", "batch", "none"] = "group"
    baseline: Literal["group", "agents", "batch", "none"] = "group"

    def __call__(self, rewards: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """A baseline over agents needs groups of one size."""
        if self.baseline == "agents":
            pooled = group_advantages(np.stack(rewards, axis=1), self.scale, "agents")
            return [pooled[:, agent] for agent in range(len(rewards))]
        return [group_advantages(values, self.scale, self.baseline) for values in rewards]


ESTIMATORS.register("standardised", Standardised)


def compute_advantages(
    rewards: Sequence[NDArray[np.float64]], calibration: Calibration, estimator: Estimator
) -> list[AdvantageBatch]:
    """Calibrated rewards and advantages of all agents for one stage; `rewards[agent]` is (questions, n).

    Raises ConfigurationError where calibration or estimator return something of another shape.
    """
    calibrated, clips, flats = [], [], []
    for agent, own in enumerate(rewards):
        peers = [values for peer, values in enumerate(rewards) if peer != agent]
        groups = [calibrate_group(calibration, own[n], [peer[n] for peer in peers]) for n in range(len(own))]
        calibrated.append(np.stack([group.rewards for group in groups]))
        clips.append(np.concatenate([group.clipped[~group.flat_peers].ravel() for group in groups]))
        flats.append(np.concatenate([group.flat_peers for group in groups]))
    before, after = agent_advantages(rewards, estimator), agent_advantages(calibrated, estimator)
    return [
        AdvantageBatch(rewards[i], calibrated[i], after[i], after[i] - before[i], clips[i], flats[i])
        for i in range(len(rewards))
    ]


def agent_advantages(rewards: Sequence[NDArray[np.float64]], estimator: Estimator) -> list[NDArray[np.float64]]:
    """Advantages of all agents, (questions, n) each."""
    found = [np.asarray(values, dtype=np.float64) for values in estimator(rewards)]
    wanted, shapes = [values.shape for values in rewards], [values.shape for values in found]
    if shapes != wanted or not all(np.isfinite(values).all() for values in found):
        raise ConfigurationError(
            f"advantages.kind: shapes {shapes} came back for rewards of shapes {wanted}, or numbers that are not "
            "finite; an estimator returns an advantage for every reward"
        )
    return found


def group_advantages(
    rewards: ArrayLike,
    scale: Literal["group", "batch", "none"] = "group",
    baseline: Literal["group", "agents", "batch", "none"] = "group",
) -> NDArray[np.float64]:
    """(r - baseline) / scale for rewards of shape (..., n), the last axis being a group.

    `baseline`: mean over the group, over the groups of all agents on the question (the last two axes, agents
    x n), or over everything. `scale`: sample standard deviation (no epsilon) of the answers that the baseline
    is taken over, of the whole batch, or 1. Where the deviation is 0 the advantages are 0. Baseline `none` leaves
    the rewards as they are, whatever the scale: for REINFORCE, or for a critic that takes its own baseline off.
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
    """Which groups have an advantage that moved by more than `CHANGE_THRESHOLD`; (..., n) -> (...)."""
    return np.asarray(np.abs(after - before).max(axis=-1) > CHANGE_THRESHOLD)


def _flat(values: NDArray[np.float64], axes: tuple[int, ...] | None) -> NDArray[np.bool_]:
    # Compared exactly: the deviation of equal numbers may round to something above 0.
    return np.asarray(values.max(axis=axes, keepdims=True) == values.min(axis=axes, keepdims=True))


def _deviation(values: NDArray[np.float64], axes: tuple[int, ...] | None) -> NDArray[np.float64]:
    count = values.size if axes is None else int(np.prod([values.shape[axis] for axis in axes]))
    if count < 2:
        return np.zeros_like(values.max(axis=axes, keepdims=True))
    return np.asarray(values.std(axis=axes, ddof=1, keepdims=True))
