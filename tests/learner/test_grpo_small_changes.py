"""What the update starts from: the sampler's log-probabilities, a reference where it is needed, and no empty slots."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from update_turns import random_samples, updater

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import _split_with_inputs
from ilr_bench.learner.logprobs import micro_batches


def test_the_ratio_is_taken_against_the_log_probabilities_of_the_sampler() -> None:
    model = tiny_model("qwen2", scale=0.1)
    own = random_samples(model, seed=1)
    sampled = [replace(one, logprobs=one.logprobs - 0.3) for one in own]
    settings = UpdateSettings(epsilon=0.9, epsilon_high=0.9)
    tokens = sum(len(one.completion_ids) for one in own)
    on_policy = -sum(one.credit * len(one.completion_ids) for one in own) / tokens
    for samples, ratio in ((own, 1.0), (sampled, math.exp(0.3))):
        metrics = updater(copy.deepcopy(model), settings).update(samples, 1)
        assert metrics.loss == pytest.approx(ratio * on_policy, rel=1e-3)


@pytest.mark.parametrize(
    ("beta", "adapter", "copied"), [(0.0, "full", False), (0.1, "full", True), (0.1, "lora", False)]
)
def test_a_copy_of_the_model_is_kept_only_where_the_reference_cannot_be_had_without(
    beta: float, adapter: str, copied: bool
) -> None:
    learner = updater(tiny_model("llama"), UpdateSettings(beta=beta, adapter=adapter))  # type: ignore[arg-type]
    assert (learner.reference is not None) is copied


def test_empty_slots_of_a_divided_batch_hold_nothing() -> None:
    """Prompts with unequal numbers of answers leave slots empty, in the batch and in its parts."""
    model = tiny_model("llama")
    samples = random_samples(model, groups=((3, 1), (3, 3), (3, 2)))
    (batch,) = micro_batches(samples, len(samples))
    given = updater(model)._inputs(batch, samples, 10)
    empty = batch.sample_of_slot < 0
    assert empty.any()
    assert not given["completion_mask"][torch.from_numpy(empty)].any()
    seen = 0
    for part, taken in _split_with_inputs(batch, given, samples, 4):
        hollow = torch.from_numpy(part.sample_of_slot < 0)
        seen += int(hollow.sum())
        assert not taken["completion_mask"][hollow].any()
        lengths = [len(samples[index].completion_ids) for index in part.sample_of_slot if index >= 0]
        np.testing.assert_array_equal(taken["completion_mask"][~hollow].sum(dim=1), lengths)
    assert seen
