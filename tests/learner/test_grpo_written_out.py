"""Two whole updates, with every setting that is a number, beside the same in plain torch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from update_turns import turns, updater

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import TrainedTurn

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


def plain_logprobs(model: Any, turn: TrainedTurn, temperature: float) -> torch.Tensor:
    ids = torch.tensor([turn.prompt_ids + turn.completion_ids])
    logits = model(ids).logits[0, len(turn.prompt_ids) - 1 : -1] / temperature
    return logits.log_softmax(-1)[range(len(turn.completion_ids)), list(turn.completion_ids)]


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

    def update(self, taught: list[TrainedTurn]) -> tuple[float, float]:
        """Mean loss and gradient norm of the iterations."""
        tokens = sum(len(turn.completion_ids) for turn in taught)
        with torch.no_grad():
            old = [plain_logprobs(self.model, turn, self.temperature) for turn in taught]
        losses, norms = [], []
        for _ in range(self.settings.iterations):
            loss = torch.tensor(0.0)
            for turn, before in zip(taught, old, strict=True):
                ratio = (plain_logprobs(self.model, turn, self.temperature) - before).exp()
                assert self.settings.epsilon_high is not None
                held = ratio.clamp(1 - self.settings.epsilon, 1 + self.settings.epsilon_high)
                loss = loss - torch.minimum(ratio * turn.advantage, held * turn.advantage).sum() / tokens
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
        taught = turns(ours, seed=step)
        taught = [replace(turn, advantage=0.0) if place % 5 == 0 else turn for place, turn in enumerate(taught)]
        report = prepared.update(taught, step)
        loss, norm = written_out.update(taught)
        assert report.loss == pytest.approx(loss, rel=1e-2, abs=1e-5)
        assert report.gradient_norm == pytest.approx(norm, rel=1e-2)
        assert norm > SETTINGS.max_grad_norm
        assert report.learning_rate == pytest.approx([0.01 * 2 / 3, 0.01][step - 1])
        assert report.skipped_turns == 2
        assert report.trained_tokens == sum(len(turn.completion_ids) for turn in taught if turn.advantage)
        assert report.kl is report.value_loss is None
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
