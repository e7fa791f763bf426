"""Log-probabilities from logits in pieces: the numbers and gradients of all logits at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import VOCABULARY, tiny_model
from torch import nn
from update_gradients import assert_same, gradients_of, to_train

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner import logprobs
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import hidden_states_as_logits
from ilr_bench.learner.samples import TrainingSample


def turns() -> list[TrainingSample]:
    rng = np.random.default_rng(3)
    made = []
    for index in range(9):
        prompt = tuple(rng.integers(4, len(VOCABULARY), size=5 + index // 3).tolist())
        output = tuple(rng.integers(4, len(VOCABULARY), size=int(rng.integers(1, 9))).tolist())
        made.append(TrainingSample(prompt, output, np.full(len(output), -3, np.float32), float(rng.normal()), "q"))
    return made


def largest_output(head: nn.Module) -> list[int]:
    """Notes the most logits that `head` computed at once."""
    most = [0]
    multiply = nn.functional.linear

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        output = multiply(hidden, head.weight)
        most[0] = max(most[0], output.numel())
        return output

    head.forward = forward  # type: ignore[method-assign]
    return most


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize(("checkpointing", "precision"), [(False, "fp32"), (True, "fp32"), (False, "bf16")])
def test_an_update_in_pieces_has_the_same_gradients(
    temperature: float, adapter: Any, checkpointing: bool, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = UpdateSettings(
        adapter=adapter, lora_rank=4, gradient_checkpointing=checkpointing, precision=precision, beta=0.1
    )
    base, samples = tiny_model("qwen2", scale=0.1), turns()
    found, sizes = [], []
    for large in (1, 2**40):
        monkeypatch.setattr(logprobs, "LARGEST_LOGITS", large)
        monkeypatch.setattr(logprobs, "LOGITS_CHUNK", 3 * len(VOCABULARY) + 1)
        model = to_train(base, settings)
        learner = GRPOLearner(model, "A", settings, 10, 8, temperature)
        sizes.append(largest_output(model.get_output_embeddings()))
        found.append(gradients_of(learner, samples))
    assert sizes[0][0] == 3 * len(VOCABULARY) < sizes[1][0]
    assert_same(*found, tolerance=1e-5 if precision == "fp32" else 1e-3)


def test_few_logits_and_heads_that_scale_or_cap_them_are_computed_whole() -> None:
    model = tiny_model()
    enough = -(-logprobs.LARGEST_LOGITS // model.config.vocab_size)
    assert logprobs.needs_chunked_logits(model, enough)
    assert not logprobs.needs_chunked_logits(model, enough - 1)
    model.config.model_type = "gemma2"
    assert not logprobs.needs_chunked_logits(model, enough)


def test_the_head_apart_computes_the_logits_and_is_put_back() -> None:
    model = tiny_model()
    ids = torch.tensor([[4, 5]])
    with torch.no_grad():
        with hidden_states_as_logits(model) as head:
            hidden = model(ids).logits
            found = head(hidden)
        assert hidden.shape[-1] == model.config.hidden_size
        assert torch.equal(found, model(ids).logits)
    assert "forward" not in model.lm_head.__dict__
