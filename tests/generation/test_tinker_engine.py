"""Sampling by a server: named streams, ends, and answers that are not what was asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_tinker import FakeServer, FakeService, logprobs_of
from tiny_models import END, VOCABULARY, tiny_model, tiny_tokenizer

from ilr_bench.core.errors import ConfigurationError, ServiceError
from ilr_bench.generation.dispatch import sample_all
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.tinker_engine import APART, TinkerEngine, prompt_seeds
from ilr_bench.models.tinker import Address, TinkerPolicy

OPTIONS = SamplingOptions(6, 1.0)
REQUEST = SamplingRequest([[5, 6, 7], [8, 9], [4]], [2, 3, 0], OPTIONS, seed=3)


def engine_on(server: FakeServer) -> TinkerEngine:
    policy = TinkerPolicy("A", "base", FakeService(server), Address("http://localhost:1"), server.context, 4, 0)
    tokenizer = tiny_tokenizer()
    return TinkerEngine(policy, [END], lambda ids: str(tokenizer.decode(list(ids))), len(VOCABULARY))


def test_log_probabilities_are_those_at_temperature_1_whatever_is_sampled() -> None:
    server = FakeServer(tiny_model(scale=0.3))
    for temperature in (0.0, 0.7, 1.0):
        found = engine_on(server).sample(replace(REQUEST, options=SamplingOptions(6, temperature)))
        assert [len(group) for group in found] == [2, 3, 0]
        for prompt, group in zip(REQUEST.prompts, found, strict=True):
            for one in group:
                expected = logprobs_of(server.model, [*prompt, *one.token_ids]).detach().numpy()[len(prompt) - 1 :]
                assert one.logprobs == pytest.approx(expected, abs=1e-5)
                assert one.finished == (one.token_ids[-1] == END)


def test_parts_of_a_list_are_sampled_as_the_whole_list_is() -> None:
    engine = engine_on(FakeServer(tiny_model(scale=0.3)))
    whole = engine.sample(REQUEST)
    second = engine.sample(SamplingRequest([REQUEST.prompts[1]], [1], OPTIONS, seed=3, first=1))
    assert second[0][0].token_ids == whole[1][0].token_ids
    assert engine.sample(replace(REQUEST, seed=4))[0][0].token_ids != whole[0][0].token_ids


def test_no_two_samples_of_a_request_share_a_stream() -> None:
    request = SamplingRequest([[4]] * 300, [APART] * 300, OPTIONS, seed=11)
    seeds = prompt_seeds(request)
    streams = np.concatenate([np.arange(seed, seed + APART) for seed in seeds])
    assert len(np.unique(streams)) == 300 * APART
    assert streams.min() >= 0
    assert streams.max() < 2**31
    with pytest.raises(ConfigurationError, match="at most 512 distinct answers"):
        prompt_seeds(replace(request, samples=[APART + 1] * 300))


def test_a_turn_ends_at_its_end_token_or_at_the_first_token_that_completes_a_stop_string() -> None:
    letters = [VOCABULARY[one] for one in "ab\nQ:c"]

    def saying(tokens: list[int]) -> Any:
        def distort(kind: str, answer: Any) -> Any:
            row = SimpleNamespace(tokens=tokens, logprobs=[-0.5] * len(tokens))
            return SimpleNamespace(sequences=[row]) if kind == "sample" else answer

        return distort

    request = SamplingRequest([[4]], [1], replace(OPTIONS, stop_strings=("\nQ",)), seed=0)
    ((stopped,),) = engine_on(FakeServer(tiny_model(), distort=saying(letters))).sample(request)
    assert (stopped.token_ids, stopped.finished, len(stopped.logprobs)) == (tuple(letters[:4]), True, 4)
    ((ended,),) = engine_on(FakeServer(tiny_model(), distort=saying([*letters[:2], END, 9]))).sample(request)
    assert (ended.token_ids, ended.finished) == ((*letters[:2], END), True)
    ((cut,),) = engine_on(FakeServer(tiny_model(), distort=saying(letters[:3]))).sample(request)
    assert (cut.token_ids, cut.finished) == (tuple(letters[:3]), False)


def one(**changes: Any) -> Any:
    return SimpleNamespace(**{"tokens": [5, 6], "logprobs": [-1.0, -1.0]} | changes)


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ([one()], "1 answers where 2 were asked for"),
        ([one(logprobs=None)] * 2, "answers without log-probabilities"),
        ([one(logprobs=[-1.0])] * 2, r"2 tokens with log-probabilities of shape \(1,\)"),
        ([one(tokens=[], logprobs=[])] * 2, "0 tokens where 1 to 6"),
        ([one(tokens=[5] * 7, logprobs=[-1.0] * 7)] * 2, "7 tokens where 1 to 6"),
        ([one(tokens=[5, 4000])] * 2, "token 4000 is beyond the"),
    ],
)
def test_answers_that_are_not_what_was_asked_for_are_refused(sequences: Any, said: str) -> None:
    server = FakeServer(
        tiny_model(), distort=lambda kind, answer: SimpleNamespace(sequences=sequences) if kind == "sample" else answer
    )
    with pytest.raises(ServiceError, match=f"agent A at http://localhost:1: sampling: {said}"):
        engine_on(server).sample(SamplingRequest([[4]], [2], OPTIONS, seed=0))


def test_sequences_beyond_the_servers_context_are_refused_before_anything_is_sent() -> None:
    server = FakeServer(tiny_model(), context=8)
    with pytest.raises(ConfigurationError, match="sequences of 9 tokens exceed the 8"):
        engine_on(server).sample(REQUEST)
    assert server.requests == []


def test_all_servers_are_asked_before_any_answer_is_awaited() -> None:
    asked: list[str] = []
    engines = []
    for name in ("first", "second"):
        server = FakeServer(tiny_model(scale=0.3, seed=len(engines)))
        engine = engine_on(server)
        submit, completions = engine.submit, engine._completions
        engine.submit = lambda request, submit=submit, name=name: (asked.append(f"ask {name}"), submit(request))[1]  # type: ignore[method-assign]
        engine._completions = lambda *given, completions=completions, name=name: (  # type: ignore[method-assign]
            asked.append(f"wait {name}"), completions(*given)
        )[1]  # fmt: skip
        engines.append(engine)
    request = SamplingRequest([[5, 6]], [1], OPTIONS, seed=0)
    found = sample_all([(engine, request) for engine in engines])
    assert asked == ["ask first", "ask second", "wait first", "wait second"]
    alone = [engine.sample(request)[0][0].token_ids for engine in engines]
    assert [group[0][0].token_ids for group in found] == alone
