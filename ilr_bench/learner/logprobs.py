"""Log-probabilities of samples under a model, with gradients; each prompt is encoded once for all its samples.

Prompts and completions are packed into one sequence, what prompts have in common once. Attention, which is ours,
unpacks them into padded tables and packs the result; everything else of the model computes each token once and never a
padding token. Large logits (tokens times vocabulary, a few times over in the backward pass: of eight thousand tokens
and a vocabulary of 49,152 each copy is 1.6 GB) are computed in chunks from the last hidden states.
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

from ilr_bench.core.signals import send_heartbeat
from ilr_bench.generation.engine import LARGEST_LOGITS, LOGITS_CHUNK, PLAIN_HEADS
from ilr_bench.generation.onednn_linear import fast_linears, replaced_forwards
from ilr_bench.generation.prefix_attention import (
    PackedPrompts,
    arrange_rows,
    attend_with_prompt,
    causal_attention,
    pack_prompts,
    prompt_bias,
    shared_prefix_attention,
    to_packed,
    to_padded,
)


class SampleTokens(Protocol):
    """The part of a sample that a forward pass needs."""

    @property
    def prompt_ids(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def completion_ids(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class MicroBatch:
    """Some samples, arranged in slots: groups of equal width, each on one prompt."""

    prompts: tuple[tuple[int, ...], ...]
    """Different prompts, each to be encoded once."""
    prompt_of_group: NDArray[np.int64]
    """(groups,)"""
    sample_of_slot: NDArray[np.int64]
    """(groups x width,) index in the list of samples; -1 for an empty slot."""
    completions: tuple[tuple[int, ...], ...]
    """(groups x width,) completion tokens by slot, none in an empty one."""

    @property
    def rows(self) -> int:
        """Number of samples."""
        return int((self.sample_of_slot >= 0).sum())

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


def micro_batches(samples: Sequence[SampleTokens], most_rows: int) -> list[MicroBatch]:
    """Arranges samples in batches of about equal prompt length and at most `most_rows` samples each.

    Samples without a completion are left out.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        if sample.completion_ids:
            by_prompt.setdefault(sample.prompt_ids, []).append(index)
    pieces = [
        (prompt, indices[start : start + most_rows])
        for prompt, indices in sorted(by_prompt.items(), key=lambda item: len(item[0]))
        for start in range(0, len(indices), most_rows)
    ]
    batches: list[MicroBatch] = []
    current: list[tuple[tuple[int, ...], list[int]]] = []
    for prompt, indices in pieces:
        full = sum(len(rows) for _, rows in current) + len(indices) > most_rows
        if current and (full or len(prompt) > 2 * len(current[0][0]) + 32):
            batches.append(_arrange(samples, current))
            current = []
        current.append((prompt, indices))
    return [*batches, _arrange(samples, current)] if current else batches


def split_batch(
    batch: MicroBatch, samples: Sequence[SampleTokens], most_rows: int
) -> list[tuple[MicroBatch, NDArray[np.int64]]]:
    """The samples of one micro-batch, their indices in `samples` kept, in batches of at most `most_rows`.

    With each, (slots,) the slot of `batch` that each of its slots was; -1 for an empty one.
    """
    filled = np.flatnonzero(batch.sample_of_slot >= 0)
    parts = micro_batches([samples[index] for index in batch.sample_of_slot[filled]], most_rows)
    # -1, an empty slot, finds the -1 at the end of both.
    before, indices = np.append(filled, -1), np.append(batch.sample_of_slot[filled], -1)
    return [(replace(part, sample_of_slot=indices[part.sample_of_slot]), before[part.sample_of_slot]) for part in parts]


class PackedAttention:
    """Attention within one sequence that holds all prompts of a batch, then all its rows.

    A row is its prompt's last token and its completion but the last token: what predicts the completion.
    """

    def __init__(self, batch: MicroBatch, packed: PackedPrompts, device: torch.device) -> None:
        """`packed` of the prompts without their last tokens."""
        sizes = [len(completion) for completion in batch.completions]
        rows = _indices(sizes, len(packed.ids))
        self.prompts = torch.from_numpy(packed.places).to(device)
        """(prompts, longest) index in the sequence of each prompt token."""
        self.rows = torch.from_numpy(rows).to(device)
        filled = np.flatnonzero(np.arange(rows.shape[1])[None, :] < np.array(sizes)[:, None])
        self.back = torch.from_numpy(np.concatenate([packed.first_use(), packed.places.size + filled])).to(device)
        """(tokens,) index of each token in the two tables, flat, one after the other."""
        self.groups = torch.from_numpy(batch.prompt_of_group).to(device)
        self.lengths = torch.tensor(packed.lengths, device=device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See `Attention.attend`; query: (1, heads, tokens of the sequence, size)."""
        del layer
        prompt_query, prompt_key, prompt_value = (to_padded(part, self.prompts) for part in (query, key, value))
        row_query, row_key, row_value = (to_padded(part, self.rows) for part in (query, key, value))
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
        return to_packed((on_prompts, on_rows), self.back)


def completion_logprobs(model: Any, batch: MicroBatch, temperature: float) -> Tensor:
    """(slots, longest) log-probabilities of the completions' tokens at a temperature, 0 on padding.

    Gradients reach the weights through the completions and through the shared prompts.
    """
    send_heartbeat()
    device = model.device
    opened = [
        (*batch.prompts[prompt][-1:], *completion[:-1]) if completion else ()
        for prompt, completion in zip(_per_slot(batch), batch.completions, strict=True)
    ]
    starts = [len(batch.prompts[prompt]) - 1 for prompt in _per_slot(batch)]
    packed = pack_prompts([prompt[:-1] for prompt in batch.prompts])
    ids = [*packed.ids, *(token for row in opened for token in row)]
    positions = [packed.positions]
    positions += [start + np.arange(len(row)) for start, row in zip(starts, opened, strict=True)]
    targets = torch.tensor([token for completion in batch.completions for token in completion], device=device)
    longest = batch.longest + max(len(prompt) for prompt in batch.prompts)
    chunked = needs_chunked_logits(model, len(targets))
    with (
        shared_prefix_attention(model, longest),
        fast_linears(model),
        hidden_states_as_logits(model) if chunked else nullcontext() as head,
    ):
        output = model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.from_numpy(np.concatenate(positions))[None].to(device),
            use_cache=False,
            logits_to_keep=torch.arange(len(ids) - len(targets), len(ids), device=device),
            shared_prefix=PackedAttention(batch, packed, device),
        ).logits[0]
    if head is None:
        found = logprobs_of(output, targets, temperature)
    else:
        found = chunked_logprobs(head, output, targets, temperature, model.config.vocab_size)
    mask = torch.from_numpy(batch.padded([np.ones(len(completion)) for completion in batch.completions]) > 0).to(device)
    return found.new_zeros(mask.shape).masked_scatter(mask, found)


def needs_chunked_logits(model: Any, tokens: int) -> bool:
    """Whether the logits of so many tokens are too many to be kept, and the model's head can be called by itself."""
    config = model.config
    return tokens * config.vocab_size >= LARGEST_LOGITS and config.model_type in PLAIN_HEADS


@contextmanager
def hidden_states_as_logits(model: Any) -> Iterator[Callable[[Tensor], Tensor]]:
    """Within it the model returns hidden states in place of logits; yields the head that computes logits from them."""
    head = model.get_output_embeddings()
    forward = head.forward
    with replaced_forwards({head: lambda hidden: hidden}):
        yield forward


def chunked_logprobs(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, temperature: float, vocabulary: int
) -> Tensor:
    """(tokens,) log-probabilities of `targets` at a temperature; hidden: (tokens, size).

    The backward pass computes each chunk's logits again.
    """

    def chunk(states: Tensor, chosen: Tensor) -> Tensor:
        return logprobs_of(head(states), chosen, temperature)

    size = max(1, LOGITS_CHUNK // vocabulary)
    parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    return torch.cat([checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def logprobs_of(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """(tokens,) log-probabilities of `targets` at a temperature; logits: (tokens, vocabulary)."""
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    return -functional.cross_entropy(scaled, targets, reduction="none")


def _indices(lengths: Sequence[int], start: int) -> NDArray[np.int64]:
    """(sequences, longest) indices of sequences that follow each other from `start` on; 0 on padding."""
    indices = np.zeros((len(lengths), max([1, *lengths])), dtype=np.int64)
    for row, length in zip(indices, lengths, strict=True):
        row[:length] = np.arange(start, start + length)
        start += length
    return indices


def _arrange(samples: Sequence[SampleTokens], pieces: list[tuple[tuple[int, ...], list[int]]]) -> MicroBatch:
    rows = np.array([index for _, indices in pieces for index in indices], dtype=np.int64)
    prompt_of_row = np.repeat(np.arange(len(pieces)), [len(indices) for _, indices in pieces])
    groups, slots = arrange_rows(prompt_of_row, np.arange(len(rows)))
    sample_of_slot = np.append(rows, -1)[slots]
    completions = tuple(samples[index].completion_ids if index >= 0 else () for index in sample_of_slot)
    return MicroBatch(tuple(prompt for prompt, _ in pieces), groups, sample_of_slot, completions)


def _per_slot(batch: MicroBatch) -> NDArray[np.int64]:
    return np.repeat(batch.prompt_of_group, len(batch.sample_of_slot) // len(batch.prompt_of_group))
