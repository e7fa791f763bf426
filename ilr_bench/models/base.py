"""Where models come from: each entry prepares an ordinary folder of safetensors once, then it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ilr_bench.registry import Registry


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be named in a configuration."""

    name: str
    summary: str
    fingerprint: Callable[[], str]
    """Content hash of everything that determines the weights and the tokenizer; needs no weights."""
    prepare: Callable[[], Path]
    """Folder with model and tokenizer (`from_pretrained` reads both), made once in the cache; idempotent,
    safe when several processes ask at once; raises MissingInputError where it cannot be had."""


MODELS: Registry[ModelEntry] = Registry(
    "model", modules=("ilr_bench.models.micro", "ilr_bench.models.packages"), group="ilr_bench.models"
)


def cache_folder() -> Path:
    """Where prepared models are kept: `ILR_BENCH_CACHE`, else `ilr_bench` in the user's cache folder."""
    configured = os.environ.get("ILR_BENCH_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ilr_bench"
