"""A model of SmolLM2's shape with random weights, for machines that lack the real ones."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bench.shapes import SIZES, make_model
from ilr_bench.models.loading import save_prepared

SETTINGS = {"sampling.max_prompt_tokens": "3000", "update.beta": "0.04"}
"""Its tokens are characters, so prompts are long; it is never right, and with a KL term its turns are trained all the
same."""


def prepared(folder: Path, size: str) -> Path:
    """The folder, with model and tokenizer in it."""
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_prepared(make_model(size), tokenizer(SIZES[size].vocabulary), folder)
    return folder


def tokenizer(vocabulary: int) -> Any:
    """A token for every printable character as far as the vocabulary goes; the other tokens are words."""
    words = ["<pad>", "<end>", "<unk>", "\n", *string.printable[:95]]
    words += [f" word{index}" for index in range(len(words), vocabulary)]
    known = {word: index for index, word in enumerate(words[:vocabulary])}
    backend = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
