"""Random turns of tiny models, and updates that learn from them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from shortages import Shortage
from tiny_models import VOCABULARY
from update_gradients import gradients_of

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import completion_logprobs, micro_batches
from ilr_bench.learner.samples import TrainingSample

LONGEST = 10


def updater(model: Any, settings: UpdateSettings | None = None, temperature: float = 1.0) -> GRPOLearner:
    return GRPOLearner(model, "A", settings or UpdateSettings(), 10, LONGEST, temperature)


def random_samples(
    model: Any, groups: tuple[tuple[int, int], ...] = ((3, 4), (60, 4), (1, 2)), seed: int = 0
) -> list[TrainingSample]:
    """Random turns, (prompt length, turns) per group, with the model's own log-probabilities."""
    rng = np.random.default_rng(seed)
    made = []
    for prompt_length, count in groups:
        prompt = tuple(int(token) for token in rng.integers(4, len(VOCABULARY), size=prompt_length))
        for _ in range(count):
            length = int(rng.integers(1, LONGEST + 1))
            completion = tuple(int(token) for token in rng.integers(4, len(VOCABULARY), size=length))
            sample = TrainingSample(prompt, completion, np.zeros(length, dtype=np.float32), float(rng.normal()))
            made.append(replace(sample, logprobs=logprobs(model, sample)))
    return made


def logprobs(model: Any, sample: TrainingSample) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return completion_logprobs(model, micro_batches([sample], 1)[0], 1.0)[0].numpy()


def gradients(
    model: Any, settings: UpdateSettings, samples: list[TrainingSample], memory: Shortage | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Gradients of one pass, before the optimizer clips them and steps; `memory` runs out within the pass."""
    found = gradients_of(updater(copy.deepcopy(model), settings), samples, memory)
    return {name: gradient.numpy() for name, gradient in found.items()}


def weights(model: Any) -> bytes:
    return b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())


def equal(one: dict[str, np.ndarray[Any, Any]], other: dict[str, np.ndarray[Any, Any]]) -> None:
    assert max(float(np.abs(gradient).max()) for gradient in one.values()) > 1e-4
    for name, gradient in one.items():
        assert gradient == pytest.approx(other[name], abs=1e-6), name
