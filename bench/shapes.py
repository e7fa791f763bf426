"""Models of stated sizes with random weights, and a tokenizer in which every token is a word.

Speed does not depend on the weights' values. Text of such a tokenizer comes back as the tokens it was made of, so that
a turn of one agent is as long for another, and a library that wants text gets the very same prompts.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from ilr_bench.study.cost.memory import FACTS, Architecture

PAD, END, UNKNOWN = 0, 1, 2
SIZES = {
    "tiny": Architecture(32, 2, 2, 1, 16, 64, 64, tied=True),
    "micro": Architecture(64, 3, 2, 2, 32, 192, 128, tied=False),
    "26M": Architecture(512, 7, 8, 8, 64, 1408, 8192, tied=True),
    "135M": FACTS["smollm2"],
    "0.5B": Architecture(896, 24, 14, 2, 64, 4864, 151_936, tied=True, biased=True),
    "1B": Architecture(2048, 16, 32, 8, 64, 8192, 128_256, tied=True),
    "8B": FACTS["meta-llama/Llama-3.1-8B-Instruct"],
}
"""135M has the shape of SmolLM2-135M, 0.5B that of Qwen2.5-0.5B, 1B that of Llama-3.2-1B, 8B that of Llama-3.1-8B."""


def make_model(size: str, seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """A Llama (Qwen2 where the shape has biases) with random weights, drawn on the device, in evaluation mode."""
    shape = SIZES[size]
    settings: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": shape.tied,
        "pad_token_id": PAD,
        "bos_token_id": None,
        "eos_token_id": END,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = (Qwen2Config if shape.biased else LlamaConfig)(**settings)
        with torch.device(device):  # a large one takes minutes to draw on a CPU
            model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return model.eval()


def make_tokenizer(size: str) -> Any:
    """Words w3, w4, ... up to the vocabulary's end; every other word is unknown."""
    words = {"<pad>": PAD, "<end>": END, "<unk>": UNKNOWN}
    words |= {f"w{number}": number for number in range(len(words), SIZES[size].vocabulary)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>"
    )
