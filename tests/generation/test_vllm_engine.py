"""vLLM itself (`nox -s vllm`): it never samples from old weights, and says what the transformers engine says."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exportable_trials import base_models, run_study
from scipy import stats
from tiny_models import END, PAD, VOCABULARY, tiny_model, tiny_tokenizer
from tiny_trials import contents, run_plan, tiny_plan

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.generation.engine import VLLM_CACHE, Completion, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.vllm_engine import SETTINGS, VllmEngine
from ilr_bench.models.loading import load_weights, save_prepared, save_weights
from ilr_bench.models.lora import attach_lora
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.trained import export_agent, find_trained, load_agent
from ilr_bench.study.trial import run_trial

KINDS = ("llama", "qwen2")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LORA = UpdateSettings(adapter="lora", lora_rank=4)


def model_of(kind: Any, seed: int = 0, scale: float = 0.2, vocabulary: int = len(VOCABULARY)) -> Any:
    """With heads of 32 dimensions: vLLM serves none of 16 on a CPU."""
    return tiny_model(kind, seed=seed, scale=scale, vocabulary=vocabulary, hidden=64).to(DEVICE)


def prompts(*lengths: int, vocabulary: int = len(VOCABULARY)) -> list[list[int]]:
    rng = np.random.default_rng(7)
    return [[int(token) for token in rng.integers(4, vocabulary, size=length)] for length in lengths]


def flat(results: list[list[Completion]]) -> list[Completion]:
    return [completion for group in results for completion in group]


def tokens(results: list[list[Completion]]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in flat(results)]


def full_logprobs(model: Any, prompt: list[int], completion: Completion) -> np.ndarray[Any, Any]:
    ids = torch.tensor([[*prompt, *completion.token_ids]], device=DEVICE)
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    chosen = torch.tensor(completion.token_ids, device=DEVICE)[:, None]
    return logits.log_softmax(-1).gather(1, chosen)[:, 0].cpu().numpy()


def error(model: Any, asked: list[list[int]], results: list[list[Completion]]) -> float:
    """Largest difference between the engine's log-probabilities and those of a fresh forward."""
    return max(
        float(np.abs(completion.logprobs - full_logprobs(model, prompt, completion)).max())
        for prompt, group in zip(asked, results, strict=True)
        for completion in group
    )


Start = Callable[..., VllmEngine]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Many instances live at a time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VLLM_CACHE, DEVICE, 2**27)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A vLLM engine around a model; one instance per model and module."""
    pytest.importorskip("vllm")
    started: dict[int, VllmEngine] = {}

    def engine(model: Any, plain: Any = None) -> VllmEngine:
        if id(model) not in started:
            folder = tmp_path_factory.mktemp("model")
            (plain or model).config.save_pretrained(folder)
            started[id(model)] = VllmEngine(model, folder, [END], tiny_tokenizer().decode)
        return started[id(model)]

    return engine


@pytest.fixture(scope="module")
def pair(start: Start) -> dict[str, tuple[Any, VllmEngine]]:
    models = {kind: model_of(kind) for kind in KINDS}
    return {kind: (model, start(model)) for kind, model in models.items()}


@pytest.mark.vllm
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.7])
def test_turns_are_those_of_the_transformers_engine(pair: dict[str, Any], kind: str, temperature: float) -> None:
    model, engine = pair[kind]
    asked, options = prompts(5, 1, 20, 64, 7), SamplingOptions(24, temperature)
    samples = [1] * 5 if temperature == 0 else [4, 0, 3, 5, 1]
    ours = TransformersEngine(model, [END], PAD, str).sample(SamplingRequest(asked, samples, options, seed=6, first=2))
    theirs = engine.sample(SamplingRequest(asked, samples, options, seed=6, first=2))
    assert tokens(ours) == tokens(theirs)
    assert [one.finished for one in flat(ours)] == [one.finished for one in flat(theirs)]
    for one, other in zip(flat(ours), flat(theirs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.vllm
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_at_temperature_one(pair: dict[str, Any], kind: str, temperature: float) -> None:
    model, engine = pair[kind]
    asked = prompts(5, 1, 70, 7)
    results = engine.sample(SamplingRequest(asked, [8, 0, 3, 9], SamplingOptions(24, temperature), seed=1))
    assert [len(group) for group in results] == [8, 0, 3, 9]
    assert all(one.logprobs.dtype == np.float32 for one in flat(results))
    assert error(model, asked, results) < 1e-4


@pytest.mark.vllm
def test_samples_follow_the_models_distribution_at_the_given_temperature(start: Start) -> None:
    model = model_of("llama", vocabulary=12, scale=0.15)
    prompt, draws, temperature = [4, 5, 6], 4000, 1.5
    results = start(model).sample(SamplingRequest([prompt], [draws], SamplingOptions(2, temperature), seed=3))[0]
    with torch.no_grad():
        first = (model(torch.tensor([prompt], device=DEVICE)).logits[0, -1] / temperature).softmax(-1).double().cpu()
        pairs = torch.tensor([[*prompt, token] for token in range(12)], device=DEVICE)
        second = (model(pairs).logits[:, -1] / temperature).softmax(-1).double().cpu()
    expected = (first[:, None] * second).numpy()
    expected[END] = 0
    observed = np.zeros((12, 12))
    for completion in results:
        if len(completion.token_ids) == 2:
            observed[completion.token_ids] += 1
    counts = np.append(observed[expected > 0], draws - observed.sum())
    chances = np.append(expected[expected > 0], float(first[END]))
    assert stats.chisquare(counts, draws * chances / chances.sum()).pvalue > 1e-3


@pytest.mark.vllm
def test_equal_calls_return_equal_bytes_whatever_was_sampled_between(pair: dict[str, Any]) -> None:
    _, engine = pair["llama"]
    asked, options = prompts(40, 3), SamplingOptions(16, 1.0)
    first = engine.sample(SamplingRequest(asked, [5, 5], options, seed=1))
    other = engine.sample(SamplingRequest(asked, [5, 5], options, seed=2))
    again = engine.sample(SamplingRequest(asked, [5, 5], options, seed=1))
    assert tokens(first) == tokens(again) != tokens(other)
    assert [one.logprobs.tobytes() for one in flat(first)] == [one.logprobs.tobytes() for one in flat(again)]
    assert len(set(tokens(first))) == 10


@pytest.mark.vllm
def test_a_row_is_named_by_seed_prompt_and_sample(pair: dict[str, Any]) -> None:
    _, engine = pair["llama"]
    asked, options = prompts(9, 30, 2), SamplingOptions(20, 1.0)
    whole = engine.sample(SamplingRequest(asked, [6, 5, 8], options, seed=5))
    rest = engine.sample(SamplingRequest(asked[1:], [2, 11], options, seed=5, first=1))
    assert tokens(rest[:1]) == tokens(whole[1:2])[:2]
    assert tokens(rest[1:])[:8] == tokens(whole[2:])


@pytest.mark.vllm
def test_turns_end_at_the_end_token_or_the_limit_and_say_which(start: Start) -> None:
    engine = start(model_of("qwen2", vocabulary=10))
    results = flat(engine.sample(SamplingRequest([[4], [5, 6]], [20, 20], SamplingOptions(6, 1.0), seed=0)))
    for completion in results:
        assert completion.finished == (completion.token_ids[-1] == END)
        assert END not in completion.token_ids[:-1]
        assert len(completion.token_ids) == 6 or completion.finished
    assert {completion.finished for completion in results} == {True, False}


@pytest.mark.vllm
def test_stop_strings_end_a_turn_once_they_are_complete(start: Start) -> None:
    tokenizer = tiny_tokenizer()
    options = SamplingOptions(60, 1.0, stop_strings=("a", "7b"))
    results = flat(start(model_of("llama", scale=0.02)).sample(SamplingRequest(prompts(4), [40], options, seed=0)))
    stopped = [completion for completion in results if completion.finished and completion.token_ids[-1] != END]
    assert stopped
    for completion in results:
        assert len(completion.logprobs) == len(completion.token_ids)
        text, before = tokenizer.decode(completion.token_ids), tokenizer.decode(completion.token_ids[:-1])
        assert not any(stop in before for stop in options.stop_strings)
        assert any(stop in text for stop in options.stop_strings) == (completion in stopped)


@pytest.mark.vllm
@pytest.mark.parametrize("rested", [True, False])
def test_what_is_sampled_comes_from_the_weights_as_they_are(start: Start, tmp_path: Path, rested: bool) -> None:
    model = model_of("qwen2", seed=4)
    engine = start(model)
    asked, options = prompts(40, 6), SamplingOptions(12, 1.0)
    before = engine.sample(SamplingRequest(asked, [4, 4], options, seed=1))
    save_weights(model, tmp_path)
    if rested:
        engine.release()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    ids = torch.tensor(prompts(30), device=DEVICE)
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    trained = engine.sample(SamplingRequest(asked, [4, 4], options, seed=1))
    assert error(model, asked, before) > 0.1
    assert error(model, asked, trained) < 1e-4
    load_weights(model, tmp_path)
    restored = engine.sample(SamplingRequest(asked, [4, 4], options, seed=1))
    assert tokens(restored) == tokens(before) != tokens(trained)
    assert [one.logprobs.tobytes() for one in flat(restored)] == [one.logprobs.tobytes() for one in flat(before)]


@pytest.mark.vllm
def test_twins_sample_from_their_own_adapters(start: Start) -> None:
    base = model_of("llama")
    config = base.config
    first, second = attach_lora(base, LORA, ["x.1", "x.2"])
    plain: Any = type("Config", (), {"config": config})
    asked, options = prompts(12, 5), SamplingOptions(10, 1.0)
    for view, shift in ((first, 0.05), (second, -0.05)):
        with torch.no_grad():
            for weight in view.adapter_weights().values():
                weight.add_(shift)
        assert error(view, asked, start(view, plain).sample(SamplingRequest(asked, [3, 3], options, seed=0))) < 1e-4
    moved = start(first, plain).sample(SamplingRequest(asked, [3, 3], options, seed=0))
    assert error(first, asked, moved) < 1e-4 < 0.01 < error(second, asked, moved)


@pytest.mark.vllm
@pytest.mark.skipif(DEVICE != "cpu", reason="GPUs serve heads of 16 dimensions")
def test_a_model_that_vllm_cannot_serve_is_refused(start: Start) -> None:
    with pytest.raises(ConfigurationError, match=r"vLLM cannot serve.*sampling.engine=transformers"):
        start(tiny_model()).sample(SamplingRequest(prompts(3), [1], SamplingOptions(3, 1.0), seed=0))


@pytest.mark.vllm
def test_sequences_beyond_the_context_are_refused(pair: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"1025 tokens exceed the 1024"):
        pair["llama"][1].sample(SamplingRequest(prompts(1000), [1], SamplingOptions(25, 1.0), seed=0))


@pytest.mark.vllm
def test_threads_can_be_set_after_a_start(pair: dict[str, Any]) -> None:
    pair["llama"][1].sample(SamplingRequest(prompts(3), [1], SamplingOptions(3, 1.0), seed=0))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


@pytest.mark.vllm
def test_an_engine_that_is_forgotten_gives_its_memory_back_and_leaves_the_others_alone(
    pair: dict[str, Any], tmp_path: Path
) -> None:
    other, asked, options = pair["llama"][1], prompts(5), SamplingOptions(8, 1.0)
    before = other.sample(SamplingRequest(asked, [3], options, seed=0))
    model = model_of("llama")
    model.config.save_pretrained(tmp_path)
    engine = VllmEngine(model, tmp_path, [END], str)
    engine.sample(SamplingRequest(asked, [1], options, seed=0))
    (cache,) = engine._llm.collective_rpc(lambda worker: weakref.ref(worker.model_runner.kv_caches[0]))
    assert cache() is not None
    del engine
    gc.collect()
    assert cache() is None
    assert tokens(other.sample(SamplingRequest(asked, [3], options, seed=0))) == tokens(before)


@pytest.mark.vllm
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_a_trial_by_vllm_ends_in_the_same_bytes_after_a_stop(tmp_path: Path, adapter: str) -> None:
    pytest.importorskip("vllm")
    for name, kind, seed in (("first", "llama", 1), ("second", "qwen2", 2)):
        (tmp_path / name).mkdir()
        save_prepared(model_of(kind, seed=seed).cpu(), tiny_tokenizer(), tmp_path / name)
    models = (str(tmp_path / "first"), str(tmp_path / "second"))
    plan = tiny_plan(models, "ilr", sampling__engine="vllm", update__adapter=adapter, update__learning_rate="0.01")
    (trial,) = plan.trials
    run_plan(plan, tmp_path / "whole")
    whole, stopped = tmp_path / "whole" / trial.folder, tmp_path / "stopped" / trial.folder
    for until in (1, None):
        run_trial(trial.config, trial.hash, stopped, Artifacts(tmp_path / "stopped" / "artifacts"), until=until)
    assert json.loads((whole / "config.json").read_text())["config"]["sampling"]["engine"] == "vllm"
    steps = [json.loads(line) for line in (whole / "train.jsonl").read_text().splitlines()]
    assert [(step["step"], step["agent"]) for step in steps] == [
        (1, "first"), (1, "second"), (2, "first"), (2, "second"),
    ]  # fmt: skip
    kept = {name: data for name, data in contents(whole).items() if "checkpoints" not in name}
    assert kept == {name: data for name, data in contents(stopped).items() if "checkpoints" not in name}


@pytest.mark.vllm
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_vllm_itself_loads_an_exported_agent(adapter: str, tmp_path: Path) -> None:
    vllm = pytest.importorskip("vllm")
    os.environ.update(SETTINGS)
    trial = run_study(base_models(tmp_path), tmp_path / "study", update__adapter=adapter)
    export_agent(find_trained(trial), "first", tmp_path / "out")
    mine = load_agent(find_trained(trial), "first", DEVICE)
    limits = {"max_model_len": 256, "kv_cache_memory_bytes": 2**27, "gpu_memory_utilization": 0.1}
    place = tmp_path / ("out" if adapter == "full" else "first")
    lora = {"enable_lora": True, "max_lora_rank": 16} if adapter == "lora" else {}
    served = vllm.LLM(str(place), dtype="float32", enforce_eager=True, **limits, **lora)
    given = {"lora_request": vllm.lora.request.LoRARequest("one", 1, str(tmp_path / "out"))} if lora else {}
    turns = [[{"role": "user", "content": text}] for text in ("1+2=?", "say a word", "7*8")]
    asked = vllm.SamplingParams(temperature=0, max_tokens=8)
    said = [one.outputs[0].token_ids for one in served.chat(turns, asked, use_tqdm=False, **given)]
    ids = [mine.tokenizer.apply_chat_template(turn, add_generation_prompt=True)["input_ids"] for turn in turns]
    engine = TransformersEngine(mine.model, mine.end_ids, mine.pad_id, str)
    assert [tuple(one) for one in said] == tokens(
        engine.sample(SamplingRequest(ids, [1] * 3, SamplingOptions(8, 0.0), 0))
    )
