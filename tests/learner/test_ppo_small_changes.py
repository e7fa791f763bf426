"""What PPO's update is made of, written out: returns, whitened advantages, and the loss of policy and values."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import tiny_model
from update_turns import LONGEST, random_samples, weights

from ilr_bench.core.config import CriticSettings, UpdateSettings
from ilr_bench.learner.distributed import DistContext
from ilr_bench.learner.logprobs import micro_batches
from ilr_bench.learner.ppo import PPOLearner, ValueHead, clipped_value_loss, generalised_advantages, whitened
from ilr_bench.learner.samples import TrainingSample

CRITIC = CriticSettings("value_head", discount=0.9, trace=0.8, value_weight=0.3, value_clip=0.05)
OPEN = UpdateSettings(epsilon=0.9, epsilon_high=0.9)


def updater(
    model: Any, settings: UpdateSettings = OPEN, critic: CriticSettings = CRITIC, temperature: float = 1.0
) -> PPOLearner:
    """A learner whose value head has weights."""
    learner = PPOLearner(model, "A", settings, 10, LONGEST, temperature, critic=critic)
    with torch.no_grad():
        learner.head.weight.copy_(torch.linspace(-40, 60, len(learner.head.weight)))
        learner.head.bias.fill_(0.3)
    return learner


def values(learner: PPOLearner, sample: TrainingSample) -> NDArray[np.float64]:
    """By a plain forward: the head at the state before each token."""
    ids = torch.tensor([sample.prompt_ids + sample.completion_ids])
    with torch.no_grad():
        hidden = learner.model(ids, output_hidden_states=True).hidden_states[-1][0, len(sample.prompt_ids) - 1 : -1]
        found = hidden @ learner.head.weight / hidden.shape[1] + learner.head.bias
    return found.double().numpy()


def advantages(learner: PPOLearner, sample: TrainingSample) -> NDArray[np.float64]:
    before = [*values(learner, sample), 0.0]
    errors = [0.9 * after - value for value, after in itertools.pairwise(before)]
    errors[-1] += sample.credit
    return np.array(
        [sum((0.9 * 0.8) ** step * error for step, error in enumerate(errors[t:])) for t in range(len(errors))]
    )


@pytest.mark.parametrize("rows", [256, 2])
def test_returns_and_whitened_advantages_are_those_of_the_definition(rows: int) -> None:
    model = tiny_model("qwen2", scale=0.1)
    learner = updater(model)
    samples = random_samples(model, ((3, 1), (5, 3), (60, 2)))
    work = learner._make_micro_batches(samples, 30, rows)
    learner._normalise([given for _, given in work])
    raw = {index: advantages(learner, sample) for index, sample in enumerate(samples)}
    tokens = np.concatenate(list(raw.values()))
    seen = []
    for batch, given in work:
        for slot, index in enumerate(batch.sample_of_slot):
            length = len(samples[index].completion_ids) if index >= 0 else 0
            assert not given["advantages"][slot, length:].any()
            if index < 0:
                continue
            seen.append(int(index))
            white = (raw[index] - tokens.mean()) / tokens.std(ddof=1)
            np.testing.assert_allclose(given["advantages"][slot, :length], white, atol=1e-4)
            own = values(learner, samples[index])
            np.testing.assert_allclose(given["old_values"][slot, :length], own, atol=1e-5)
            np.testing.assert_allclose(given["returns"][slot, :length], own + raw[index], atol=1e-5)
    assert sorted(seen) == list(range(6))


def test_the_loss_is_that_of_the_policy_and_a_weighted_one_of_the_values() -> None:
    model = tiny_model("qwen2", scale=0.1)
    learner = updater(model)
    samples = random_samples(model, ((3, 1), (5, 3)))
    assert samples[0].logprobs is not None
    samples[0] = replace(samples[0], logprobs=samples[0].logprobs - 0.3)
    samples[1] = replace(samples[1], logprobs=None)
    ((batch, given),) = learner._make_micro_batches(samples, 30, 256)
    learner._normalise([given])
    before, raw = [values(learner, one) for one in samples], [advantages(learner, one) for one in samples]
    with torch.no_grad():
        learner.head.bias.add_(0.2)
    tokens, flat = 30, np.concatenate(raw)
    policy = value = 0.0
    for index, sample in enumerate(samples):
        white = (raw[index] - flat.mean()) / flat.std(ddof=1)
        policy -= (np.exp(0.3) if index == 0 else 1.0) * white.sum() / tokens
        now, returns = values(learner, sample), before[index] + raw[index]
        clipped = before[index] + np.clip(now - before[index], -0.05, 0.05)
        value += 0.5 * np.maximum((now - returns) ** 2, (clipped - returns) ** 2).sum() / tokens
    loss = learner._loss(batch, given, len(samples), tokens)
    assert learner.loss.metrics["value_loss"] == pytest.approx([value], rel=1e-4)
    assert float(loss.detach()) == pytest.approx(policy + 0.3 * value, rel=1e-4)
    assert abs(policy) > 1e-3
    assert value > 1e-3
    assert given["old_per_token_logps"].shape == given["completion_mask"].shape


def test_the_reported_value_loss_is_the_mean_over_steps_of_the_sum_over_micro_batches() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    learners = [updater(copy.deepcopy(model), replace(OPEN, rows_per_micro_batch=rows)) for rows in (256, 2)]
    found = [learner.update(samples, 1).value_loss for learner in learners]
    tokens, total = sum(len(one.completion_ids) for one in samples), 0.0
    fresh = updater(copy.deepcopy(model))
    for sample in samples:
        total += 0.5 * float((advantages(fresh, sample) ** 2).sum()) / tokens
    assert found == pytest.approx([total, total], rel=1e-3)


def test_an_empty_turn_is_trained_on_nothing_and_counted_among_the_rows() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    empty = TrainingSample((5, 6), (), np.zeros(0, dtype=np.float32), 1.0)
    learner = updater(copy.deepcopy(model))
    metrics = learner.update([*samples, empty], 1)
    assert metrics.skipped_turns == 1
    alone = updater(copy.deepcopy(model)).update([empty], 1)
    assert (alone.loss, alone.value_loss, alone.trained_tokens) == (0.0, 0.0, 0)


def test_turns_without_reward_are_trained_too() -> None:
    model = tiny_model(scale=0.1)
    samples = [replace(one, credit=0.0) for one in random_samples(model)]
    before = weights(model)
    metrics = updater(model).update(samples, 1)
    assert (metrics.skipped_turns, metrics.value_loss is not None and metrics.value_loss > 0) == (0, True)
    assert weights(model) != before


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_advantages_are_whitened_over_the_tokens_of_all_ranks(rank: int) -> None:
    rng = np.random.default_rng(0)
    masks = [np.array([[1, 1, 0], [1, 1, 1]]), np.array([[1, 0]]), np.array([[1, 1, 1, 1]])]
    raw = [rng.normal(size=mask.shape).astype(np.float32) for mask in masks]
    parts = [[one.ravel(), mask.ravel().astype(np.float32)] for one, mask in zip(raw, masks, strict=True)]

    class Gathered(DistContext):
        def gather(self, own: Any) -> Any:
            for given, expected in zip(own, parts[self.rank], strict=True):
                np.testing.assert_array_equal(given, expected)
            return parts

    model = tiny_model()
    learner = PPOLearner(model, "A", OPEN, 10, LONGEST, 1.0, Gathered(rank, 3), critic=CRITIC)
    inputs = [
        {"advantages": torch.from_numpy(row[None]), "completion_mask": torch.from_numpy(mask[None]).float(),
         "old_values": torch.zeros(1)}
        for row, mask in zip(raw[rank], masks[rank], strict=True)
    ]  # fmt: skip
    learner._normalise(inputs)
    tokens = np.concatenate([one[mask == 1] for one, mask in zip(raw, masks, strict=True)])
    expected = np.where(masks[rank] == 1, (raw[rank] - tokens.mean()) / tokens.std(ddof=1), 0)
    np.testing.assert_allclose(np.concatenate([given["advantages"] for given in inputs]), expected, atol=1e-5)
    assert all(given["advantages"].dtype == torch.float32 for given in inputs)


def test_the_head_has_its_own_rate_and_no_decay() -> None:
    learner = updater(tiny_model(), UpdateSettings(learning_rate=1e-3, weight_decay=0.5, warmup_steps=0))
    (group,) = [
        group for group in learner.optimizer.param_groups if any(one is learner.head.bias for one in group["params"])
    ]
    assert (group["rate"], group["weight_decay"], len(group["params"])) == (CRITIC.learning_rate, 0.0, 2)
    assert (learner.head.weight.shape, learner.head.bias.shape) == ((tiny_model().config.hidden_size,), ())
    learner.update(random_samples(learner.model), 1)
    assert group["lr"] == CRITIC.learning_rate
    assert not ValueHead(3)(torch.ones(2, 3)).any()
    assert ValueHead(3).width == 3


def test_hidden_states_are_kept_within_one_prediction_only() -> None:
    model = tiny_model(scale=0.1)
    learner = updater(model)
    samples = random_samples(model, ((3, 2),))
    (batch,) = micro_batches(samples, 2)
    first, second = learner._predict(batch), learner._predict(batch)
    torch.testing.assert_close(first, second)
    model(torch.tensor([[5, 6]]))
    assert len(learner._hidden) == 1


def test_advantages_of_single_tokens_and_of_few() -> None:
    assert whitened([[3.0, 9.0]], [[1, 0]]).tolist() == [[0.0, 0.0]]
    np.testing.assert_allclose(whitened([[1.0, 3.0]], [[1, 1]]), [[-(0.5**0.5), 0.5**0.5]])
    found = generalised_advantages([[2.0, 7.0]], [[0.5, 3.0]], [[1, 0]], 0.9, 0.8)
    np.testing.assert_allclose(found, [[1.5, 0.0]])


def test_half_the_squared_error_per_token_with_the_clip_on_both_sides() -> None:
    old, returns = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[3.0, -3.0, 0.0]])
    values_now = torch.tensor([[2.0, 0.0, 5.0]])
    loss = clipped_value_loss(values_now, old, returns, torch.tensor([[1.0, 1.0, 0.0]]), 0.25, 4)
    assert float(loss) == pytest.approx(0.5 * ((3 - 1.25) ** 2 + (0.75 + 3) ** 2) / 4)
