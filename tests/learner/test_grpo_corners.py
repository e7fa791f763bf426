"""Corners of the update: shortages that depend on the rows, empty turns, one token, greedy turns, broken slots."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from tiny_models import tiny_model
from update_turns import equal, gradients, logprobs, random_samples, updater, weights

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.distributed import DistContext
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import micro_batches
from ilr_bench.learner.samples import TrainingSample
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
    assert (empty.question, empty.stage) == ("", "")
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
    samples[1] = replace(samples[1], logprobs=None)
    with pytest.raises(
        BrokenBatchError, match=r"lower update\.learning_rate or update\.max_grad_norm and run again$"
    ) as raised:
        updater(model).update(samples, 1)
    assert set(raised.value.batch) == {"agent", "step", "what", "turns"}
    assert raised.value.batch["what"].startswith("the loss is")
    turns = {turn["question"]: turn for turn in raised.value.batch["turns"]}
    assert sorted(turns) == [f"q{index}" for index in range(6)]
    assert (turns["q1"]["logprobs"], len(turns["q0"]["logprobs"])) == (None, len(samples[0].completion_ids))


def test_no_gradient_is_kept_from_one_update_to_the_next() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    updater(model).update(samples, 1)
    assert all(weight.grad is None for weight in model.parameters())
    with pytest.raises(BrokenBatchError):
        updater(model).update([*samples[1:], replace(samples[0], credit=float("inf"))], 1)
    assert all(weight.grad is None for weight in model.parameters())


def test_turns_without_gradient_are_not_computed() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    samples = [replace(one, credit=0.0 if index % 2 else 1.0) for index, one in enumerate(samples)]
    learner = updater(model, UpdateSettings(rows_per_micro_batch=1))
    whole, rows = learner._loss, []

    def loss(batch: Any, *rest: Any) -> Any:
        rows.append(batch.rows)
        return whole(batch, *rest)

    learner._loss = loss  # type: ignore[method-assign]
    metrics = learner.update(samples, 1)
    assert rows == [1] * 5
    assert metrics.skipped_turns == 5


@pytest.mark.parametrize(("steps", "rates"), [(0, [1e-3, 1e-3]), (1, [1e-3, 1e-3]), (2, [5e-4, 1e-3])])
def test_a_warm_up_of_so_many_steps(steps: int, rates: list[float]) -> None:
    model = tiny_model(scale=0.1)
    learner = updater(model, UpdateSettings(learning_rate=1e-3, warmup_steps=steps))
    samples = random_samples(model, ((3, 1),))
    assert [learner.update(samples, step).learning_rate for step in (1, 2)] == pytest.approx(rates)


def test_sharded_states_give_the_weights_of_plain_ones() -> None:
    settings = UpdateSettings(learning_rate=1e-3, warmup_steps=2, weight_decay=0.1)
    models = [tiny_model(scale=0.1) for _ in range(2)]
    contexts = [DistContext(), DistContext(shards=True)]
    learners = [
        GRPOLearner(model, "A", settings, 10, 10, 1.0, context) for model, context in zip(models, contexts, strict=True)
    ]
    samples = random_samples(models[0])
    assert [learner.update(samples, step) for learner in learners[:1] for step in (1, 2)] == [
        learners[1].update(samples, step) for step in (1, 2)
    ]
    assert weights(models[0]) == weights(models[1])
    assert list(contexts[1].responders) == ["A"]
    assert not contexts[0].responders


def test_gradients_of_all_weights_are_summed_over_ranks_once_a_pass() -> None:
    summed: list[list[torch.Tensor]] = []

    class Recording(DistContext):
        def all_reduce(self, tensors: Any) -> None:
            summed.append([tensor.clone() for tensor in tensors])

    model = tiny_model(scale=0.1)
    learner = GRPOLearner(model, "A", UpdateSettings(iterations=2), 10, 10, 1.0, Recording())
    learner.update(random_samples(model), 1)
    shapes = [weight.shape for weight in model.parameters()]
    assert [[tensor.shape for tensor in tensors] for tensors in summed] == [shapes, shapes]
    assert all(any(bool(tensor.any()) for tensor in tensors) for tensors in summed)


def test_accelerate_neither_moves_models_nor_changes_their_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would read both from its own environment."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    AcceleratorState._reset_state(True)
    accelerator = updater(tiny_model()).accelerator
    assert accelerator.mixed_precision == "no"
    assert not accelerator.device_placement
    monkeypatch.undo()
    AcceleratorState._reset_state(True)
