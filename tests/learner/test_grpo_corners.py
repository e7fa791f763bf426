"""Corners of the update: shortages that depend on the rows, empty turns, one token, greedy turns, broken slots."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import tiny_model
from update_turns import equal, gradients, logprobs, random_samples, updater

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner, TrainingSample
from ilr_bench.learner.logprobs import micro_batches
from ilr_bench.learner.trl_loss import TrlLoss
from ilr_bench.storage.recovery import BrokenBatchError


def numbers(learner: GRPOLearner, samples: list[TrainingSample]) -> dict[str, NDArray[np.float32]]:
    """The gradients of one update, taken before the optimizer steps."""
    found: dict[str, NDArray[np.float32]] = {}

    def keep(*_: Any) -> torch.Tensor:
        found.update({name: weight.grad.numpy().copy() for name, weight in learner.model.named_parameters()})
        return torch.tensor(1.0)

    learner.accelerator.clip_grad_norm_ = keep
    learner.update(samples, 1)
    return found


@pytest.mark.parametrize("groups", [((3, 4), (60, 4), (1, 2)), ((3, 5),), ((60, 3), (1, 1)), ((5, 2), (7, 1))])
def test_every_micro_batch_is_divided_that_has_too_many_rows(groups: tuple[tuple[int, int], ...]) -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model, groups)
    plain = gradients(model, UpdateSettings(), samples)
    learner = updater(copy.deepcopy(model), UpdateSettings(rows_per_micro_batch=4))
    whole, fitting = learner._loss, []

    def loss(batch: Any, *rest: Any) -> Any:
        if batch.rows > 1:
            fitting.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")
        fitting.append(batch.rows)
        return whole(batch, *rest)

    learner._loss = loss  # type: ignore[method-assign]
    equal(plain, numbers(learner, samples))
    assert fitting == [1] * len(samples)


def test_turns_without_a_token_are_trained_on_nothing() -> None:
    model = tiny_model(scale=0.1)
    empty = TrainingSample((5, 6), (), np.zeros(0, dtype=np.float32), 1.0)
    assert empty.stage == ""
    metrics = updater(model, UpdateSettings(beta=0.1)).update([empty, empty], 1)
    assert (metrics.kl, metrics.trained_tokens, metrics.skipped_turns, metrics.loss) == (0.0, 0, 2, 0.0)
    full = random_samples(model)
    metrics = updater(model, UpdateSettings(beta=0.1)).update([*full, empty], 1)
    assert metrics.skipped_turns == 1


@pytest.mark.parametrize("lengths", [(1,), (3,), (1, 4, 2)])
def test_kl_is_the_mean_over_all_trained_tokens_of_the_k3_estimate(lengths: tuple[int, ...]) -> None:
    model, start = tiny_model("qwen2", scale=0.1), tiny_model("qwen2", scale=0.1)
    with torch.no_grad():
        for weight in start.parameters():
            weight.mul_(1.5)
    drawn = iter(range(4, 30))
    samples = [TrainingSample((5, 6), tuple(next(drawn) for _ in range(length)), None, 1.0) for length in lengths]
    samples = [replace(one, logprobs=logprobs(model, one)) for one in samples]
    distances = [logprobs(start, one) - logprobs(model, one) for one in samples]
    expected = np.concatenate([np.exp(distance) - distance - 1 for distance in distances]).mean()
    learner = updater(model, UpdateSettings(beta=0.1, rows_per_micro_batch=1))
    learner.reference = start
    assert learner.update(samples, 1).kl == pytest.approx(float(expected), rel=1e-3)
    assert expected > 1e-3


def test_greedy_turns_count_as_sampled_at_one() -> None:
    assert updater(tiny_model(scale=0.1), temperature=0.0).temperature == 1.0
    assert updater(tiny_model(scale=0.1), temperature=0.7).temperature == 0.7


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo", "dapo"])
def test_a_micro_batch_weighs_what_its_rows_or_tokens_are_of_the_whole(kind: str) -> None:
    """On policy each token's loss is minus its advantage, so the parts can be added up by hand."""
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    credit = torch.tensor([2.0, -1.0])
    zeros = torch.zeros(2, 4)
    inputs = {
        "prompt_ids": torch.zeros(2, 0, dtype=torch.long), "prompt_mask": torch.zeros(2, 0, dtype=torch.long),
        "completion_ids": torch.zeros(2, 4, dtype=torch.long), "completion_mask": mask, "advantages": credit,
        "num_items_in_batch": torch.tensor(20.0), "old_per_token_logps": zeros,
    }  # fmt: skip
    rows, tokens, longest = 5, 20, 8
    by_row = -(2.0 * 3 / 3 - 1.0)
    by_token = -(2.0 * 3 - 1.0)
    expected = {
        "grpo": by_row / rows, "bnpo": by_token / tokens, "dr_grpo": by_token / (rows * longest),
        "dapo": by_token / tokens,
    }  # fmt: skip
    loss = TrlLoss(UpdateSettings(loss_type=kind), longest)  # type: ignore[arg-type]
    assert float(loss(zeros, inputs, rows, tokens)) == pytest.approx(expected[kind])


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo", "dapo"])
def test_small_micro_batches_give_the_loss_of_the_whole(kind: str) -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    losses = []
    for rows in (1, 3, 256):
        settings = UpdateSettings(loss_type=kind, rows_per_micro_batch=rows)  # type: ignore[arg-type]
        losses.append(updater(copy.deepcopy(model), settings).update(samples, 1).loss)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    assert abs(losses[0]) > 1e-3


def test_the_turns_of_a_broken_micro_batch_are_those_in_it_and_no_empty_place() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model, ((3, 1), (3, 3), (3, 2)))
    samples = [replace(one, question=f"q{index}") for index, one in enumerate(samples)]
    samples[2] = replace(samples[2], credit=float("inf"))
    (batch,) = micro_batches(samples, len(samples))
    assert (batch.sample_of_slot < 0).any()
    with pytest.raises(BrokenBatchError) as raised:
        updater(model).update(samples, 1)
    assert sorted(turn["question"] for turn in raised.value.batch["turns"]) == [f"q{index}" for index in range(6)]
