"""Where models come from: each entry prepares an ordinary folder of safetensors once, then it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ilr_bench.core.errors import IlrError
from ilr_bench.core.registry import Registry
from ilr_bench.models.prepared import prepare_once


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be named in a configuration."""

    name: str
    summary: str
    source: str
    """Where its weights come from."""
    licence: str
    fingerprint: Callable[[], str]
    """Content hash of everything that determines the weights and the tokenizer; needs no weights."""
    folder: Callable[[], Path]
    """Where it lies once it is prepared; asking makes nothing."""
    make: Callable[[Path], None]
    """Fills an empty folder with model and tokenizer (`from_pretrained` reads both); raises MissingInputError
    where they cannot be had."""
    require: Callable[[], None] = lambda: None
    """Raises IlrError where something has to be installed or accepted first; asked on every use."""

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
        """The model's folder, made if it is not there: whole, and by one process while the others wait."""
        self.require()
        return prepare_once(self.folder(), self.make)


MODELS: Registry[ModelEntry] = Registry(
    "model", modules=("ilr_bench.models.micro.recipes", "ilr_bench.models.sources"), group="ilr_bench.models"
)


def cache_folder() -> Path:
    """Where prepared models are kept: `ILR_BENCH_CACHE`, else `ilr_bench` in the user's cache folder."""
    configured = os.environ.get("ILR_BENCH_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ilr_bench"
