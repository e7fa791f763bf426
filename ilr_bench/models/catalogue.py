"""The models that can be named, their licences, and the cache in which they are prepared once."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import ConfigurationError, IlrError, StoreError
from ilr_bench.core.registry import Registry
from ilr_bench.storage.files import cache_folder, digests, explained, file_hash, hold_lock, read_json, replace_folder
from ilr_bench.storage.provenance import plugin_hashes, source_hash

LISTING = "files.sha256"
"""Digests of a folder's files, as `sha256sum --check` reads them."""
_log = logging.getLogger(__name__)


def prepare_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` unless it is there: whole or absent, and made by one process at a time.

    One with files that have changed is logged and made anew. Raises StoreError where the disk is full or cannot be
    written.
    """

    def make_and_list(empty: Path) -> None:
        make(empty)
        listing = "".join(f"{digest}  {name}\n" for name, digest in digests(empty).items())
        (empty / LISTING).write_text(listing, encoding="utf-8")

    if is_whole(folder):
        return folder
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder.with_name(f".{folder.name}.lock")):
            if is_whole(folder):
                return folder
            if folder.exists():
                _log.warning("%s does not match its %s; it is made anew", folder, LISTING)
            replace_folder(folder, make_and_list)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a prepared folder is there with its files as they were made; without a list of them it is not known."""
    if not (folder / LISTING).is_file():
        return False
    lines = (folder / LISTING).read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {LISTING}
    return listed.keys() == names and all(file_hash(folder / name) == listed[name] for name in names)


@cache
def conversion() -> str:
    """Content hash of the conversion of GGUF files into model folders: our code and its libraries."""
    code = source_hash(Path(__file__).with_name("gguf.py"))
    libraries = {name: version(name) for name in ("torch", "transformers", "tokenizers", "gguf", "safetensors")}
    return content_hash([code, libraries])


CONTENT = ("*.safetensors", "*.bin", "*.json", "*.model", "*.txt", "*.tiktoken", "*.jinja")
"""Files of a model folder that decide what the model computes."""


def model_files(
    folder: Path, patterns: Sequence[str] = (*CONTENT, "additional_chat_templates/*.jinja")
) -> dict[str, str]:
    """Name -> SHA-256 of a model's files, by name; of an adapter's base, which lies elsewhere, as `base ...`."""
    files = {path.relative_to(folder).as_posix(): path for pattern in patterns for path in folder.glob(pattern)}
    found = {name: file_hash(files[name]) for name in sorted(files)}
    return found | (_base_files(folder, patterns) if _ADAPTER in files else {})


_ADAPTER = "adapter_config.json"
"""With this file in a folder transformers loads the weights that it names, and adds the folder's adapter."""


def _base_files(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    named = read_json(folder / _ADAPTER, "save the adapter again").get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        return {}
    base = Path(named)
    if not base.is_dir():
        revision = hub_revision(named) if named.count("/") == 1 and not base.is_absolute() else None
        return {"base revision": revision} if revision else {}
    if base.resolve() == folder.resolve() or (base / _ADAPTER).exists():
        raise StoreError(f"{folder / _ADAPTER} names {named} as its base, which is an adapter itself; merge them first")
    return {f"base {name}": found for name, found in model_files(base, patterns).items()}


def hub_revision(name: str) -> str | None:
    """The commit at which a model of the hub lies in the hub's own cache on this machine; None where it does not."""
    # Takes a moment to import, and most commands need none of it.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent.name if isinstance(found, str) else None


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be named in a configuration."""

    name: str
    summary: str
    source: str
    """Of its weights."""
    licence: str
    fingerprint: Callable[[], str]
    """Content hash of everything that determines the weights and the tokenizer; needs no weights."""
    folder: Callable[[], Path]
    """Where it is once it is prepared."""
    make: Callable[[Path], None]
    """Fills an empty folder with model and tokenizer for `from_pretrained`; raises MissingInputError."""
    require: Callable[[], None] = lambda: None
    """Raises IlrError where something has to be installed or accepted first; called on every use."""

    def state(self) -> str:
        """In a few words, whether it is prepared, or what it still needs."""
        if self.folder().exists():
            return "prepared"
        try:
            self.require()
        except IlrError as error:
            return str(error)
        return "prepared when first used"

    def prepare(self) -> Path:
        """The model's folder, made if it is not there; see `prepare_once`."""
        self.require()
        return prepare_once(self.folder(), self.make)


def model_of(name: str, found: Any) -> ModelEntry:
    """The model that an outside name stands for: a `ModelEntry`, or a function that fills an empty folder.

    A function's model is made again where the function's module changes. Raises ConfigurationError for anything else.
    """
    if isinstance(found, ModelEntry):
        return found
    if not callable(found) or isinstance(found, type):
        raise ConfigurationError(
            f"{name} is no model: name a ModelEntry, or a function that saves model and tokenizer into a folder"
        )
    module = found.__module__

    def fingerprint() -> str:
        return f"{name}-{content_hash(plugin_hashes(module))}"

    def folder() -> Path:
        return cache_folder() / "models" / fingerprint()

    summary = (inspect.getdoc(found) or "no docstring").split("\n", 1)[0]
    return ModelEntry(name, summary, "a function from outside", "not stated", fingerprint, folder, found)


MODELS: Registry[ModelEntry] = Registry(
    "model",
    modules=("ilr_bench.models.micro.recipes", "ilr_bench.models.sources"),
    group="ilr_bench.models",
    adapt=model_of,
)


VARIABLE = "ILR_BENCH_ACCEPT_LICENCE"
TERMS = {"gemma": "https://ai.google.dev/gemma/terms"}
"""Licences by the name under which they are accepted, and where their text is."""


def accept(names: Sequence[str] | None) -> None:
    """Notes accepted licences for this process and those that it starts; raises ConfigurationError for unknown ones."""
    for name in names or ():
        if name not in TERMS:
            raise ConfigurationError(f"--accept-licence {name}: known licences are {', '.join(TERMS)}")
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*_accepted(), *(names or ())]))


def require(name: str, what: str) -> None:
    """Raises ConfigurationError unless the licence of `what` was accepted."""
    if name not in _accepted():
        raise ConfigurationError(
            f"{what} is under terms of use that you have to accept: read {TERMS[name]}, "
            f"then add --accept-licence {name} (or set {VARIABLE}={name})"
        )


def _accepted() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


AcceptLicence = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-licence",
        help=f"A licence you have read and accept ({', '.join(TERMS)}); repeatable. {VARIABLE} does the same.",
    ),
]
"""The option of every command that loads models; hand its value to `accept`."""
