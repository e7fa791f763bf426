"""Perception Calibration: an agent's rewards in the light of its peers' (paper section 3.3, equation (5)).

    Rbar_ik = R_ik + sum over peers l of clip((R_ik - R_l,avg) / (R_l,max - R_l,min), -1/(m-1), +1/(m-1))

Where no term is clipped, Rbar is an affine function of R with positive slope within a group, so advantages
standardised within the group do not change: the equation acts through its clip, or without the division by
the group's standard deviation, or under a baseline that is pooled over groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Mechanisms


@dataclass(frozen=True)
class Calibrated:
    """Calibrated rewards of one group, and where the equation's clip was active."""

    rewards: NDArray[np.float64]
    """(n,)"""
    clipped: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    """(m-1, n): terms outside their bounds; empty where a formula has no such terms."""
    flat_peers: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """(m-1,): peers whose rewards are all equal; they contribute nothing (our choice, the paper is silent)."""


Calibration = Callable[[NDArray[np.float64], Sequence[NDArray[np.float64]]], Calibrated | ArrayLike]
"""(n,) own rewards to one question, and (n_l,) rewards of each peer -> calibrated rewards, (n,) or `Calibrated`."""
CALIBRATIONS: Mechanisms[Calibration] = Mechanisms("calibration", "calibration.kind", group="ilr_bench.calibrations")
"""By `calibration.kind`."""


def calibrate_group(
    calibration: Calibration, own: NDArray[np.float64], peers: Sequence[NDArray[np.float64]]
) -> Calibrated:
    """One agent's calibrated rewards on one question; raises ConfigurationError for what is not (n,) finite numbers."""
    found = calibration(own, peers)
    made = found if isinstance(found, Calibrated) else Calibrated(np.asarray(found, dtype=np.float64))
    if made.rewards.shape != own.shape or not np.isfinite(made.rewards).all():
        raise ConfigurationError(
            f"calibration.kind: {made.rewards} of shape {made.rewards.shape} came back for {own.size} rewards; "
            "a calibration returns as many finite numbers"
        )
    return made


def perception_calibration(own: ArrayLike, peers: Sequence[ArrayLike]) -> Calibrated:
    """Equation (5) for one agent's group on one question.

    own: (n,) rewards of the agent's answers; peers: one (n_l,) array of rewards per peer, same question.
    Raises ValueError for an empty peer or a reward that is not finite.
    """
    rewards = np.asarray(own, dtype=np.float64)
    others = [np.asarray(peer, dtype=np.float64) for peer in peers]
    if any(other.size == 0 for other in others):
        raise ValueError("a peer without rewards cannot calibrate anything")
    if not all(np.isfinite(values).all() for values in (rewards, *others)):
        raise ValueError("rewards must be finite")
    calibrated = rewards.copy()
    clipped = np.zeros((len(others), rewards.size), dtype=bool)
    flat = np.array([other.max() == other.min() for other in others], dtype=bool)
    for index, other in enumerate(others):
        if flat[index]:
            continue
        bound = 1 / len(others)
        term = (rewards - other.mean()) / (other.max() - other.min())
        clipped[index] = np.abs(term) > bound
        calibrated += np.clip(term, -bound, bound)
    return Calibrated(calibrated, clipped, flat)


def uncalibrated(own: ArrayLike, peers: Sequence[ArrayLike]) -> Calibrated:
    """The rewards as they are; nothing couples the agents."""
    rewards = np.asarray(own, dtype=np.float64)
    return Calibrated(rewards, np.zeros((0, rewards.size), dtype=bool))


CALIBRATIONS.register("perception", perception_calibration)
CALIBRATIONS.register("none", uncalibrated)
