"""Folders for others: what transformers reads otherwise is refused, and what it refuses to write is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from exportable_trials import logits
from tiny_models import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilr_bench.core.errors import MissingInputError, StoreError
from ilr_bench.models.export import check_folder, hub_name, weight_digests, write_model
from ilr_bench.models.loading import LoadedModel, load_model


def loaded(kind: str = "llama") -> LoadedModel:
    return LoadedModel(tiny_model(kind), tiny_tokenizer(), (1, 2), 3, Path(), "fingerprint")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hub"),
    [("A", False), ("smollm2", False), ("/a/b", False), ("models/one.gguf", False), ("owner/model", True)],
)
def test_hub_names_are_told_from_folders_and_files(name: str, hub: bool) -> None:
    assert hub_name(name) == (name if hub else None)


def test_a_folder_of_that_name_is_no_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("owner/model").mkdir(parents=True)
    assert hub_name("owner/model") is None


def test_digests_tell_one_bit() -> None:
    model = tiny_model()
    before = weight_digests(model)
    with torch.no_grad():
        model.lm_head.weight.view(torch.int32)[3, 2] ^= 1
    assert [name for name, found in weight_digests(model).items() if found != before[name]] == ["lm_head.weight"]


def test_all_end_tokens_are_written_and_nothing_of_this_machine(tmp_path: Path) -> None:
    write_model(loaded(), tmp_path, "base")
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == ([1, 2], 3)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.eos_token_id == [1, 2]
    assert "local_files_only" not in (tmp_path / "tokenizer_config.json").read_text()


def test_a_temperature_without_sampling_is_no_obstacle(tmp_path: Path) -> None:
    one = loaded()
    one.model.generation_config.temperature, one.model.generation_config.do_sample = 0.6, False
    check_folder(tmp_path, write_model(one, tmp_path, "base"), one.tokenizer)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert (generation["temperature"], generation["do_sample"]) == (0.6, True)


def test_a_tokenizer_that_transformers_would_replace_is_refused(tmp_path: Path) -> None:
    one = loaded("qwen2")
    weights = write_model(one, tmp_path, "base")
    with pytest.raises(StoreError, match="as a Qwen2Tokenizer, which gives other ids"):
        check_folder(tmp_path, weights, one.tokenizer)


def test_another_chat_template_is_noticed(tmp_path: Path) -> None:
    one = loaded()
    weights = write_model(one, tmp_path, "base")
    template = tmp_path / "chat_template.jinja"
    template.write_text(template.read_text().replace("<start>", "<end>"))
    with pytest.raises(StoreError, match="gives other ids"):
        check_folder(tmp_path, weights, one.tokenizer)


@pytest.mark.slow
def test_a_model_from_a_gguf_file_comes_out_as_it_is_here(tmp_path: Path) -> None:
    try:
        one = load_model("smollm2", "cpu")
    except MissingInputError as error:
        pytest.skip(str(error))
    check_folder(tmp_path, write_model(one, tmp_path, "base"), one.tokenizer)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(one.model))
    text = "12  345 and 6789"
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == one.tokenizer(text)["input_ids"]
    assert "quantization_config" not in (tmp_path / "config.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B"])
def test_micro_models_come_out_as_they_are(name: str, tmp_path: Path) -> None:
    one = load_model(name, "cpu")
    check_folder(tmp_path, write_model(one, tmp_path, "base"), one.tokenizer)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(one.model))
