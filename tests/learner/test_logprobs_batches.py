"""Micro-batches of turns: which turns share one, in which slots, and what becomes of empty ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny_models import tiny_model

from ilr_bench.learner.logprobs import completion_logprobs, logprobs_of, micro_batches, split_batch


@dataclass(frozen=True)
class Sample:
    """A turn of a prompt of so many tokens."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


def turn(length: int, *completions: int, first: int = 5) -> Sample:
    return Sample((first,) * length, completions)


def places(turns: list[Sample], most_rows: int) -> list[list[int]]:
    """Turns of each batch, prompt by prompt."""
    return [[int(index) for index in batch.sample_of_slot if index >= 0] for batch in micro_batches(turns, most_rows)]


def test_shorter_prompts_come_first_and_turns_without_a_completion_not_at_all() -> None:
    turns = [turn(9, 1), turn(3, 1), turn(3), turn(3, 2), turn(9, 1, first=6), turn(9, 2)]
    assert places(turns, 8) == [[1, 3, 0, 5, 4]]
    assert places(turns, 3) == [[1, 3], [0, 5, 4]]
    assert places(turns, 1) == [[1], [3], [0], [5], [4]]
    assert places([turn(3)], 8) == []


def test_a_prompt_of_many_turns_is_cut_at_the_most_rows() -> None:
    turns = [turn(4, index + 1) for index in range(5)]
    assert places(turns, 2) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(("longer", "together"), [(38, True), (39, False)])
def test_prompts_share_a_batch_up_to_twice_the_shortest_and_32(longer: int, together: bool) -> None:
    assert len(places([turn(3, 1), turn(longer, 1)], 8)) == (1 if together else 2)
    # The shortest of the batch counts, not the one before.
    assert len(places([turn(3, 1), turn(30, 1), turn(longer, 1)], 8)) == (1 if together else 2)


def test_slots_hold_the_completions_of_their_turns() -> None:
    turns = [turn(2, 7, 8, 9), turn(4, 6), turn(2, 5)]
    (batch,) = micro_batches(turns, 8)
    assert batch.prompts == ((5, 5), (5, 5, 5, 5))
    width = len(batch.sample_of_slot) // len(batch.prompt_of_group)
    for slot, index in enumerate(batch.sample_of_slot):
        assert batch.completions[slot] == (turns[index].completion_ids if index >= 0 else ())
        if index >= 0:
            assert batch.prompts[batch.prompt_of_group[slot // width]] == turns[index].prompt_ids
    assert (batch.rows, batch.longest) == (3, 3)
    assert batch.padded([[1.5], [], [2, 3, 4]], 9).tolist() == [[1.5, 9, 9], [9, 9, 9], [2, 3, 4]]
    assert batch.padded([[1.5]]).tolist() == [[1.5, 0, 0]]


def test_smaller_batches_know_the_turns_and_the_slots_they_come_from() -> None:
    turns = [turn(2, 7, 8), turn(9), turn(4, 6), turn(2, 5, 5, 5), turn(4, 1, 2), turn(4, 3)]
    (batch,) = micro_batches(turns, 8)
    found = split_batch(batch, turns, 2)
    assert [part.rows for part, _ in found] == [2, 2, 1]
    seen = []
    for part, before in found:
        assert len(before) == len(part.sample_of_slot)
        for slot, (index, origin) in enumerate(zip(part.sample_of_slot, before, strict=True)):
            assert (index < 0) == (origin < 0)
            if index >= 0:
                seen.append(int(index))
                assert part.completions[slot] == turns[index].completion_ids
                assert batch.sample_of_slot[origin] == index
    assert sorted(seen) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_those_of_a_plain_forward_at_the_temperature(temperature: float) -> None:
    model = tiny_model(scale=0.1)
    turns = [turn(6, 7, 8, 9), turn(9, 10, first=12), turn(6, 11), turn(1, 4, 6)]
    (batch,) = micro_batches(turns, 8)
    with torch.no_grad():
        found = completion_logprobs(model, batch, temperature)
        assert found.shape == (len(batch.sample_of_slot), 3)
        for index, line in zip(batch.sample_of_slot, found, strict=True):
            completions = turns[index].completion_ids if index >= 0 else ()
            if completions:
                prompt = turns[index].prompt_ids
                plain = model(torch.tensor([[*prompt, *completions]])).logits[0, len(prompt) - 1 : -1] / temperature
                expected = plain.log_softmax(-1)[np.arange(len(completions)), completions]
                assert torch.allclose(line[: len(completions)], expected, atol=1e-5)
            assert not line[len(completions) :].any()


def test_log_probabilities_of_targets_are_in_single_precision_at_the_temperature() -> None:
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    targets = torch.tensor([0, 8, 3, 3, 1])
    for temperature in (1, 1.0, 0.5, 2.0):
        found = logprobs_of(logits, targets, temperature)
        expected = (logits.double() / temperature).log_softmax(-1)[torch.arange(5), targets]
        assert found.dtype == torch.float32
        assert torch.allclose(found.double(), expected, atol=1e-6)
