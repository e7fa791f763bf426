"""Models come back as they were saved; LoRA twins share a base and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import ConfigurationError, IlrError, MissingInputError, StoreError
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.models.catalogue import prepare_once
from ilr_bench.models.loading import (
    CHECK_FILE,
    folder_hash,
    load_model,
    load_tokenizer,
    load_weights,
    load_with_adapters,
    save_prepared,
    save_weights,
)
from ilr_bench.models.lora import AdapterModel, attach_lora

LORA = UpdateSettings(adapter="lora", lora_rank=4, learning_rate=1e-2, warmup_steps=0)
IDS = torch.arange(4, 16)[None]
PROMPT = (5, 6, 7, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    save_prepared(tiny_model("qwen2"), tiny_tokenizer(), folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(IDS).logits
    return result


def twins() -> tuple[AdapterModel, AdapterModel]:
    first, second = attach_lora(tiny_model(), LORA, ["x.1", "x.2"])
    return first, second


def train_a_little(view: AdapterModel, settings: UpdateSettings = LORA) -> GRPOLearner:
    """One update towards one answer and away from another."""
    learner = GRPOLearner(view, "x", settings, 1, 8, 1.0)
    completions = TransformersEngine(view, [END], PAD, str).sample(
        SamplingRequest([PROMPT], [2], SamplingOptions(6, 1.0), 0)
    )[0]
    samples = [
        TrainingSample(PROMPT, completion.token_ids, completion.logprobs, advantage)
        for completion, advantage in zip(completions, (1.0, -1.0), strict=True)
    ]
    learner.update(samples, 1)
    return learner


def test_a_saved_folder_is_loaded_bit_for_bit(folder: Path) -> None:
    loaded = load_model(str(folder))
    assert torch.equal(logits(loaded.model), logits(tiny_model("qwen2")))
    assert (loaded.end_ids, loaded.pad_id, loaded.folder) == ((END,), PAD, folder)
    assert not loaded.model.training
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.tokenizer("3 + 4").input_ids == tiny_tokenizer()("3 + 4").input_ids


def test_the_fingerprint_follows_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    twin = tmp_path / "copy"
    save_prepared(tiny_model("qwen2"), tiny_tokenizer(), twin)
    assert folder_hash(twin) == folder_hash(folder)
    save_prepared(tiny_model("qwen2", seed=1), tiny_tokenizer(), twin)
    assert folder_hash(twin) != folder_hash(folder)


def test_a_tokenizer_with_another_pre_tokenizer_is_refused(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(StoreError, match="other ids"):
        load_tokenizer(folder)


def test_a_folder_from_elsewhere_is_checked_against_its_own_pipeline(folder: Path) -> None:
    (folder / CHECK_FILE).unlink()
    assert load_tokenizer(folder)("a+1").input_ids == tiny_tokenizer()("a+1").input_ids


def test_what_cannot_be_had_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    wanted: dict[str, tuple[type[IlrError], str]] = {
        str(tmp_path / "empty"): (MissingInputError, "no causal language model"),
        str(tmp_path / "missing.gguf"): (MissingInputError, "no GGUF file"),
        "nobody/nothing": (MissingInputError, "connect to the hub, or download it"),
        "smolm2": (ConfigurationError, "did you mean smollm2"),
    }
    for name, (kind, message) in wanted.items():
        with pytest.raises(kind, match=message) as caught:
            load_model(name)
        assert "\n" not in str(caught.value)


def test_a_prepared_folder_is_whole_or_absent(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise MissingInputError("the weights ran out")

    def make(folder: Path) -> None:
        (folder / "whole").write_text("whole")

    def make_again(folder: Path) -> None:
        raise AssertionError("made twice")

    place = tmp_path / "cache" / "model"
    with pytest.raises(MissingInputError):
        prepare_once(place, fail)
    assert not place.exists()
    assert (prepare_once(place, make) / "whole").read_text() == "whole"
    assert prepare_once(place, make_again) == place
    assert [path.name for path in place.parent.iterdir() if path.is_dir()] == ["model"]


def test_new_adapters_change_nothing_and_depend_on_seed_and_place_only() -> None:
    first, second = twins()
    assert torch.equal(logits(first), logits(tiny_model()))
    again, _ = twins()
    other, _ = attach_lora(tiny_model(), LORA, ["x.1", "x.2"], seed=1)

    def start(view: AdapterModel) -> torch.Tensor:
        return torch.cat([tensor.flatten() for name, tensor in sorted(view.adapter_weights().items()) if "_A" in name])

    assert torch.equal(start(first), start(again))
    assert not torch.equal(start(first), start(second))
    assert not torch.equal(start(first), start(other))


def test_attaching_adapters_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    twins()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_training_one_twin_moves_it_alone(beta: float) -> None:
    first, second = twins()
    before = logits(tiny_model())
    settings = UpdateSettings(adapter="lora", lora_rank=4, learning_rate=1e-2, warmup_steps=0, beta=beta)
    train_a_little(first, settings)
    assert torch.equal(logits(second), before)
    after = logits(first)
    assert not torch.allclose(after, before)
    train_a_little(second, settings)
    assert torch.equal(logits(first), after)
    assert not torch.allclose(logits(second), before)
    with first.disable_adapter():
        assert torch.equal(logits(first), before)
    assert torch.equal(logits(first), after)


def test_twins_learn_what_a_model_of_their_own_learns() -> None:
    (alone,) = attach_lora(tiny_model(), LORA, ["x"])
    first, second = twins()
    train_a_little(alone)
    train_a_little(first)
    train_a_little(second)
    assert torch.equal(logits(first), logits(alone))


def test_twins_share_the_memory_of_one_base(folder: Path) -> None:
    first, second = load_with_adapters([str(folder)] * 2, ["tiny.1", "tiny.2"], LORA)

    def places(model: Any, trained: bool) -> set[int]:
        return {weight.data_ptr() for weight in model.parameters() if weight.requires_grad is trained}

    assert places(first.model, False) == places(second.model, False)
    assert not places(first.model, True) & places(second.model, True)


@pytest.mark.parametrize("make", [tiny_model, lambda: twins()[1]], ids=["full", "adapter"])
def test_saved_weights_come_back_bit_for_bit_and_in_place(make: Callable[[], Any], tmp_path: Path) -> None:
    model, fresh = make(), make()
    with torch.no_grad():
        for index, weight in enumerate(model.parameters()):
            if weight.requires_grad:
                weight += 0.01 * (index + 1) * torch.sin(torch.arange(weight.numel())).view_as(weight)
    save_weights(model, tmp_path)
    kept = [weight.data_ptr() for weight in fresh.parameters()]
    load_weights(fresh, tmp_path)
    assert [weight.data_ptr() for weight in fresh.parameters()] == kept
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), fresh.parameters(), strict=True))


def test_an_adapter_is_saved_without_its_base_and_fits_any_seat(tmp_path: Path) -> None:
    first, second = twins()
    train_a_little(first)
    save_weights(first, tmp_path)
    (path,) = tmp_path.iterdir()
    assert all("lora_" in name for name in load_file(path))
    load_weights(second, tmp_path)
    assert torch.equal(logits(second), logits(first))


def test_weights_of_another_shape_or_torn_files_are_refused(tmp_path: Path) -> None:
    save_weights(tiny_model(hidden=64), tmp_path)
    with pytest.raises(StoreError, match="does not hold the weights"):
        load_weights(tiny_model(), tmp_path)
    with pytest.raises(StoreError, match="does not hold the weights"):
        load_weights(twins()[0], tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match="does not hold the weights"):
        load_weights(tiny_model(), tmp_path)
