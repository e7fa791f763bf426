"""Log-probabilities of given tokens from a model's last hidden states, without all logits at once.

Logits are as many numbers as tokens times vocabulary, a few times over on the way back: of eight thousand tokens and a
vocabulary of 49,152 each copy is 1.6 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ilr_bench.generation.onednn_linear import computing
from ilr_bench.generation.sizes import LARGE, PIECE, PLAIN_HEADS


def in_pieces(model: Any, tokens: int) -> bool:
    """Whether the logits of so many tokens are too many to be kept, and the model's head can be called by itself."""
    config = model.config
    return tokens * config.vocab_size >= LARGE and config.model_type in PLAIN_HEADS


@contextmanager
def head_apart(model: Any) -> Iterator[Callable[[Tensor], Tensor]]:
    """Within it the model gives hidden states for logits; what is handed out computes those from them."""
    head = model.get_output_embeddings()
    forward = head.forward
    with computing({head: _as_they_are}):
        yield forward


def piecewise_logprobs(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, temperature: float, vocabulary: int
) -> Tensor:
    """(tokens,) log-probabilities of `targets` at a temperature; hidden: (tokens, size).

    The way back computes each piece's logits again.
    """

    def piece(states: Tensor, chosen: Tensor) -> Tensor:
        return logprobs_of(head(states), chosen, temperature)

    size = max(1, PIECE // vocabulary)
    parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    return torch.cat([checkpoint(piece, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def logprobs_of(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """(tokens,) log-probabilities of `targets` at a temperature; logits: (tokens, vocabulary)."""
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    return -functional.cross_entropy(scaled, targets, reduction="none")


def _as_they_are(hidden: Tensor) -> Tensor:
    return hidden
