"""Every way of training, on SmolLM2: a few updates make the praised answers likelier and the blamed ones less so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import MissingInputError
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import completion_logprobs, micro_batches
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.models.loading import LoadedModel, load_model, load_with_adapters

ANSWERS = (("7 + 5 =", " 12\n", " 15\n"), ("9 - 4 =", " 5\n", " 13\n"))
STEPS = 3
RATES = {"full": 1e-5, "lora": 2e-4}


def loaded(adapter: str, settings: UpdateSettings) -> LoadedModel:
    """SmolLM2, or a skipped test where its package is not installed."""
    try:
        return load_model("smollm2") if adapter == "full" else load_with_adapters(["smollm2"], ["smollm2"], settings)[0]
    except MissingInputError as error:
        pytest.skip(str(error))


def logprobs(model: Any, sample: TrainingSample) -> torch.Tensor:
    with torch.no_grad():
        return completion_logprobs(model, micro_batches([sample], 1)[0], 1.0)[0, : len(sample.completion_ids)]


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_smollm2_learns_a_fixed_batch(adapter: Any, precision: Any, checkpointing: bool) -> None:
    settings = UpdateSettings(
        adapter=adapter,
        precision=precision,
        gradient_checkpointing=checkpointing,
        learning_rate=RATES[adapter],
        warmup_steps=0,
    )
    one = loaded(adapter, settings)
    samples = []
    for prompt, *answers in ANSWERS:
        for answer, advantage in zip(answers, (1.0, -1.0), strict=True):
            ids = (tuple(one.tokenizer(text).input_ids) for text in (prompt, answer))
            sample = TrainingSample(*ids, None, advantage)  # type: ignore[misc]
            samples.append(
                TrainingSample(sample.prompt_ids, sample.completion_ids, logprobs(one.model, sample).numpy(), advantage)
            )
    learner = GRPOLearner(one.model, "smollm2", settings, STEPS, 8, 1.0)
    margins = [float(sum(sample.credit * logprobs(one.model, sample).sum() for sample in samples))]
    for step in range(1, STEPS + 1):
        metrics = learner.update(samples, step)
        assert metrics.gradient_norm > 0
        margins.append(float(sum(sample.credit * logprobs(one.model, sample).sum() for sample in samples)))
    assert margins == sorted(margins)
    assert margins[-1] > margins[0] + 0.5
