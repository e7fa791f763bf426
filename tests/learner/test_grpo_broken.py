"""Updates whose numbers break: the error carries the turns that broke them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from update_turns import random_samples, updater, weights

from ilr_bench.core.config import UpdateSettings
from ilr_bench.storage.recovery import BrokenBatchError


def test_a_broken_loss_travels_with_the_turns_of_its_micro_batch() -> None:
    model = tiny_model(scale=0.1)
    samples = [
        replace(sample, question=f"q{index}", stage="fusion") for index, sample in enumerate(random_samples(model))
    ]
    samples[5] = replace(samples[5], credit=float("inf"))
    with pytest.raises(BrokenBatchError) as raised:
        updater(model, UpdateSettings(rows_per_micro_batch=2)).update(samples, 7)
    assert raised.value.name == "step-00000007-A.json"
    batch = raised.value.batch
    assert (batch["agent"], batch["step"]) == ("A", 7)
    assert 1 <= len(batch["turns"]) <= 2
    (bad,) = [turn for turn in batch["turns"] if turn["question"] == "q5"]
    assert bad == {
        "question": "q5",
        "stage": "fusion",
        "advantage": "inf",
        "prompt_ids": list(samples[5].prompt_ids),
        "completion_ids": list(samples[5].completion_ids),
        "logprobs": [float(value) for value in samples[5].logprobs if samples[5].logprobs is not None],
    }


def test_a_gradient_that_breaks_travels_with_all_turns_and_log_probabilities_with_those_they_belong_to() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    prepared = updater(model)
    prepared.accelerator.clip_grad_norm_ = lambda *_: torch.tensor(float("nan"))
    before = weights(model)
    with pytest.raises(BrokenBatchError, match="agent A, step 2: the gradient is nan") as raised:
        prepared.update(samples, 2)
    assert len(raised.value.batch["turns"]) == len(samples)
    assert weights(model) == before
    broken = np.full(len(samples[3].completion_ids), np.nan, dtype=np.float32)
    with pytest.raises(BrokenBatchError, match="log-probabilities are not finite") as raised:
        updater(model).update([*samples[:3], replace(samples[3], logprobs=broken), *samples[4:]], 2)
    (turn,) = raised.value.batch["turns"]
    assert turn["logprobs"] == ["nan"] * len(broken)
