"""Log-probabilities of given tokens from a model's last hidden states, without all logits at once.

Logits are as many numbers as tokens times vocabulary, a few times over on the way back: of eight thousand tokens and a
vocabulary of 49,152 each copy is 1.6 GB.

Log-probabilities of turns under a model, with gradients; a prompt that turns share is encoded once.

Prompts and completions are laid end to end in one sequence, what prompts have in common once. Attention, which is
ours, arranges them in padded tables and back; everything else of the model computes each token once and never a
padding token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ilr_bench.core.signals import beat
from ilr_bench.generation.engine import LARGE, PIECE, PLAIN_HEADS
from ilr_bench.generation.onednn_linear import computing, fast_linears
from ilr_bench.generation.prefix_attention import (
    Layout,
    attend_with_prompt,
    causal_attention,
    lay,
    pack,
    prompt_bias,
    sequence,
    shared_prefix_attention,
    table,
)


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


class TurnTokens(Protocol):
    """The part of a turn that a forward pass needs."""

    @property
    def prompt_ids(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def completion_ids(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class MicroBatch:
    """Some turns, arranged in slots: groups of equal width, each on one prompt."""

    prompts: tuple[tuple[int, ...], ...]
    """Different prompts, each to be encoded once."""
    prompt_of_group: NDArray[np.int64]
    """(groups,)"""
    turn_of_slot: NDArray[np.int64]
    """(groups x width,) place in the list of turns; -1 for an empty slot."""
    completions: tuple[tuple[int, ...], ...]
    """(groups x width,) completion tokens by slot, none in an empty one."""

    @property
    def rows(self) -> int:
        """Turns, empty slots apart."""
        return int((self.turn_of_slot >= 0).sum())

    @property
    def longest(self) -> int:
        """Tokens of the longest completion."""
        return max(len(completion) for completion in self.completions)

    def padded(self, values: Sequence[Sequence[float] | NDArray[Any]], fill: float = 0) -> NDArray[Any]:
        """Values by slot and token, (slots, longest), filled up on the right."""
        table = np.full((len(values), self.longest), fill, dtype=np.float32)
        for row, line in zip(table, values, strict=True):
            row[: len(line)] = line
        return table


def micro_batches(turns: Sequence[TurnTokens], most_rows: int) -> list[MicroBatch]:
    """Arranges turns in batches of about equal prompt length and at most `most_rows` turns each.

    Turns without a completion are left out.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for place, turn in enumerate(turns):
        if turn.completion_ids:
            by_prompt.setdefault(turn.prompt_ids, []).append(place)
    pieces = [
        (prompt, places[start : start + most_rows])
        for prompt, places in sorted(by_prompt.items(), key=lambda item: len(item[0]))
        for start in range(0, len(places), most_rows)
    ]
    batches: list[MicroBatch] = []
    current: list[tuple[tuple[int, ...], list[int]]] = []
    for prompt, places in pieces:
        full = sum(len(rows) for _, rows in current) + len(places) > most_rows
        if current and (full or len(prompt) > 2 * len(current[0][0]) + 32):
            batches.append(_arrange(turns, current))
            current = []
        current.append((prompt, places))
    return [*batches, _arrange(turns, current)] if current else batches


def smaller(
    batch: MicroBatch, turns: Sequence[TurnTokens], most_rows: int
) -> list[tuple[MicroBatch, NDArray[np.int64]]]:
    """The turns of one micro-batch, its places among `turns` kept, in batches of at most `most_rows`.

    With each, where in `batch` its slots lay, (slots,); -1 for an empty slot.
    """
    filled = np.flatnonzero(batch.turn_of_slot >= 0)
    parts = micro_batches([turns[place] for place in batch.turn_of_slot[filled]], most_rows)
    # -1, an empty slot, finds the -1 at the end of both.
    before, places = np.append(filled, -1), np.append(batch.turn_of_slot[filled], -1)
    return [(replace(part, turn_of_slot=places[part.turn_of_slot]), before[part.turn_of_slot]) for part in parts]


class LaidEndToEnd:
    """Attention within one sequence that holds all prompts of a batch, then all its rows.

    A row is its prompt's last token and its completion but the last token: what predicts the completion.
    """

    def __init__(self, batch: MicroBatch, layout: Layout, device: torch.device) -> None:
        """`layout` of the prompts without their last tokens."""
        sizes = [len(completion) for completion in batch.completions]
        rows = _places(sizes, len(layout.ids))
        self.prompts = torch.from_numpy(layout.places).to(device)
        """(prompts, longest) place in the sequence of each prompt token."""
        self.rows = torch.from_numpy(rows).to(device)
        filled = np.flatnonzero(np.arange(rows.shape[1])[None, :] < np.array(sizes)[:, None])
        self.back = torch.from_numpy(np.concatenate([layout.first_use(), layout.places.size + filled])).to(device)
        """Place in both tables, one after the other, of each token of the sequence."""
        self.groups = torch.from_numpy(batch.prompt_of_group).to(device)
        self.lengths = torch.tensor(layout.lengths, device=device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See `Attention.attend`; query: (1, heads, tokens of the sequence, size)."""
        del layer
        prompt_query, prompt_key, prompt_value = (table(part, self.prompts) for part in (query, key, value))
        row_query, row_key, row_value = (table(part, self.rows) for part in (query, key, value))
        bias = prompt_bias(self.lengths, self.prompts.shape[1], query.dtype)
        on_rows = attend_with_prompt(
            row_query,
            row_key,
            row_value,
            prompt_key.index_select(0, self.groups),
            prompt_value.index_select(0, self.groups),
            bias[self.groups],
            scaling,
            causal=True,
        )
        on_prompts = causal_attention(prompt_query, prompt_key, prompt_value, scaling)
        return sequence((on_prompts, on_rows), self.back)


def turn_logprobs(model: Any, batch: MicroBatch, temperature: float) -> Tensor:
    """(slots, longest) log-probabilities of the completions' tokens at a temperature, 0 on padding.

    Gradients reach the weights through the completions and through the shared prompts.
    """
    beat()
    device = model.device
    opened = [
        (*batch.prompts[prompt][-1:], *completion[:-1]) if completion else ()
        for prompt, completion in zip(_per_slot(batch), batch.completions, strict=True)
    ]
    starts = [len(batch.prompts[prompt]) - 1 for prompt in _per_slot(batch)]
    layout = lay([prompt[:-1] for prompt in batch.prompts])
    ids = [*layout.ids, *(token for row in opened for token in row)]
    positions = [layout.positions]
    positions += [start + np.arange(len(row)) for start, row in zip(starts, opened, strict=True)]
    targets = torch.tensor([token for completion in batch.completions for token in completion], device=device)
    longest = batch.longest + max(len(prompt) for prompt in batch.prompts)
    apart = in_pieces(model, len(targets))
    with (
        shared_prefix_attention(model, longest),
        fast_linears(model),
        head_apart(model) if apart else nullcontext() as head,
    ):
        output = model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.from_numpy(np.concatenate(positions))[None].to(device),
            use_cache=False,
            logits_to_keep=torch.arange(len(ids) - len(targets), len(ids), device=device),
            shared_prefix=LaidEndToEnd(batch, layout, device),
        ).logits[0]
    if head is None:
        found = logprobs_of(output, targets, temperature)
    else:
        found = piecewise_logprobs(head, output, targets, temperature, model.config.vocab_size)
    mask = torch.from_numpy(batch.padded([np.ones(len(completion)) for completion in batch.completions]) > 0).to(device)
    return found.new_zeros(mask.shape).masked_scatter(mask, found)


def _places(lengths: Sequence[int], start: int) -> NDArray[np.int64]:
    """(sequences, longest) places of sequences that lie end to end from `start` on; 0 on padding."""
    places = np.zeros((len(lengths), max([1, *lengths])), dtype=np.int64)
    for row, length in zip(places, lengths, strict=True):
        row[:length] = np.arange(start, start + length)
        start += length
    return places


def _arrange(turns: Sequence[TurnTokens], pieces: list[tuple[tuple[int, ...], list[int]]]) -> MicroBatch:
    rows = np.array([place for _, places in pieces for place in places], dtype=np.int64)
    prompt_of_row = np.repeat(np.arange(len(pieces)), [len(places) for _, places in pieces])
    groups, slots = pack(prompt_of_row, np.arange(len(rows)))
    turn_of_slot = np.append(rows, -1)[slots]
    completions = tuple(turns[place].completion_ids if place >= 0 else () for place in turn_of_slot)
    return MicroBatch(tuple(prompt for prompt, _ in pieces), groups, turn_of_slot, completions)


def _per_slot(batch: MicroBatch) -> NDArray[np.int64]:
    return np.repeat(batch.prompt_of_group, len(batch.turn_of_slot) // len(batch.prompt_of_group))
