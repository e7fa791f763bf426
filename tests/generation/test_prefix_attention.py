"""Prompts with a common beginning: laid once, computed once, with the results of prompts computed apart."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import PAD, VOCABULARY, tiny_model
from update_gradients import assert_same, gradients_of, to_train

from ilr_bench.core.config import UpdateSettings
from ilr_bench.generation import prefix_attention
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.prefix_attention import LEAST_SAVED, pack_prompts
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import completion_logprobs, micro_batches
from ilr_bench.learner.samples import TrainingSample


def opened(count: int, common: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Prompts that open with the same `common` tokens and go on with one to twelve of their own."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(4, len(VOCABULARY), size=common).tolist()
    return [(*numbers, *rng.integers(4, len(VOCABULARY), size=int(rng.integers(1, 13))).tolist()) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=8), st.booleans())
def test_every_prompt_can_be_read_back(prompts: list[list[int]], share: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_attention, "LEAST_SAVED", 1 if share else 10**6)
        laid = pack_prompts(prompts)
    for prompt, row in zip(prompts, laid.places, strict=True):
        path = row[: len(prompt)]
        assert [laid.ids[index] for index in path] == prompt
        assert laid.positions[path].tolist() == list(range(len(prompt)))
    beginnings = {tuple(prompt[:end]) for prompt in prompts for end in range(1, len(prompt) + 1)}
    assert len(laid.ids) == (len(beginnings) if share else sum(len(prompt) for prompt in prompts))
    assert laid.places.ravel()[laid.first_use()].tolist() == list(range(len(laid.ids)))


def test_little_in_common_is_not_shared() -> None:
    assert pack_prompts([(1,) * LEAST_SAVED, (1,) * (LEAST_SAVED - 1)]).saved_tokens == 0
    assert pack_prompts([(1,) * LEAST_SAVED, (1,) * LEAST_SAVED]).saved_tokens == LEAST_SAVED


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_sampling_with_a_shared_beginning_gives_the_same_tokens(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = tiny_model(kind), [*opened(6, 90), (5,), (7, 8)]
    fed: list[int] = []
    model.model.layers[0].register_forward_pre_hook(lambda _, given: fed.append(given[0].shape[:2].numel()))
    engine = TransformersEngine(model, (), PAD, str)
    found = engine.sample(SamplingRequest(asked, [3] * 8, SamplingOptions(12, 1.0), 4))
    shared, begun = fed[0], len(fed)
    monkeypatch.setattr(prefix_attention, "LEAST_SAVED", 10**6)
    plain = engine.sample(SamplingRequest(asked, [3] * 8, SamplingOptions(12, 1.0), 4))
    assert shared < 90 + 8 * 13 < 6 * 90 < fed[begun]
    for one, other in zip(chain(*found), chain(*plain), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def turns(prompts: list[tuple[int, ...]]) -> list[TrainingSample]:
    rng = np.random.default_rng(3)
    made = []
    for prompt in prompts * 2:
        output = tuple(rng.integers(4, len(VOCABULARY), size=int(rng.integers(1, 7))).tolist())
        made.append(TrainingSample(prompt, output, np.full(len(output), -3, np.float32), float(rng.normal()), "q"))
    return made


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_update_with_a_shared_beginning_has_the_same_gradients(
    adapter: Any, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = UpdateSettings(adapter=adapter, lora_rank=4, gradient_checkpointing=checkpointing)
    base, samples = tiny_model(scale=0.1), turns(opened(5, 80))
    found = []
    for least in (1, 10**6):
        monkeypatch.setattr(prefix_attention, "LEAST_SAVED", least)
        learner = GRPOLearner(to_train(base, settings), "A", settings, 10, 8, 1.0)
        found.append(gradients_of(learner, samples))
    assert_same(*found)


def test_log_probabilities_behind_a_shared_beginning_are_those_of_a_plain_forward() -> None:
    model, samples = tiny_model("qwen2", scale=0.1), turns(opened(5, 80))
    (batch,) = micro_batches(samples, 64)
    with torch.no_grad():
        found = completion_logprobs(model, batch, 1.0)
        for index, line in zip(batch.sample_of_slot, found, strict=True):
            if index < 0:
                continue
            prompt, output = samples[index].prompt_ids, samples[index].completion_ids
            plain = model(torch.tensor([[*prompt, *output]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            expected = plain.gather(1, torch.tensor(output)[:, None])[:, 0]
            assert torch.allclose(line[: len(output)], expected, atol=1e-5)
