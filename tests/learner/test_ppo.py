"""PPO: advantages token by token, the clipped value loss, and a value head that learns and is saved."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_models import VOCABULARY, tiny_model
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

import ablations
from ilr_bench.core.config import CriticSettings, UpdateSettings, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.core.validation import validate
from ilr_bench.learner.logprobs import completion_logprobs, micro_batches
from ilr_bench.learner.ppo import PPOLearner, clipped_value_loss, generalised_advantages, whitened
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.storage.records import StepRecord, read

LONGEST = 8


def updater(model: Any, settings: UpdateSettings | None = None, **critic: Any) -> PPOLearner:
    return PPOLearner(
        model, "A", settings or UpdateSettings(), 10, LONGEST, 1.0, critic=CriticSettings("value_head", **critic)
    )


def turns(model: Any, count: int = 6) -> list[TrainingSample]:
    """Turns on two prompts; every other one earned a reward."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        prompt = tuple(int(token) for token in np.random.default_rng(index % 2).integers(4, len(VOCABULARY), size=5))
        length = int(rng.integers(1, LONGEST + 1))
        completion = tuple(int(token) for token in rng.integers(4, len(VOCABULARY), size=length))
        sample = TrainingSample(prompt, completion, None, float(index % 2))
        with torch.no_grad():
            logprobs = completion_logprobs(model, micro_batches([sample], 1)[0], 1.0)[0].numpy()
        made.append(replace(sample, logprobs=logprobs))
    return made


# The definition, summed term by term ------------------------------------------


def by_definition(rewards: Any, values: Any, mask: Any, discount: float, trace: float) -> np.ndarray[Any, Any]:
    found = np.zeros(values.shape)
    for row in range(len(values)):
        length = int(mask[row].sum())
        after = [*values[row, :length], 0.0]
        errors = [rewards[row, t] + discount * after[t + 1] - after[t] for t in range(length)]
        for t in range(length):
            found[row, t] = sum((discount * trace) ** step * error for step, error in enumerate(errors[t:]))
    return found


numbers = st.floats(-3, 3, width=32)


@given(arrays(float, (3, 5), elements=numbers), arrays(float, (3, 5), elements=numbers), st.data())
def test_advantages_are_the_discounted_sum_of_errors(rewards: Any, values: Any, data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3))
    mask = np.arange(5)[None, :] < np.array(lengths)[:, None]
    discount, trace = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    found = generalised_advantages(rewards, values, mask, discount, trace)
    np.testing.assert_allclose(found, by_definition(rewards, values, mask, discount, trace), atol=1e-9)


@given(arrays(float, (2, 4), elements=numbers), st.floats(-1, 1))
def test_with_whole_traces_an_advantage_is_the_return_less_the_value(values: Any, reward: float) -> None:
    rewards = np.zeros((2, 4))
    rewards[:, -1] = reward
    found = generalised_advantages(rewards, values, np.ones((2, 4)), 1.0, 1.0)
    np.testing.assert_allclose(found, reward - values, atol=1e-9)


def test_without_traces_an_advantage_is_one_steps_error() -> None:
    found = generalised_advantages([[0, 0, 1.0]], [[0.2, 0.5, 0.4]], [[1, 1, 1]], 0.9, 0.0)
    np.testing.assert_allclose(found, [[0.9 * 0.5 - 0.2, 0.9 * 0.4 - 0.5, 1 - 0.4]])


def test_whitened_advantages_have_no_mean_and_one_deviation_over_tokens() -> None:
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    white = whitened([[1.0, 2.0, 99.0], [3.0, 4.0, 5.0]], mask)
    assert white[mask == 1].mean() == pytest.approx(0)
    assert white[mask == 1].std(ddof=1) == pytest.approx(1)
    assert white[0, 2] == 0
    assert not whitened([[2.0, 2.0]], [[1, 1]]).any()


def test_a_value_that_moved_too_far_is_charged_the_larger_error() -> None:
    old, returns, mask = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 9.0]]), torch.tensor([[1.0, 1, 0]])
    values = torch.tensor([[0.1, 0.9, 5.0]], requires_grad=True)
    loss = clipped_value_loss(values, old, returns, mask, 0.2, tokens=2)
    assert float(loss.detach()) == pytest.approx(0.5 * (0.9**2 + 0.8**2) / 2)
    loss.backward()
    assert values.grad is not None
    assert values.grad[0, 0] == pytest.approx(0.5 * -2 * 0.9 / 2)
    assert values.grad[0, 1] == 0  # it has gone far enough


# The update -------------------------------------------------------------------


def test_values_are_read_from_the_state_before_each_token() -> None:
    model = tiny_model(scale=0.1)
    prepared = updater(model)
    with torch.no_grad():
        prepared.head.weight.copy_(torch.linspace(-1, 1, model.config.hidden_size))
        prepared.head.bias.fill_(0.3)
    for sample in turns(model):
        (batch,) = micro_batches([sample], 1)
        _, values = prepared._predict(batch)
        ids = torch.tensor([sample.prompt_ids + sample.completion_ids])
        hidden = model(ids, output_hidden_states=True).hidden_states[-1][0, len(sample.prompt_ids) - 1 : -1]
        torch.testing.assert_close(values[0], prepared.head(hidden), atol=1e-5, rtol=1e-4)


def test_the_first_gradient_is_that_of_the_policy_loss_written_out() -> None:
    """A new value head says 0 everywhere, so that advantages are the whitened discounted rewards."""
    model = tiny_model(scale=0.1)
    trained = turns(model)
    copied = copy.deepcopy(model)
    prepared = updater(copied, trace=0.9)
    found: dict[str, Any] = {}
    prepared._optimizer_step = lambda samples, step: (  # type: ignore[method-assign]
        found.update({name: weight.grad.clone() for name, weight in copied.named_parameters()}) or 0.0
    )
    prepared.update(trained, 1)

    raw = [0.9 ** np.arange(len(sample.completion_ids))[::-1] * sample.credit for sample in trained]
    tokens = np.concatenate(raw)
    loss = torch.tensor(0.0)
    for sample, advantages in zip(trained, raw, strict=True):
        logprobs = completion_logprobs(model, micro_batches([sample], 1)[0], 1.0)[0]
        white = torch.from_numpy((advantages - tokens.mean()) / tokens.std(ddof=1))
        loss = loss - (logprobs * white).sum() / len(tokens)
    loss.backward()
    assert max(float(gradient.abs().max()) for gradient in found.values()) > 1e-3
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("rows", [1, 2])
def test_micro_batches_do_not_change_the_update(rows: int) -> None:
    states = []
    for size in (256, rows):
        model = tiny_model(scale=0.1)
        prepared = updater(model, UpdateSettings(rows_per_micro_batch=size, iterations=2, warmup_steps=0))
        prepared.update(turns(model), 1)
        states.append([prepared.head.bias, prepared.head.weight, *model.parameters()])
    for whole, split in zip(*states, strict=True):
        torch.testing.assert_close(whole, split, atol=1e-5, rtol=1e-3)


def test_the_value_head_learns_what_turns_earn_on_average() -> None:
    model = tiny_model(scale=0.1)
    prepared = updater(model, UpdateSettings(learning_rate=1e-9, warmup_steps=0))
    trained = turns(model)
    losses = [prepared.update(trained, step).value_loss for step in range(1, 60)]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < 0.7 * losses[0]
    assert 0.2 < float(prepared.head.bias.detach()) < 0.8


def test_the_value_head_is_part_of_the_saved_state() -> None:
    model = tiny_model(scale=0.1)
    prepared = updater(model)
    prepared.update(turns(model), 1)
    file = io.BytesIO()
    torch.save(prepared.state_dict(), file)
    resumed = updater(copy.deepcopy(model))
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    trained = turns(model)
    straight, again = prepared.update(trained, 2), resumed.update(trained, 2)
    assert straight == again
    assert torch.equal(prepared.head.weight, resumed.head.weight)


def test_a_critic_without_room_for_its_baseline_is_refused() -> None:
    config = change(ablations.get("ppo")(profile("micro")), {"advantages.baseline": "group"})
    with pytest.raises(ConfigurationError, match=r"critic\.kind"):
        validate(config)


def test_a_trial_trains_saves_and_records_the_critic(tmp_path: Any) -> None:
    plan = tiny_plan(tiny_checkpoints(tmp_path), "ppo")
    for out in ("one", "two"):
        run_plan(plan, tmp_path / out)
    folder = tmp_path / "one" / plan.trials[0].folder
    assert contents(folder) == contents(tmp_path / "two" / plan.trials[0].folder)
    for record in read(folder / "train.jsonl", StepRecord):
        assert record.value_loss is not None
        # The head starts at zero, so the first step's loss is the rewards'; tiny random models may earn none.
        assert record.value_loss >= 0
        assert record.value_loss > 0 or record.mean_reward == 0
    for path in folder.glob("checkpoints/*/*/optimizer.pt"):
        assert set(torch.load(path, weights_only=True)["value_head"]) == {"weight", "bias"}
