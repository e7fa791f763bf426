"""Perception Calibration: an agent's rewards in the light of its peers' (paper section 3.3, equation (5)).

    Rbar_ik = R_ik + sum over peers l of clip((R_ik - R_l,avg) / (R_l,max - R_l,min), -1/(m-1), +1/(m-1))

Where no term is clipped, Rbar is an affine function of R with positive slope within a group, so advantages
standardised within the group do not change: the equation acts through its clip, or without the division by
the group's standard deviation, or under a baseline that is pooled over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Calibrated:
    """Calibrated rewards of one group, and where the equation's clip was active."""

    rewards: NDArray[np.float64]
    """(n,)"""
    clipped: NDArray[np.bool_]
    """(m-1, n): terms outside their bounds."""
    flat_peers: NDArray[np.bool_]
    """(m-1,): peers whose rewards are all equal; they contribute nothing (our choice, the paper is silent)."""


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
    return Calibrated(rewards, np.zeros((0, rewards.size), dtype=bool), np.zeros(0, dtype=bool))


CALIBRATIONS = {"perception": perception_calibration, "none": uncalibrated}
