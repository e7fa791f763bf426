"""GGUF files as ordinary models: dequantised to fp32, with the tokenizer that the file means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ilr_bench.core.errors import MissingInputError


def convert_gguf(file: Path) -> tuple[Any, Any]:
    """Model and tokenizer of one file, ready for `save_pretrained`.

    Raises MissingInputError for a file that transformers cannot read.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise MissingInputError(f"{file} cannot be read as a GGUF model: {error}") from error
    _forget_quantisation(model)
    fields = GGUFReader(file).fields
    # Meant for WordPiece; on these tokenizers it would eat spaces when decoding.
    tokenizer.clean_up_tokenization_spaces = False
    _mend_special_tokens(tokenizer, fields)
    _mend_pre_tokenizer(tokenizer, fields)
    _mend_start_token(tokenizer, fields)
    return model, tokenizer


def _forget_quantisation(model: Any) -> None:
    # The weights are plain fp32 by now, but save_pretrained refuses a model that says it is quantised.
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if name in vars(model):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _mend_special_tokens(tokenizer: Any, fields: dict[str, Any]) -> None:
    # transformers 5.17 takes the end token of BPE files to be the start token.
    for kind, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        field = fields.get(f"tokenizer.ggml.{key}_token_id")
        if field is not None:
            setattr(tokenizer, f"{kind}_token", tokenizer.convert_ids_to_tokens(int(field.contents())))


def _mend_pre_tokenizer(tokenizer: Any, fields: dict[str, Any]) -> None:
    # The converter loses the rule by which SmolLM's tokenizers split digits.
    field = fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
            ]
        )


def _mend_start_token(tokenizer: Any, fields: dict[str, Any]) -> None:
    # The converter forgets that a file wants its start token before every text; Gemma is lost without it.
    field = fields.get("tokenizer.ggml.add_bos_token")
    if field is None or not field.contents():
        return
    start, number = tokenizer.bos_token, tokenizer.bos_token_id
    if tokenizer("1")["input_ids"][:1] != [number]:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", pair=f"{start} $A {start} $B:1", special_tokens=[(start, number)]
        )
