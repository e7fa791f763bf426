"""Two whole updates, with every setting that is a number, beside the same in plain torch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from update_turns import random_samples, updater

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.samples import TrainingSample

SETTINGS = UpdateSettings(
    learning_rate=0.01,
    warmup_steps=3,
    weight_decay=0.1,
    max_grad_norm=0.05,
    epsilon=0.01,
    epsilon_high=0.02,
    iterations=2,
    rows_per_micro_batch=3,
)


def plain_logprobs(model: Any, sample: TrainingSample, temperature: float) -> torch.Tensor:
    ids = torch.tensor([sample.prompt_ids + sample.completion_ids])
    logits = model(ids).logits[0, len(sample.prompt_ids) - 1 : -1] / temperature
    return logits.log_softmax(-1)[range(len(sample.completion_ids)), list(sample.completion_ids)]


class PlainUpdate:
    """GRPO with the clipped ratio summed over all tokens, and AdamW, which spares biases and norms its decay."""

    def __init__(self, model: Any, settings: UpdateSettings, temperature: float) -> None:
        self.model, self.settings, self.temperature = model, settings, temperature
        matrices = [weight for weight in model.parameters() if weight.ndim > 1]
        others = [weight for weight in model.parameters() if weight.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        )
        self.steps = 0

    def update(self, samples: list[TrainingSample]) -> tuple[float, float]:
        """Mean loss and gradient norm of the iterations."""
        tokens = sum(len(sample.completion_ids) for sample in samples)
        with torch.no_grad():
            old = [plain_logprobs(self.model, sample, self.temperature) for sample in samples]
        losses, norms = [], []
        for _ in range(self.settings.iterations):
            loss = torch.tensor(0.0)
            for sample, before in zip(samples, old, strict=True):
                ratio = (plain_logprobs(self.model, sample, self.temperature) - before).exp()
                assert self.settings.epsilon_high is not None
                held = ratio.clamp(1 - self.settings.epsilon, 1 + self.settings.epsilon_high)
                loss = loss - torch.minimum(ratio * sample.credit, held * sample.credit).sum() / tokens
            self.optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
            self.steps += 1
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * min(1.0, self.steps / self.settings.warmup_steps)
            self.optimizer.step()
            losses.append(float(loss.detach()))
            norms.append(float(norm))
        return float(np.mean(losses)), float(np.mean(norms))


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_two_updates_end_where_the_loss_written_out_and_plain_adamw_end(temperature: float) -> None:
    model = tiny_model("qwen2", scale=0.1)
    ours, plain = copy.deepcopy(model), copy.deepcopy(model)
    prepared, written_out = updater(ours, SETTINGS, temperature), PlainUpdate(plain, SETTINGS, temperature)
    for step in (1, 2):
        samples = random_samples(ours, seed=step)
        samples = [replace(sample, credit=0.0) if index % 5 == 0 else sample for index, sample in enumerate(samples)]
        metrics = prepared.update(samples, step)
        loss, norm = written_out.update(samples)
        assert metrics.loss == pytest.approx(loss, rel=1e-2, abs=1e-5)
        assert metrics.gradient_norm == pytest.approx(norm, rel=1e-2)
        assert norm > SETTINGS.max_grad_norm
        assert metrics.learning_rate == pytest.approx([0.01 * 2 / 3, 0.01][step - 1])
        assert metrics.skipped_turns == 2
        assert metrics.trained_tokens == sum(len(sample.completion_ids) for sample in samples if sample.credit)
        assert metrics.kl is metrics.value_loss is None
    moved = 0.0
    for (name, weight), other, start in zip(
        ours.named_parameters(), plain.parameters(), model.parameters(), strict=True
    ):
        torch.testing.assert_close(weight, other, atol=2e-3, rtol=1e-2, msg=name)
        moved = max(moved, float((weight - start).abs().max().detach()))
    assert moved > 0.02


def test_a_warm_up_is_no_longer_than_the_run() -> None:
    prepared = updater(tiny_model(scale=0.1), UpdateSettings(warmup_steps=100, iterations=2))
    assert prepared.warmup == 10 * 2
    assert updater(tiny_model(scale=0.1), UpdateSettings(warmup_steps=3)).warmup == 3
