"""Log-probabilities of turns under a model, with gradients; a prompt that turns share is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ilr_bench.generation.shared_prefix import Continuation, encode, pack, shared_prefix_attention


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


def turn_logprobs(model: Any, batch: MicroBatch, pad_id: int, temperature: float) -> Tensor:
    """(slots, longest) log-probabilities of the completions' tokens at a temperature; padding is arbitrary.

    Gradients reach the weights through the completions and through the shared prompts.
    """
    device, longest = model.device, batch.longest
    opened = [
        (*batch.prompts[prompt][-1:], *completion[:-1])
        for prompt, completion in zip(_per_slot(batch), batch.completions, strict=True)
    ]
    inputs = torch.tensor([[*ids, *[pad_id] * (longest - len(ids))] for ids in opened], device=device)
    targets = torch.tensor([[*ids, *[pad_id] * (longest - len(ids))] for ids in batch.completions], device=device)
    with shared_prefix_attention(model, longest + max(len(prompt) for prompt in batch.prompts)):
        prefix = encode(model, batch.prompts, pad_id).select(batch.prompt_of_group)
        first = prefix.lengths.repeat_interleave(len(opened) // len(prefix.lengths))
        logits = model(
            input_ids=inputs,
            position_ids=first[:, None] + torch.arange(longest, device=device),
            use_cache=False,
            shared_prefix=Continuation(prefix),
        ).logits
    scaled = logits.float().flatten(0, 1)
    scaled = scaled if temperature == 1 else scaled / temperature
    return -functional.cross_entropy(scaled, targets.flatten(), reduction="none").view(targets.shape)


def _arrange(turns: Sequence[TurnTokens], pieces: list[tuple[tuple[int, ...], list[int]]]) -> MicroBatch:
    rows = np.array([place for _, places in pieces for place in places], dtype=np.int64)
    prompt_of_row = np.repeat(np.arange(len(pieces)), [len(places) for _, places in pieces])
    groups, slots = pack(prompt_of_row, np.arange(len(rows)))
    turn_of_slot = np.append(rows, -1)[slots]
    completions = tuple(turns[place].completion_ids if place >= 0 else () for place in turn_of_slot)
    return MicroBatch(tuple(prompt for prompt, _ in pieces), groups, turn_of_slot, completions)


def _per_slot(batch: MicroBatch) -> NDArray[np.int64]:
    return np.repeat(batch.prompt_of_group, len(batch.turn_of_slot) // len(batch.prompt_of_group))
