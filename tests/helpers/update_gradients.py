"""The gradients of one update, as they are before the optimizer clips them and steps."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from shortages import Shortage
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.models.lora import attach_lora


def to_train(model: Any, settings: UpdateSettings) -> Any:
    """A copy of the model, with an adapter where the settings ask for one."""
    copied = copy.deepcopy(model)
    return attach_lora(copied, settings, ["A"])[0] if settings.adapter == "lora" else copied


def gradients_of(
    learner: GRPOLearner, samples: list[TrainingSample], memory: Shortage | None = None
) -> dict[str, Tensor]:
    """By weight, those that are trained; `memory` runs out within the pass."""
    found: dict[str, Tensor] = {}

    def keep(given: Any, step: int) -> float:
        with _disable_current_modes():
            trained = [(name, weight) for name, weight in learner.model.named_parameters() if weight.requires_grad]
            found.update({name: weight.grad.clone() for name, weight in trained})
        return 0.0

    learner._optimizer_step = keep  # type: ignore[method-assign]
    with memory or nullcontext():
        learner.update(samples, 1)
    return found


def assert_same(found: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Gradients that are there, and equal."""
    assert max(float(gradient.abs().max()) for gradient in found.values()) > 1e-4
    for name, gradient in found.items():
        assert torch.allclose(gradient, plain[name], atol=tolerance), name
