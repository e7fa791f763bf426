"""Twins that sample in one call say what each says alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import UpdateSettings
from ilr_bench.generation import hf_engine
from ilr_bench.generation.dispatch import sample_all
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import MultiLoRA, TransformersEngine
from ilr_bench.models.lora import AdapterModel, attach_lora

LORA = UpdateSettings(adapter="lora", lora_rank=4)
KINDS = ("llama", "qwen2")


def twins(kind: Any, count: int = 3) -> list[AdapterModel]:
    """Adapters that differ from their base by far more than rounding."""
    views = attach_lora(tiny_model(kind, scale=0.2), LORA, [str(number) for number in range(count)])
    for number, view in enumerate(views):
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in view.adapter_weights().values():
                weight.copy_(torch.randn_like(weight) * 0.3)
    return views


def engines(views: list[AdapterModel]) -> list[TransformersEngine]:
    return [TransformersEngine(view, [END], PAD, tiny_tokenizer().decode) for view in views]


def prompts(*lengths: int) -> list[list[int]]:
    rng = np.random.default_rng(sum(lengths))
    return [rng.integers(4, 20, size=length).tolist() for length in lengths]


def alone(engine: Any, request: SamplingRequest) -> list[list[Completion]]:
    return engine.sample(request)


def check(together: list[list[Completion]], apart: list[list[Completion]]) -> None:
    assert [[one.token_ids for one in group] for group in together] == [[one.token_ids for one in g] for g in apart]
    assert [[one.finished for one in group] for group in together] == [[one.finished for one in g] for g in apart]
    for group, others in zip(together, apart, strict=True):
        for one, other in zip(group, others, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows_per_call", [5, 512])
@pytest.mark.parametrize("stops", [(), ("a", "7")])
def test_twins_in_one_call_say_what_each_says_alone(
    kind: Any, rows_per_call: int, stops: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = engines(twins(kind))
    options = SamplingOptions(20, 1.0, rows_per_call, stops)
    requests = [
        (first, SamplingRequest(prompts(3, 17, 1), [4, 0, 2], options, seed=5, first=2)),
        (second, SamplingRequest(prompts(60, 8), [3, 5], options, seed=6)),
        (third, SamplingRequest(prompts(9), [1], options, seed=5)),
    ]
    apart = [alone(*request) for request in requests]
    calls = []
    whole = TransformersEngine.sample_batched
    monkeypatch.setattr(
        TransformersEngine, "sample_batched", lambda *given: calls.append(len(given[1])) or whole(*given)
    )
    together = sample_all(requests)
    assert calls == [3]
    for found, expected in zip(together, apart, strict=True):
        check(found, expected)
    assert len({completion.token_ids for group in apart for prompt in group for completion in prompt}) > 10


def test_rows_that_are_packed_anew_keep_their_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_engine, "REPACK_BELOW", 1.0)
    packed = []
    beside = MultiLoRA.use_per_row
    monkeypatch.setattr(MultiLoRA, "use_per_row", lambda self, rows: packed.append(rows.tolist()) or beside(self, rows))
    options = SamplingOptions(40, 1.0, stop_strings=("a", "b", "3"))
    requests = [
        (engine, SamplingRequest(prompts(6, 4), [7, 5], options, number))
        for number, engine in enumerate(engines(twins("llama")))
    ]
    together = sample_all(requests)
    assert len(packed) > 4
    assert all(rows == sorted(rows) for rows in packed)
    for request, found in zip(requests, together, strict=True):
        check(found, alone(*request))


def test_one_voice_computes_the_bits_of_pefts_own_forward() -> None:
    views = twins("qwen2", 2)
    ids = torch.tensor(prompts(12, 12))
    multi_lora = MultiLoRA(views)
    for number, view in enumerate(views):
        with torch.inference_mode():
            expected = view(ids).logits
            with multi_lora.active():
                multi_lora.use_one(number)
                assert torch.equal(multi_lora.model(ids).logits, expected)
            assert torch.equal(view(ids).logits, expected)


def test_who_shares_no_base_or_asks_for_something_else_samples_alone() -> None:
    first, second = engines(twins("llama", 2))
    plain = TransformersEngine(tiny_model("llama", scale=0.2), [END], PAD, tiny_tokenizer().decode)
    longer, options = SamplingOptions(9, 1.0), SamplingOptions(6, 1.0)
    requests = [
        (first, SamplingRequest(prompts(5), [2], options, 0)),
        (plain, SamplingRequest(prompts(4), [2], options, 1)),
        (second, SamplingRequest(prompts(3), [2], longer, 2)),
        (first, SamplingRequest(prompts(7), [3], longer, 3)),
    ]
    for request, found in zip(requests, sample_all(requests), strict=True):
        check(found, alone(*request))
    assert sample_all([]) == []
