"""Tiny models with random weights, and a tokenizer, made locally in milliseconds."""

from __future__ import annotations

from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

PAD, END, START, UNKNOWN = 0, 1, 2, 3
CHARACTERS = "0123456789+-*/=()., abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:?!'#_\n"
VOCABULARY = {"<pad>": PAD, "<end>": END, "<start>": START, "<unk>": UNKNOWN} | {
    character: place for place, character in enumerate(CHARACTERS, start=4)
}


def tiny_tokenizer() -> Any:
    """One token per character, with a chat template; pad 0, end 1."""
    backend = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", bos_token="<start>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<start>{{ message['content'] }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<start>{% endif %}"
    )
    return tokenizer


def tiny_model(
    kind: Literal["llama", "qwen2"] = "llama",
    *,
    vocabulary: int = len(VOCABULARY),
    layers: int = 2,
    seed: int = 0,
    hidden: int = 32,
    scale: float = 0.2,
) -> Any:
    """A causal language model with random weights of standard deviation `scale`, in evaluation mode.

    Two query heads per key head for Llama, biases in the projections for Qwen2.
    """
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": scale,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": START,
        "tie_word_embeddings": False,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "llama":
            return LlamaForCausalLM(LlamaConfig(num_key_value_heads=1, **shape)).eval()
        return Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=2, **shape)).eval()
