"""Drawing next tokens from logits by the inverse distribution function."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 256
"""Tokens whose probabilities are summed in single precision: an error of a ten-millionth of their sum."""
LARGE_VOCABULARY = 4096
"""From here on, a running sum in double precision over all tokens costs more than finding a block first."""


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
        chosen = _find(scaled.double().exp(), uniforms)[0]
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
        block, within = _find(sums, uniforms)
        place, _ = _find(blocks[torch.arange(rows, device=logits.device), block].double(), within)
        chosen = (block * BLOCK + place).clamp_(max=vocabulary - 1)
        total = (highest + sums.sum(dim=-1).log()).float() if temperature == 1 else logits.logsumexp(dim=-1)
    return chosen, logits.gather(1, chosen[:, None])[:, 0] - total


def _find(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Places drawn in proportion to `weights`, (rows, places), and where within their places the draws fell, in [0, 1].

    Both (rows,).
    """
    ends = weights.cumsum(dim=-1)
    targets = uniforms[:, None] * ends[:, -1:]
    places = torch.searchsorted(ends, targets, right=True).clamp_(max=weights.shape[-1] - 1)
    size = weights.gather(1, places)
    return places[:, 0], ((targets - ends.gather(1, places) + size) / size)[:, 0].clamp_(0, 1)
