"""From a model's name to weights and tokenizer in memory: registered models, folders, GGUF files, hub names.

`AutoTokenizer` rebuilds the pre-tokenizer of some architectures without notice, which changes token ids; so a saved
tokenizer is read by the plain class, and its ids are compared with those that it gave when it was saved.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import ConfigurationError, MissingInputError, StoreError, first_line
from ilr_bench.core.plugins import model_source
from ilr_bench.models.catalogue import CONTENT, MODELS, conversion, model_files, prepare_once
from ilr_bench.models.gguf import convert_gguf
from ilr_bench.models.lora import AdapterModel, attach_lora
from ilr_bench.storage.files import cache_folder, explained, file_hash, read_json

CHECK_FILE = "tokenizer_check.json"
PROBES = (
    "3 + 14 = 17",
    "  two spaces  12 and\ttabs\n\nlines\n",
    "a) b) 007 1,234.5 $9.99 50%",
    "The answer is \\boxed{\\frac{1}{2}}. It's done!",
    "if x:\n    return x*2-1",
    "ä ß 数 😀",
)
"""Texts on which pre-tokenizers are known to differ: digits, runs of spaces, punctuation, other scripts."""


def write_check(tokenizer: Any, folder: Path) -> None:
    """Writes the ids of some texts beside a saved tokenizer, for `load_tokenizer` to compare."""
    ids = {text: _token_ids(tokenizer, text) for text in PROBES}
    (folder / CHECK_FILE).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer saved in a folder; raises StoreError where it does not give the ids it was saved with.

    Code that comes with a model is never run, here or anywhere, and nobody is asked whether it should be.
    """
    saved = folder / "tokenizer.json"
    if not saved.exists():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    noted = folder / CHECK_FILE
    if noted.exists():
        expected: dict[str, list[int]] = read_json(noted, "delete the folder and prepare it again")
    else:
        pipeline = Tokenizer.from_file(str(saved))
        expected = {text: pipeline.encode(text, add_special_tokens=False).ids for text in PROBES}
    for text, ids in expected.items():
        if _token_ids(tokenizer, text) != ids:
            raise StoreError(
                f"the tokenizer in {folder} gives other ids for {text!r} than when it was saved; "
                "delete the folder and prepare it again"
            )
    return tokenizer


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


_FULL, _ADAPTER = "model.safetensors", "adapter_model.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in memory, with its tokenizer and end tokens."""

    model: Any
    """transformers model or `AdapterModel`, fp32 weights, in eval mode."""
    tokenizer: Any
    end_ids: tuple[int, ...]
    """Tokens that end a turn, ascending."""
    pad_id: int
    folder: Path
    fingerprint: str
    """Hash of all that determines weights and tokenizer."""


def computing_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(name_or_path: str, device: str | None = None) -> LoadedModel:
    """A registered model, a local folder, a `.gguf` file or a hub name such as `owner/model`.

    `device`: of its weights, `computing_device()` unless given. Raises MissingInputError where it cannot be loaded,
    ConfigurationError for a name that is none of these.
    """
    folder, fingerprint = locate(name_or_path)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False
        )
        tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, RecursionError) as error:
        message = f"{folder} holds no causal language model that can be read: {first_line(error)}"
        raise MissingInputError(message) from error
    model.config.use_cache = True
    model.eval().to(device or computing_device())
    ends = end_tokens(model.generation_config, model.config, tokenizer, folder)
    pad_id = min(ends) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return LoadedModel(model, tokenizer, ends, pad_id, folder, fingerprint)


def load_with_adapters(
    models: Sequence[str], names: Sequence[str], settings: UpdateSettings, seed: int = 0, device: str | None = None
) -> list[LoadedModel]:
    """The agents' models with a LoRA adapter each; agents of the same model are adapters on one base in memory."""
    loaded: dict[int, LoadedModel] = {}
    for model in dict.fromkeys(models):
        indices = [index for index, other in enumerate(models) if other == model]
        base = load_model(model, device)
        views = attach_lora(base.model, settings, [names[index] for index in indices], seed)
        loaded |= {index: dataclasses.replace(base, model=view) for index, view in zip(indices, views, strict=True)}
    return [loaded[index] for index in range(len(models))]


def save_weights(model: Any, folder: Path) -> None:
    """Saves what training changed, bit for bit: a full model's weights, or one adapter's.

    Raises StoreError where the disk is full or cannot be written.
    """
    with explained(folder):
        if isinstance(model, AdapterModel):
            weights = {name: tensor.contiguous() for name, tensor in sorted(model.adapter_weights().items())}
            safetensors.torch.save_file(weights, folder / _ADAPTER)
        else:
            safetensors.torch.save_model(model, str(folder / _FULL))


def save_tensors(data: Any, path: Path) -> None:
    """`torch.save`, with the same bytes wherever the file lies.

    The archive holds the file's name, but where the path is not ASCII another one: there the folder is written
    through a link.
    """
    if str(path).isascii():
        torch.save(data, path)
        return
    place = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(dir=place if place.isascii() else "/tmp") as shelter:
        link = Path(shelter) / "folder"
        link.symlink_to(path.parent.absolute())
        torch.save(data, link / path.name)


def load_weights(model: Any, folder: Path) -> None:
    """Copies saved weights into a model of the same shape, in place, so that optimizers keep their parameters.

    Raises StoreError where the folder holds other weights.
    """
    path = folder / (_ADAPTER if isinstance(model, AdapterModel) else _FULL)
    try:
        if isinstance(model, AdapterModel):
            _copy_into(model.adapter_weights(), safetensors.torch.load_file(path))
        else:
            safetensors.torch.load_model(model, str(path), device=str(model.device))
    except (FileNotFoundError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise StoreError(f"{path} does not hold the weights of this model: {first_line(error)}") from error


def save_prepared(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes an ordinary model folder for `from_pretrained`, with `write_check` of the tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_check(tokenizer, folder)


def folder_hash(folder: Path) -> str:
    """First 12 hexadecimal digits of the SHA-256 over the names and contents of a model's files."""
    text = "".join(f"{name} {found}\n" for name, found in model_files(folder).items())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def locate(name_or_path: str) -> tuple[Path, str]:
    """The prepared folder of a name or path, and the fingerprint of its content; raises as `load_model`."""
    name_or_path = model_source(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path, folder_hash(path)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise MissingInputError(f"no GGUF file at {path}; name an existing file")
        key = f"gguf-{file_hash(path)[:12]}-{conversion()}"
        prepared = cache_folder() / "models" / key
        return prepare_once(prepared, lambda folder: save_prepared(*convert_gguf(path), folder)), key
    if name_or_path.count("/") == 1 and name_or_path not in MODELS:
        folder = hub_folder(name_or_path)
        return folder, folder_hash(folder)
    entry = MODELS.get(name_or_path)
    return entry.prepare(), entry.fingerprint()


def hub_folder(name: str, patterns: Sequence[str] = CONTENT, ignored: Sequence[str] = ()) -> Path:
    """The folder with a hub model's files of some patterns, without `ignored`.

    Raises MissingInputError where it cannot be had.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=list(ignored)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise MissingInputError(
            f"model {name} is neither a folder here nor to be had from the hub ({first_line(error)}); "
            "connect to the hub, or download it elsewhere and give the folder's path"
        ) from error


def _copy_into(targets: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    if targets.keys() != saved.keys():
        raise KeyError(f"{len(targets.keys() ^ saved.keys())} tensors are missing or unknown")
    with torch.no_grad():
        for name, tensor in targets.items():
            if tensor.shape != saved[name].shape:
                raise RuntimeError(f"{name} has shape {tuple(saved[name].shape)}, not {tuple(tensor.shape)}")
            tensor.copy_(saved[name])


def end_tokens(generation: Any, config: Any, tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """Tokens that end a turn, ascending: all that the files of a model name.

    Raises ConfigurationError where they name none.
    """
    ends = _ids(generation.eos_token_id) | _ids(config.eos_token_id) | _ids(tokenizer.eos_token_id)
    if not ends:
        raise ConfigurationError(f"{folder}: no end token in config.json, generation_config.json or the tokenizer")
    return tuple(sorted(ends))


def _ids(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else set(value)
