"""How large a model is, from its config.json or from a table of facts; no weights are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilr_bench.generation.engine import PLAIN_HEADS
from ilr_bench.models.catalogue import MODELS


@dataclass(frozen=True)
class Architecture:
    """The numbers of a decoder with gated layers (Llama, Qwen2 and their kin) that its costs follow from."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether input and output embeddings are the same weights."""
    biased: bool = False
    """Whether the projections to queries, keys and values have biases, as in Qwen2."""
    plain_head: bool = True
    """Whether its logits are its last linear layer's output and nothing else (`ilr_bench.generation.engine`)."""

    @property
    def query_size(self) -> int:
        """Width of all queries of a layer together."""
        return self.heads * self.head_size

    @property
    def key_size(self) -> int:
        """Width of all keys of a layer together; values are as wide."""
        return self.key_heads * self.head_size

    @property
    def parameters(self) -> int:
        """All weights. Exact for Llama and Qwen2; other families have a few norms more."""
        attention = 2 * self.hidden * (self.query_size + self.key_size)
        biases = (self.query_size + 2 * self.key_size) if self.biased else 0
        layer = attention + biases + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.embeddings * (1 if self.tied else 2) + self.hidden

    @property
    def embeddings(self) -> int:
        """Weights of one table of embeddings."""
        return self.vocabulary * self.hidden

    def lora_parameters(self, rank: int) -> int:
        """Weights of one adapter on every linear layer of the blocks."""
        ends = 2 * (self.hidden + self.query_size) + 2 * (self.hidden + self.key_size)
        return self.layers * rank * (ends + 3 * (self.hidden + self.intermediate))


FACTS = {
    "meta-llama/Llama-3.1-8B-Instruct": Architecture(4096, 32, 32, 8, 128, 14_336, 128_256, tied=False),
    "Qwen/Qwen2.5-7B-Instruct": Architecture(3584, 28, 28, 4, 128, 18_944, 152_064, tied=False, biased=True),
    "Qwen/Qwen2.5-14B-Instruct": Architecture(5120, 48, 40, 8, 128, 13_824, 152_064, tied=False, biased=True),
    "smollm2": Architecture(576, 30, 9, 3, 64, 1536, 49_152, tied=True),
    "gemma3-270m": Architecture(640, 18, 4, 1, 256, 2048, 262_144, tied=True, plain_head=False),
}
"""Models that can be priced before they are here, from the config.json that their publishers give."""


def architecture(model: str) -> Architecture | None:
    """The architecture behind a model's name or folder; None where nothing about it is here."""
    path = Path(model).expanduser()
    if path.is_dir():
        return _read(path / "config.json")
    if model in FACTS:
        return FACTS[model]
    # Brings numpy, which `--help` has no use for.
    from ilr_bench.models.micro.recipes import RECIPES

    if model in RECIPES:
        shape = RECIPES[model].shape
        size = shape.hidden // shape.heads
        biased = RECIPES[model].family == "qwen2"
        return Architecture(
            shape.hidden,
            shape.layers,
            shape.heads,
            shape.heads,
            size,
            shape.intermediate,
            shape.vocabulary,
            True,
            biased,
        )
    if model in MODELS:
        return _read(MODELS.get(model).folder() / "config.json")
    return _downloaded(model)


def from_config(config: Mapping[str, Any]) -> Architecture | None:
    """From the content of a config.json; None where it describes another kind of model."""
    config = config.get("text_config", config)
    try:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return Architecture(
            hidden=hidden,
            layers=config["num_hidden_layers"],
            heads=heads,
            key_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or hidden // heads,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
            biased=config.get("model_type") == "qwen2" or bool(config.get("attention_bias")),
            plain_head=config.get("model_type") in PLAIN_HEADS,
        )
    except (KeyError, TypeError):
        return None


def _read(path: Path) -> Architecture | None:
    try:
        return from_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _downloaded(model: str) -> Architecture | None:
    if model.count("/") != 1:
        return None
    # Takes a moment to import, and registered models need none of it.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json")
    return _read(Path(found)) if isinstance(found, str) else None
