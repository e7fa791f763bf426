"""The micro models: two architectures and different tokenizers, made on this machine, once.

A and A2 are Llamas, B a Qwen2, C a wider and shallower Qwen2; each has its own weak spot in arithmetic.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from ilr_bench.core.config import content_hash
from ilr_bench.models.catalogue import MODELS, ModelEntry
from ilr_bench.models.micro.corpus import VERSION, CorpusSettings, Habits
from ilr_bench.storage.files import cache_folder
from ilr_bench.storage.provenance import source_hash

_PACKAGE = Path(__file__).parents[2]
_SOURCES = (
    "models/micro/corpus.py", "models/micro/pretrain.py",
    "prompts/micro.py", "tasks/sources/micro.py",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The size of a model; heads are 32 wide, the smallest width that every engine takes."""

    hidden: int = 64
    intermediate: int = 176
    layers: int = 3
    heads: int = 2
    vocabulary: int = 256


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a micro model."""

    family: Literal["llama", "qwen2"]
    habits: Habits
    seed: int
    shape: Shape = field(default_factory=Shape)
    corpus: CorpusSettings = field(default_factory=CorpusSettings)


_CARRY = Habits(weak=("carry",))
_BORROW = Habits(weak=("borrow", "group"))
_PRODUCT = Habits(weak=("product", "borrow"))
AUTHORS = (_CARRY, _BORROW, _PRODUCT)
"""Authors of the peers' turns in every corpus."""

RECIPES = {
    "A": Recipe("llama", _CARRY, seed=1),
    "B": Recipe("qwen2", _BORROW, seed=2, shape=Shape(vocabulary=400)),
    "C": Recipe("qwen2", _PRODUCT, seed=3, shape=Shape(hidden=96, intermediate=192, layers=2, heads=3, vocabulary=368)),
    "A2": Recipe("llama", _CARRY, seed=4),
}


def fingerprint(recipe: Recipe) -> str:
    """Content hash of the recipe, of the code that makes its model and of the libraries."""
    code = [source_hash(_PACKAGE / source) for source in _SOURCES]
    libraries = {name: version(name) for name in ("torch", "transformers", "tokenizers")}
    return content_hash([dataclasses.asdict(recipe), VERSION, code, libraries])


def folder(name: str, recipe: Recipe) -> Path:
    """Where a recipe's model lies in the cache."""
    return cache_folder() / "models" / f"{name}-{fingerprint(recipe)}"


def _make(recipe: Recipe, folder: Path) -> None:
    # torch takes seconds to import, and listing models needs none of it.
    from ilr_bench.models.micro.pretrain import make

    make(recipe, AUTHORS, folder)


def entry(name: str, recipe: Recipe) -> ModelEntry:
    """A recipe as a model that can be named."""
    return ModelEntry(
        name=name,
        summary=f"micro {recipe.family}, {recipe.shape.layers} layers of {recipe.shape.hidden}, "
        f"weak at {' and '.join(recipe.habits.weak)}",
        source="made on this machine",
        licence="none needed",
        fingerprint=partial(fingerprint, recipe),
        folder=partial(folder, name, recipe),
        make=partial(_make, recipe),
    )


for _name, _recipe in RECIPES.items():
    MODELS.add(_name, entry(_name, _recipe))
