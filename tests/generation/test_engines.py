"""The choice of what samples, when it rests, and the weights that vLLM is handed; without vLLM."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scripted import scripted_agent
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import UpdateSettings, change
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.core.futures import finished
from ilr_bench.core.profiles import PAPER, profile
from ilr_bench.evaluation.standalone import StandaloneRun, standalone_config
from ilr_bench.generation import vllm_engine
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.vllm_engine import VllmEngine, full_weights, writes
from ilr_bench.learner import build
from ilr_bench.learner.samples import StepMetrics
from ilr_bench.method import loop
from ilr_bench.models.loading import LoadedModel, load_weights, save_weights
from ilr_bench.models.lora import attach_lora

LORA = UpdateSettings(adapter="lora", lora_rank=4)
NEVER_STARTED = Path("nowhere")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vLLM were here; it is imported by the first sampling only."""
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: object())


def test_without_vllm_the_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match=r"pip install 'ilr-bench\[vllm\]'.*sampling.engine=transformers"):
        VllmEngine(tiny_model(), NEVER_STARTED, [END], str)


def test_one_of_several_processes_is_refused(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ConfigurationError, match="trained by 2"):
        VllmEngine(tiny_model(), NEVER_STARTED, [END], str)


def test_the_configuration_chooses_the_engine(installed: None) -> None:
    loaded = LoadedModel(tiny_model(), tiny_tokenizer(), (END,), PAD, NEVER_STARTED, "x")
    config = profile("micro")
    assert isinstance(build.make_engine(loaded, config), TransformersEngine)
    chosen = build.make_engine(loaded, change(config, {"sampling.engine": "vllm", "sampling.rows_per_call": 9}))
    assert isinstance(chosen, VllmEngine)
    assert (chosen.folder, chosen.precision, chosen.end_ids) == (NEVER_STARTED, "float32", (END,))
    assert chosen.rows == max(9, config.evaluation.rows_per_call)
    half = build.make_engine(loaded, change(config, {"sampling.engine": "vllm", "update.precision": "bf16"}))
    assert isinstance(half, VllmEngine)
    assert half.precision == "bfloat16"
    with pytest.raises(ConfigurationError, match=r"sampling.engine: 'sglang' is none of 'transformers', 'vllm'"):
        change(config, {"sampling.engine": "sglang"})


def test_profiles_name_their_engine() -> None:
    assert [profile(name).sampling.engine for name in ("micro", "small", "paper")] == [
        "transformers", "transformers", "vllm",
    ]  # fmt: skip


def test_evaluate_takes_its_own_engine_before_the_profiles() -> None:
    loaded = LoadedModel(tiny_model(), tiny_tokenizer(), (END,), PAD, NEVER_STARTED, "x")
    run = StandaloneRun("some/model", ("sums",), NEVER_STARTED)
    assert standalone_config(run, loaded).sampling.engine == "transformers"
    assert standalone_config(replace(run, profile="paper"), loaded).sampling.engine == PAPER.sampling.engine == "vllm"
    assert (
        standalone_config(replace(run, profile="paper", engine="transformers"), loaded).sampling.engine
        == "transformers"
    )
    chosen = standalone_config(replace(run, engine="vllm", dtype="bfloat16"), loaded)
    assert (chosen.sampling.engine, chosen.update.precision) == ("vllm", "bf16")
    assert standalone_config(replace(run, engine="vllm"), loaded).update.precision == "fp32"


def test_all_engines_rest_before_the_first_update_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = [scripted_agent(name, lambda prompt, number: "said") for name in ("A", "B")]
    rested: list[list[int]] = []

    class Watching:
        def submit(self, turns: object, step: int) -> Future[StepMetrics]:
            rested.append([agent.engine.rests for agent in agents])  # type: ignore[attr-defined]
            return finished(StepMetrics(0.0, 0.0, 0.0, None, 0, 0))

    class Watch:
        def watch(self, name: str) -> Any:
            return torch.no_grad()

        def count(self, name: str, number: int) -> None:
            assert number == 0

    state: Any = SimpleNamespace(agents=agents, learners=[Watching(), Watching()], stopwatch=Watch(), swapper=None)
    loop.update(profile("micro"), state, None, {}, [[], []], 1)  # type: ignore[arg-type]
    assert rested == [[1, 1], [1, 1]]


def test_nothing_is_started_for_no_samples_or_for_a_rest(installed: None) -> None:
    engine = VllmEngine(tiny_model(), NEVER_STARTED, [END], str)
    engine.release()
    assert engine.sample(SamplingRequest([[4], [5]], [0, 0], SamplingOptions(3, 1.0), seed=0)) == [[], []]
    with pytest.raises(ConfigurationError, match="no token"):
        engine.sample(SamplingRequest([[]], [1], SamplingOptions(3, 1.0), seed=0))


def test_full_weights_are_the_models_own_and_no_copies() -> None:
    model = tiny_model("qwen2")
    handed = full_weights(model)
    assert handed.keys() == model.state_dict().keys()
    assert all(handed[name].data_ptr() == tensor.data_ptr() for name, tensor in model.state_dict().items())


def test_an_adapters_full_weights_make_a_plain_model_that_says_what_the_adapter_says() -> None:
    ids = torch.tensor([range(4, 16)])
    first, second = attach_lora(tiny_model("qwen2"), LORA, ["x.1", "x.2"])
    for view, seed in ((first, 1), (second, 2)):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in view.adapter_weights().values():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    output = []
    for view in (first, second):
        plain = tiny_model("qwen2", seed=5)
        plain.load_state_dict(full_weights(view))
        with torch.no_grad():
            output.append(view(ids).logits)
            assert torch.allclose(plain(ids).logits, output[-1], atol=1e-5)
    assert not torch.allclose(output[0], output[1], atol=0.1)


@pytest.mark.parametrize("foreach", [False, True])
def test_an_optimizer_step_is_noticed(foreach: bool) -> None:
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)
    model(torch.tensor([[4, 5, 6]]), labels=torch.tensor([[4, 5, 6]])).loss.backward()
    before = writes(model)
    optimizer.step()
    assert all(one != other for one, other in zip(before, writes(model), strict=True))


def test_loaded_weights_are_noticed_and_sampling_is_not(tmp_path: Path) -> None:
    model = tiny_model()
    save_weights(tiny_model(seed=3), tmp_path)
    before = writes(model)
    TransformersEngine(model, [END], PAD, str).sample(SamplingRequest([[4, 5]], [2], SamplingOptions(3, 1.0), seed=0))
    assert writes(model) == before
    load_weights(model, tmp_path)
    assert writes(model) != before


def test_a_twins_training_is_not_taken_for_ones_own() -> None:
    first, second = attach_lora(tiny_model(), LORA, ["x.1", "x.2"])
    before = [writes(view) for view in (first, second)]
    with torch.no_grad():
        for weight in second.adapter_weights().values():
            weight.add_(0.1)
    assert writes(first) == before[0]
    assert writes(second) != before[1]
