"""Two small tokenizers as different as those of real families, both with single digits."""

from __future__ import annotations

import string
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

LLAMA_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
    "{% else %}{{ message['content'] }}</s>{% endif %}{% endfor %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen2's pieces: a word takes the sign before it along, digits stand alone."""


def llama_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Characters and frequent pieces of words, spaces written as U+2581, `[INST]` around a user turn."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\\boxed\{|\d|\n| ?[^\sA-Za-z0-9\\{]"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]"]
    alphabet = [*(set(string.printable) - set(string.whitespace)), "\n", "▁"]
    _learn(tokenizer, texts, vocabulary, special, alphabet)
    return _finish(tokenizer, LLAMA_TEMPLATE, eos_token="</s>", pad_token="<pad>", bos_token="<s>", unk_token="<unk>",
                   extra_special_tokens=["[INST]", "[/INST]"])  # fmt: skip


def qwen_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Bytes and frequent pieces, ChatML around every turn."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    _learn(tokenizer, texts, vocabulary, special, pre_tokenizers.ByteLevel.alphabet())
    return _finish(tokenizer, QWEN_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                   extra_special_tokens=["<|im_start|>"])  # fmt: skip


def _learn(
    tokenizer: Tokenizer, texts: Sequence[str], vocabulary: int, special: list[str], alphabet: Sequence[str]
) -> None:
    trainer = BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(["user\nassistant\n"] * len(texts) + list(texts), trainer)


def _finish(tokenizer: Tokenizer, template: str, **special: object) -> PreTrainedTokenizerFast:
    # Not the family's own tokenizer class: AutoTokenizer would put that class's pre-tokenizer in place of ours.
    finished: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    )
    finished.chat_template = template
    return finished
