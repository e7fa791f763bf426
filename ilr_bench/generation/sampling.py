"""Drawing next tokens from logits by the inverse distribution function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 256
"""Tokens whose probabilities are summed in single precision: an error of a ten-millionth of their sum."""
LARGE_VOCABULARY = 4096
"""From here on, a running sum in double precision over all tokens costs more than finding a block first."""


def rng_streams(names: Sequence[tuple[int, int, int]], count: int) -> NDArray[np.float64]:
    """(rows, count) uniform numbers in [0, 1): a stream for every row, named by seed, prompt and sample."""
    numbers = np.empty((len(names), count))
    for index, (seed, prompt, sample) in enumerate(names):
        key = np.array([seed % 2**64, (prompt << 32) + sample], dtype=np.uint64)
        numbers[index] = np.random.Generator(np.random.Philox(key=key)).random(count)
    return numbers


def draw(logits: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Next tokens, and their log-probabilities at temperature 1.

    logits: (rows, vocabulary), uniforms: (rows,) in [0, 1), double precision. Returns (rows,) each. Temperature 0
    takes the likeliest token.
    """
    if logits.shape[-1] >= LARGE_VOCABULARY:
        return _from_blocks(logits.float(), temperature, uniforms)
    logprobs = logits.float().log_softmax(dim=-1)
    if temperature == 0:
        chosen = logits.argmax(dim=-1)
    else:
        scaled = logprobs if temperature == 1 else (logits.float() / temperature).log_softmax(dim=-1)
        # Double precision, so that rounding in the running sum cannot move a draw to another token.
        chosen = _pick(scaled.double().exp().cumsum(dim=-1), uniforms)
    return chosen, logprobs.gather(1, chosen[:, None])[:, 0]


def _from_blocks(logits: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """A block of tokens is drawn by its probability, then a token within it."""
    rows, vocabulary = logits.shape
    if temperature == 0:
        chosen, total = logits.argmax(dim=-1), logits.logsumexp(dim=-1)
    else:
        scaled = logits if temperature == 1 else logits / temperature
        highest = scaled.amax(dim=-1)
        weights = logits.new_zeros(rows, -(-vocabulary // BLOCK) * BLOCK)
        torch.sub(scaled, highest[:, None], out=weights[:, :vocabulary]).exp_()
        blocks = weights.view(rows, -1, BLOCK)
        sums = blocks.sum(dim=-1).double()
        ends = sums.cumsum(dim=-1)
        block = _pick(ends, uniforms)
        own = blocks[torch.arange(rows, device=logits.device), block].double()
        index = _pick(own.cumsum(dim=-1), _within(sums, ends, block, uniforms))
        chosen = (block * BLOCK + index).clamp_(max=vocabulary - 1)
        total = (highest + sums.sum(dim=-1).log()).float() if temperature == 1 else logits.logsumexp(dim=-1)
    return chosen, logits.gather(1, chosen[:, None])[:, 0] - total


def _pick(ends: Tensor, uniforms: Tensor) -> Tensor:
    """(rows,) indices drawn in proportion to weights whose running sums are `ends`, (rows, weights)."""
    targets = uniforms[:, None] * ends[:, -1:]
    return torch.searchsorted(ends, targets, right=True).clamp_(max=ends.shape[-1] - 1)[:, 0]


def _within(weights: Tensor, ends: Tensor, indices: Tensor, uniforms: Tensor) -> Tensor:
    """(rows,) where within the weights at `indices` the draws fell, in [0, 1]."""
    targets, size = uniforms[:, None] * ends[:, -1:], weights.gather(1, indices[:, None])
    return ((targets - ends.gather(1, indices[:, None]) + size) / size)[:, 0].clamp_(0, 1)
