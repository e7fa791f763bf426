"""Updates whose memory runs out: the same gradient from smaller batches, or an error that names the setting."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from shortages import MESSAGES, Shortage
from tiny_models import tiny_model
from torch.utils._python_dispatch import _disable_current_modes
from update_turns import LONGEST, equal, gradients, random_samples, updater, weights

from ilr_bench.core.config import CriticSettings, UpdateSettings
from ilr_bench.core.errors import MemoryShortageError
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.ppo import PPOLearner

SHORT = {
    "plain": UpdateSettings(rows_per_micro_batch=6),
    "reference": UpdateSettings(loss_type="grpo", beta=0.2),
    "checkpointing": UpdateSettings(gradient_checkpointing=True),
}


def check_at(indices: list[int], settings: UpdateSettings, error: Exception = MESSAGES[0]) -> None:
    """The gradient of an update that runs out of memory at each of some places is the undisturbed one's to 1e-5."""
    model = tiny_model(scale=0.1)
    samples = random_samples(model, ((3, 4), (60, 3), (1, 2)))
    plain = gradients(model, settings, samples)
    for index in indices:
        halved = gradients(model, settings, samples, Shortage(index, error=error))
        for name, gradient in plain.items():
            assert np.abs(halved[name] - gradient).max() <= 1e-5 * np.abs(gradient).max(), (index, name)


def operations(settings: UpdateSettings) -> int:
    model = tiny_model(scale=0.1)
    gradients(model, settings, random_samples(model, ((3, 4), (60, 3), (1, 2))), memory := Shortage())
    assert memory.seen > 300
    return memory.seen


@pytest.mark.parametrize(("name", "error"), list(zip(SHORT, MESSAGES, strict=True)))
def test_an_update_short_of_memory_ends_with_the_same_gradient(name: str, error: Exception) -> None:
    whole = operations(SHORT[name])
    check_at([1, *range(2, whole, whole // 8), whole], SHORT[name], error)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_so_it_does_at_every_eleventh_operation(name: str) -> None:
    check_at(list(range(1, operations(SHORT[name]) + 1, 11)), SHORT[name])


def test_memory_that_runs_out_several_times_halves_the_rows_each_time(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    plain = gradients(model, UpdateSettings(), samples)
    # The second attempt fails at its first operation.
    equal(plain, gradients(model, UpdateSettings(), samples, Shortage(250, 251)))
    assert "rows: 6, then: 3" in caplog.text
    assert "rows: 3, then: 1" in caplog.text


def test_an_update_whose_single_row_does_not_fit_says_so_and_leaves_the_weights() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    before = weights(model)
    with Shortage(200, 10**9), pytest.raises(MemoryShortageError, match="agent A, step 4: update: out of memory"):
        updater(model).update(samples, 4)
    assert weights(model) == before


@pytest.mark.parametrize("critic", [False, True])
def test_what_was_known_before_the_first_step_survives_a_shortage_in_the_second(critic: bool) -> None:
    """Old log-probabilities, values and advantages belong to turns, wherever their micro-batch goes."""
    settings = UpdateSettings(iterations=2, learning_rate=0.003, warmup_steps=0, epsilon=0.02)
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    states, metrics = [], []
    for short in (False, True):
        copied = copy.deepcopy(model)
        if critic:
            prepared: GRPOLearner = PPOLearner(copied, "A", settings, 10, LONGEST, 0.7, critic=CriticSettings())
        else:
            prepared = updater(copied, settings, temperature=0.7)
        take, memory = prepared._optimizer_step, Shortage()

        def step(given: Any, number: int, take: Any = take, memory: Any = memory, short: bool = short) -> float:
            memory.first = memory.last = memory.seen + 150 if short and not memory.first else 0
            with _disable_current_modes():
                return float(take(given, number))

        prepared._optimizer_step = step  # type: ignore[method-assign]
        with memory:
            metrics.append(prepared.update(samples, 1))
        states.append(dict(copied.named_parameters()))
    assert metrics[0].loss == pytest.approx(metrics[1].loss, abs=1e-5)
    assert metrics[0].value_loss == pytest.approx(metrics[1].value_loss, abs=1e-5)
    for name, weight in states[0].items():
        torch.testing.assert_close(weight, states[1][name], atol=1e-5, rtol=1e-4)
