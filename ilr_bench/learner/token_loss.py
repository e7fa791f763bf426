"""The losses of `trl_loss` token by token in NumPy, with their derivatives by the token's log-probability.

A server that trains through an interface of tokens and advantages computes neither TRL's normalisers nor its KL term.
Here both are written as numbers per token (symbols as in `trl_loss`), c being the token's share in the batch's loss:

    L        = sum over rows and tokens of c l
    c        = 1 / tokens (dapo, bnpo), 1 / (rows T of the row) (grpo), 1 / (rows max_completion_length) (dr_grpo)
    dl / dpi = -ratio A where the ratio is not clipped, else 0;  + beta ratio (pi - ref)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import UpdateSettings

Array = NDArray[np.float64]


def token_shares(settings: UpdateSettings, lengths: Sequence[int], rows: int, tokens: int, longest: int) -> Array:
    """(len(lengths),) c of every token of a row, by the row's completion tokens.

    `rows` and `tokens` count the whole batch, rows without gradient included; `longest`: max_completion_length.
    """
    if settings.loss_type in ("dapo", "bnpo"):
        return np.full(len(lengths), 1 / tokens)
    if settings.loss_type == "dr_grpo":
        return np.full(len(lengths), 1 / (rows * longest))
    return 1 / (rows * np.asarray(lengths, dtype=np.float64))


@dataclass(frozen=True)
class TokenLoss:
    """l and its derivative for the tokens of one row, arrays of shape (tokens,)."""

    settings: UpdateSettings

    @property
    def clip(self) -> tuple[float, float]:
        """Smallest and largest ratio that is not clipped."""
        high = self.settings.epsilon if self.settings.epsilon_high is None else self.settings.epsilon_high
        return 1 - self.settings.epsilon, 1 + high

    def value(self, logprobs: Array, old: Array, advantage: float, reference: Array | None = None) -> Array:
        """(tokens,) l at log-probabilities `logprobs`, sampled at `old`; `reference` where there is a KL term."""
        ratio = np.exp(logprobs - old)
        policy: Array = -np.minimum(ratio * advantage, np.clip(ratio, *self.clip) * advantage)
        return policy if reference is None else policy + self.settings.beta * self.divergence(logprobs, old, reference)

    def derivative(self, logprobs: Array, old: Array, advantage: float, reference: Array | None = None) -> Array:
        """(tokens,) dl / d logprobs."""
        ratio = np.exp(logprobs - old)
        low, high = self.clip
        clipped = ratio > high if advantage > 0 else ratio < low
        policy: Array = np.where(clipped, 0.0, -ratio * advantage)
        return policy if reference is None else policy + self.settings.beta * ratio * (logprobs - reference)

    @staticmethod
    def divergence(logprobs: Array, old: Array, reference: Array) -> Array:
        """(tokens,) the k3 estimate of the KL divergence, weighted by the ratio."""
        gap = reference - logprobs
        weighted: Array = (np.exp(gap) - gap - 1) * np.exp(logprobs - old)
        return weighted
