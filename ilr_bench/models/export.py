"""A model as an ordinary Hugging Face folder: written, read back as others would read it, and pushed to the hub.

Full models are whole folders; a LoRA adapter is PEFT's folder, which names its base model, unless it is merged into it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import safetensors.torch
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from peft import AutoPeftModelForCausalLM, PeftModel
from peft.utils import get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ilr_bench.core.errors import ConfigurationError, MissingInputError, StoreError, first_line
from ilr_bench.models.catalogue import MODELS, hub_revision
from ilr_bench.models.loading import PROBES, LoadedModel
from ilr_bench.models.lora import AdapterModel


def hub_name(model: str) -> str | None:
    """The model's name if it is one of the hub, None for folders, files and registered models."""
    path = Path(model).expanduser()
    named = model.count("/") == 1 and model not in MODELS and not path.is_dir() and path.suffix != ".gguf"
    return model if named else None


def write_model(loaded: LoadedModel, folder: Path, base: str, merge: bool = False) -> dict[str, str]:
    """Fills a folder with config, weights, tokenizer, chat template and generation config; `weight_digests` of it.

    An adapter's folder names `base` as its base model (a name of the hub, or a path), and is merged with it where
    `merge` says so, which changes `loaded`. Raises whatever the disk raises.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = loaded.model
    if merge and isinstance(model, AdapterModel):
        model = model.base.merge_and_unload(safe_merge=True, adapter_names=[model.adapter])
    generation = model.generation_config
    generation.eos_token_id = list(loaded.end_ids) if len(loaded.end_ids) > 1 else loaded.end_ids[0]
    generation.pad_token_id = loaded.pad_id
    try:
        generation.validate(strict=True)
    except ValueError:  # some published ones state a temperature without sampling, and are then not written
        generation.do_sample = True
    if isinstance(model, AdapterModel):
        _write_adapter(model, folder, base)
        generation.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    tokenizer = copy.copy(loaded.tokenizer)
    tokenizer.init_kwargs = {
        key: value for key, value in tokenizer.init_kwargs.items() if key not in ("is_local", "local_files_only")
    }
    tokenizer.save_pretrained(folder)
    return weight_digests(model)


def _write_adapter(model: AdapterModel, folder: Path, base: str) -> None:
    config = copy.copy(model.base.peft_config[model.adapter])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.revision = hub_revision(base) if hub_name(base) else None
    config.target_modules = sorted(config.target_modules)  # type: ignore[attr-defined]  # a set, in any order
    config.save_pretrained(str(folder))
    weights = {name: tensor.contiguous() for name, tensor in sorted(model.adapter_weights().items())}
    safetensors.torch.save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def weight_digests(model: Any) -> dict[str, str]:
    """Name -> SHA-256 of every tensor of a model; of one with adapters, of its adapter's."""
    if isinstance(model, AdapterModel):
        tensors = model.adapter_weights()
    else:
        tensors = get_peft_model_state_dict(model) if isinstance(model, PeftModel) else model.state_dict()
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data).hexdigest()
        for name, tensor in tensors.items()
    }


def check_folder(folder: Path, weights: Mapping[str, str], tokenizer: Any) -> None:
    """Reads a folder as anybody would, by transformers' and PEFT's automatic classes.

    Raises StoreError where they do not give the weights (`weight_digests`) or the tokens that are meant.
    """
    is_adapter = (folder / "adapter_config.json").exists()
    read: Any = AutoPeftModelForCausalLM if is_adapter else AutoModelForCausalLM
    try:
        found = weight_digests(read.from_pretrained(folder, trust_remote_code=False))
        reread = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"what was written for {folder.name} cannot be read again: {first_line(error)}") from error
    other = sorted(name for name in weights.keys() | found.keys() if weights.get(name) != found.get(name))
    if other:
        raise StoreError(f"{len(other)} tensors of {folder.name} are read other than they were written ({other[0]}...)")
    for text in PROBES:
        if _as_tokens(reread, text) != _as_tokens(tokenizer, text):
            raise StoreError(
                f"AutoTokenizer reads the tokenizer of {folder.name} as a {type(reread).__name__}, which gives other "
                f"ids for {text!r}: transformers has a tokenizer of its own for this kind of model, and no file can "
                "tell it to take another one; name the other agents with --agent"
            )


def _as_tokens(tokenizer: Any, text: str) -> tuple[list[int], str, str | None]:
    ids: list[int] = tokenizer(text)["input_ids"]
    turn = [{"role": "user", "content": text}]
    chat = tokenizer.chat_template is not None
    prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) if chat else None
    return ids, tokenizer.decode(ids), prompt


def check_push(names: Sequence[str]) -> None:
    """Raises ConfigurationError for names that no repository can have, MissingInputError where nobody is logged in."""
    for name in names:
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise ConfigurationError(f"--push: {first_line(error)}") from error
    with _understood("the hub is not asked"):
        HfApi().whoami()


def push_folder(folder: Path, name: str) -> str:
    """Uploads a folder as a model of the hub, private where the repository is new; returns its address.

    Raises MissingInputError where the hub refuses it or is not there.
    """
    with _understood(f"{folder} is whole, and was not pushed; `hf upload {name} {folder} --private` tries again"):
        address = HfApi().create_repo(name, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message="Upload by ilr-bench export")
    return str(address)


@contextmanager
def _understood(rest: str) -> Iterator[None]:
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise MissingInputError(f"no token of the hub: set HF_TOKEN, or run `hf auth login`; {rest}") from error
    except OfflineModeIsEnabled as error:
        raise MissingInputError(f"the hub is switched off here; unset HF_HUB_OFFLINE; {rest}") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        said = getattr(error, "server_message", None) or first_line(error)
        raise MissingInputError(f"{constants.ENDPOINT}: {said}; {rest}") from error
