"""Updates whose numbers break: the error carries the turns that broke them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from update_turns import turns, updater, weights

from ilr_bench.core.config import UpdateSettings
from ilr_bench.storage.recovery import BrokenBatchError


def test_a_broken_loss_travels_with_the_turns_of_its_micro_batch() -> None:
    model = tiny_model(scale=0.1)
    taught = [replace(turn, question=f"q{place}", stage="fusion") for place, turn in enumerate(turns(model))]
    taught[5] = replace(taught[5], advantage=float("inf"))
    with pytest.raises(BrokenBatchError) as raised:
        updater(model, UpdateSettings(rows_per_micro_batch=2)).update(taught, 7)
    assert raised.value.name == "step-00000007-A.json"
    batch = raised.value.batch
    assert (batch["agent"], batch["step"]) == ("A", 7)
    assert 1 <= len(batch["turns"]) <= 2
    (bad,) = [turn for turn in batch["turns"] if turn["question"] == "q5"]
    assert bad == {
        "question": "q5",
        "stage": "fusion",
        "advantage": "inf",
        "prompt_ids": list(taught[5].prompt_ids),
        "completion_ids": list(taught[5].completion_ids),
        "logprobs": [float(value) for value in taught[5].logprobs if taught[5].logprobs is not None],
    }


def test_a_gradient_that_breaks_travels_with_all_turns_and_log_probabilities_with_those_they_belong_to() -> None:
    model = tiny_model(scale=0.1)
    taught = turns(model)
    prepared = updater(model)
    prepared.accelerator.clip_grad_norm_ = lambda *_: torch.tensor(float("nan"))
    before = weights(model)
    with pytest.raises(BrokenBatchError, match="agent A, step 2: the gradient is nan") as raised:
        prepared.update(taught, 2)
    assert len(raised.value.batch["turns"]) == len(taught)
    assert weights(model) == before
    broken = np.full(len(taught[3].completion_ids), np.nan, dtype=np.float32)
    with pytest.raises(BrokenBatchError, match="log-probabilities are not finite") as raised:
        updater(model).update([*taught[:3], replace(taught[3], logprobs=broken), *taught[4:]], 2)
    (turn,) = raised.value.batch["turns"]
    assert turn["logprobs"] == ["nan"] * len(broken)
