"""Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438), token by token."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def generalised_advantages(
    rewards: ArrayLike, values: ArrayLike, mask: ArrayLike, discount: float, trace: float
) -> NDArray[np.float64]:
    """A_t = sum over l >= 0 of (discount trace)^l delta_(t+l), delta_t = r_t + discount V_(t+1) - V_t.

    rewards, values, mask: (turns, tokens); a turn's tokens come first, padding (mask 0) after them, and nothing is
    worth anything after a turn's last token. values[:, t] is what is expected before token t is chosen. Returns
    (turns, tokens), 0 on padding; advantages + values are the returns that a value function learns.
    """
    given = np.asarray(mask, dtype=np.float64)
    earned, expected = (np.asarray(part, dtype=np.float64) * given for part in (rewards, values))
    advantages = np.zeros_like(expected)
    following, ahead = np.zeros(len(expected)), np.zeros(len(expected))
    for token in reversed(range(expected.shape[1])):
        error = earned[:, token] + discount * ahead - expected[:, token]
        following = (error + discount * trace * following) * given[:, token]
        ahead = expected[:, token]
        advantages[:, token] = following
    return advantages


def whitened(advantages: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """Advantages less their mean, over their standard deviation, both over all tokens; 0 where all are equal."""
    values, given = np.asarray(advantages, dtype=np.float64), np.asarray(mask, dtype=bool)
    tokens = values[given]
    if tokens.size < 2 or tokens.max() == tokens.min():
        return np.zeros_like(values)
    return np.where(given, (values - tokens.mean()) / tokens.std(ddof=1), 0.0)
