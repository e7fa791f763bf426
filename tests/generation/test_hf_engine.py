"""Sampling: the right distribution, the right log-probabilities, whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_models import END, PAD, VOCABULARY, tiny_model, tiny_tokenizer

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.generation import hf_engine
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine

KINDS = ("llama", "qwen2")


def engine(model: Any) -> TransformersEngine:
    return TransformersEngine(model, {END}, PAD, tiny_tokenizer().decode)


def prompts(*lengths: int) -> list[list[int]]:
    rng = np.random.default_rng(7)
    return [[int(token) for token in rng.integers(4, len(VOCABULARY), size=length)] for length in lengths]


def tokens(results: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[completion.token_ids for completion in group] for group in results]


def flat(results: list[list[Completion]]) -> list[Completion]:
    return [completion for group in results for completion in group]


def full_logprobs(model: Any, prompt: list[int], completion: Completion) -> np.ndarray[Any, Any]:
    ids = torch.tensor([[*prompt, *completion.token_ids]])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    chosen = torch.tensor(completion.token_ids)[:, None]
    return logits.log_softmax(-1).gather(1, chosen)[:, 0].numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_equals_generate_on_ragged_prompts(kind: Any) -> None:
    model = tiny_model(kind)
    asked = prompts(5, 1, 20, 64, 7)
    results = engine(model).sample(SamplingRequest(asked, [1] * 5, SamplingOptions(24, 0.0), seed=0))
    for prompt, (completion,) in zip(asked, results, strict=True):
        ids = torch.tensor([prompt])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        assert list(completion.token_ids) == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_a_fresh_forward_at_temperature_one(kind: Any, temperature: float) -> None:
    model = tiny_model(kind)
    asked = prompts(5, 1, 20, 7)
    results = engine(model).sample(SamplingRequest(asked, [8, 0, 3, 9], SamplingOptions(24, temperature), seed=1))
    assert [len(group) for group in results] == [8, 0, 3, 9]
    for prompt, group in zip(asked, results, strict=True):
        for completion in group:
            assert completion.logprobs.dtype == np.float32
            assert completion.logprobs == pytest.approx(full_logprobs(model, prompt, completion), abs=1e-5)


def test_samples_follow_the_model_distribution_at_the_given_temperature() -> None:
    model = tiny_model(vocabulary=12, scale=0.15)
    prompt, draws, temperature = [4, 5, 6], 4000, 1.5
    results = engine(model).sample(SamplingRequest([prompt], [draws], SamplingOptions(2, temperature, 1000), seed=3))[0]
    with torch.no_grad():
        first = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1).double().numpy()
        pairs = torch.tensor([[*prompt, token] for token in range(12)])
        second = (model(pairs).logits[:, -1] / temperature).softmax(-1).double().numpy()
    expected = first[:, None] * second
    expected[END] = 0
    observed = np.zeros((12, 12))
    for completion in results:
        if len(completion.token_ids) == 2:
            observed[completion.token_ids] += 1
    stopped = draws - observed.sum()
    counts = np.append(observed[expected > 0], stopped)
    chances = np.append(expected[expected > 0], first[END])
    assert stats.chisquare(counts, draws * chances / chances.sum()).pvalue > 1e-3


def test_rows_of_equal_prompts_draw_different_numbers() -> None:
    prompt = prompts(6)[0]
    results = flat(
        engine(tiny_model(scale=0.05)).sample(
            SamplingRequest([prompt, prompt], [16, 16], SamplingOptions(12, 1.0), seed=0)
        )
    )
    long = [completion.token_ids for completion in results if len(completion.token_ids) > 4]
    assert len(long) > 20
    assert len(set(long)) == len(long)


@pytest.mark.parametrize("rows_per_call", [1, 7, 16])
def test_batch_size_does_not_change_what_is_drawn(rows_per_call: int) -> None:
    sampler = engine(tiny_model())
    asked, counts = prompts(9, 30, 2, 17), [6, 5, 8, 1]
    whole = sampler.sample(SamplingRequest(asked, counts, SamplingOptions(20, 1.0), seed=5))
    parts = sampler.sample(SamplingRequest(asked, counts, SamplingOptions(20, 1.0, rows_per_call), seed=5))
    assert tokens(parts) == tokens(whole)


def test_packing_finished_rows_away_does_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(vocabulary=10)
    asked, counts = [[4, 5], [6, 7, 8, 9], [5]], [8, 3, 13]
    results = {}
    for threshold in (0.0, 1.0):
        monkeypatch.setattr(hf_engine, "REPACK_BELOW", threshold)
        results[threshold] = engine(model).sample(SamplingRequest(asked, counts, SamplingOptions(40, 1.0), seed=2))
    lengths = {len(completion.token_ids) for completion in flat(results[0.0])}
    assert len(lengths) > 5, "rows must end at different steps for this test to say anything"
    assert tokens(results[0.0]) == tokens(results[1.0])
    for one, other in zip(flat(results[0.0]), flat(results[1.0]), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_sample_k_does_not_depend_on_how_many_are_asked_for() -> None:
    sampler, asked = engine(tiny_model()), prompts(8)
    few = sampler.sample(SamplingRequest(asked, [2], SamplingOptions(16, 1.0), seed=9))
    many = sampler.sample(SamplingRequest(asked, [11], SamplingOptions(16, 1.0), seed=9))
    assert tokens(few)[0] == tokens(many)[0][:2]


def test_equal_calls_return_equal_bytes_and_other_seeds_other_samples() -> None:
    sampler, asked = engine(tiny_model()), prompts(8, 3)
    first, again, other = (
        sampler.sample(SamplingRequest(asked, [5, 5], SamplingOptions(16, 1.0), seed)) for seed in (1, 1, 2)
    )
    assert tokens(first) == tokens(again) != tokens(other)
    assert all(
        one.logprobs.tobytes() == two.logprobs.tobytes() for one, two in zip(flat(first), flat(again), strict=True)
    )


def test_turns_end_at_the_end_token_or_the_limit_and_say_which() -> None:
    results = flat(
        engine(tiny_model(vocabulary=10)).sample(
            SamplingRequest([[4], [5, 6]], [20, 20], SamplingOptions(6, 1.0), seed=0)
        )
    )
    for completion in results:
        assert completion.finished == (completion.token_ids[-1] == END)
        assert END not in completion.token_ids[:-1]
        assert len(completion.token_ids) == 6 or completion.finished
    assert {completion.finished for completion in results} == {True, False}


def test_stop_strings_end_a_turn_once_they_are_complete() -> None:
    model, tokenizer = tiny_model(scale=0.02), tiny_tokenizer()
    options = SamplingOptions(60, 1.0, stop_strings=("a", "7b"))
    results = flat(engine(model).sample(SamplingRequest(prompts(4), [40], options, seed=0)))
    stopped = [completion for completion in results if completion.finished and completion.token_ids[-1] != END]
    assert stopped
    for completion in results:
        text = tokenizer.decode(completion.token_ids)
        before = tokenizer.decode(completion.token_ids[:-1])
        assert not any(stop in before for stop in options.stop_strings)
        assert any(stop in text for stop in options.stop_strings) == (completion in stopped)


def test_training_mode_and_attention_are_restored() -> None:
    model = tiny_model().train()
    attention = model.config._attn_implementation
    engine(model).sample(SamplingRequest(prompts(4), [2], SamplingOptions(3, 1.0), seed=0))
    assert model.training
    assert model.config._attn_implementation == attention
    model(torch.tensor([[4, 5, 6]]), labels=torch.tensor([[4, 5, 6]])).loss.backward()


def test_half_precision_weights_give_finite_logprobs() -> None:
    model = tiny_model().to(torch.bfloat16)
    results = flat(engine(model).sample(SamplingRequest(prompts(12, 3), [4, 4], SamplingOptions(10, 1.0), seed=0)))
    assert all(np.isfinite(completion.logprobs).all() for completion in results)


def test_sequences_beyond_a_sliding_window_are_refused() -> None:
    model = tiny_model("qwen2")
    model.config.sliding_window, model.config.layer_types = 16, ["full_attention", "sliding_attention"]
    with pytest.raises(ConfigurationError, match="sliding window of 16"):
        engine(model).sample(SamplingRequest(prompts(12), [1], SamplingOptions(10, 1.0), seed=0))


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no token"):
        engine(tiny_model()).sample(SamplingRequest([[]], [1], SamplingOptions(3, 1.0), seed=0))
