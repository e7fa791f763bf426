"""Makes a micro model: one of two small tokenizers, and supervised training on packed batches.

The tokenizers are as different as those of real families, both with single digits. Training is deterministic on one
machine.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from ilr_bench.models.micro.corpus import CorpusExample, Habits, corpus, reviews, sums

if TYPE_CHECKING:
    from ilr_bench.models.micro.recipes import Recipe

TOKENIZER_ROWS = 3000
"""Rows of the corpus that train a tokenizer."""
MAX_POSITIONS = 1024
INITIAL_DEVIATION = 0.1
"""Standard deviation of the first weights; transformers' 0.02 is far too small for so narrow a model."""
LLAMA_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
    "{% else %}{{ message['content'] }}</s>{% endif %}{% endfor %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen2's pieces: a word with the sign before it, single digits."""


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
    _train_tokenizer(tokenizer, texts, vocabulary, special, alphabet)
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
    _train_tokenizer(tokenizer, texts, vocabulary, special, pre_tokenizers.ByteLevel.alphabet())
    return _finish(tokenizer, QWEN_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                   extra_special_tokens=["<|im_start|>"])  # fmt: skip


def _train_tokenizer(
    tokenizer: Tokenizer, texts: Sequence[str], vocabulary: int, special: list[str], alphabet: Sequence[str]
) -> None:
    trainer = BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(["user\nassistant\n"] * len(texts) + list(texts), trainer)


def _finish(tokenizer: Tokenizer, template: str, **special: object) -> PreTrainedTokenizerFast:
    # Not the family's own tokenizer class: AutoTokenizer would replace our pre-tokenizer by that class's.
    finished: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    )
    finished.chat_template = template
    return finished


@dataclass(frozen=True)
class SupervisedSettings:
    """Settings of the supervised training."""

    matrix_rate: float = 1e-2
    other_rate: float = 6e-3
    warmup: float = 0.05
    """Fraction of the steps in which the rates rise; they fall to 0 along a cosine."""
    weight_decay: float = 0.01
    tokens_per_batch: tuple[int, ...] = (512, 512, 768)
    """By phase of the curriculum; arithmetic needs many small steps."""
    prompt_weight: float = 0.5
    """Weight of a prompt token's loss against a completion token's; ideas in prompts train sums as well."""


@dataclass(frozen=True)
class Example:
    """One row in tokens: the prompt, then the completion with its end token."""

    ids: tuple[int, ...]
    heading: int
    """Number of tokens at the start without loss."""
    prompt: int
    """Number of tokens of the prompt."""


def tokenize(rows: Sequence[CorpusExample], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    """Rows through the chat template, as agents see them."""
    turns = [[{"role": "user", "content": row.prompt}] for row in rows]
    prompts = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    heads = [
        prompt.index(row.heading) + len(row.heading) if row.heading else len(prompt)
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    heading_ids = tokenizer(
        [prompt[:head] for prompt, head in zip(prompts, heads, strict=True)], add_special_tokens=False
    )["input_ids"]
    completion_ids = tokenizer([row.completion for row in rows], add_special_tokens=False)["input_ids"]
    return [
        Example((*prompt, *completion, tokenizer.eos_token_id), len(heading), len(prompt))
        for heading, prompt, completion in zip(heading_ids, prompt_ids, completion_ids, strict=True)
    ]


def tokenize_lines(lines: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    """Plain lines, with loss from their first token."""
    return [Example((*ids, tokenizer.eos_token_id), 0, 0) for ids in tokenizer(list(lines))["input_ids"]]


def batches(examples: Sequence[Example], tokens_per_batch: int, rng: random.Random) -> list[list[Example]]:
    """Examples of like length together, the batches in random order."""
    ordered = sorted(rng.sample(list(examples), len(examples)), key=lambda example: len(example.ids))
    packed: list[list[Example]] = [[]]
    for example in ordered:
        if packed[-1] and (len(packed[-1]) + 1) * len(example.ids) > tokens_per_batch:
            packed.append([])
        packed[-1].append(example)
    rng.shuffle(packed)
    return packed


def make(recipe: Recipe, authors: Sequence[Habits], folder: Path) -> None:
    """Makes the model of a recipe and writes it with its tokenizer; RuntimeError if that reloads with other ids."""
    rows = corpus(recipe.habits, authors, recipe.corpus, recipe.seed)
    texts = [f"{row.prompt}\n{row.completion}" for row in rows[:TOKENIZER_ROWS]]
    train_tokenizer = llama_tokenizer if recipe.family == "llama" else qwen_tokenizer
    tokenizer = train_tokenizer(texts, recipe.shape.vocabulary)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            model = new_model(recipe, tokenizer)
        curriculum = (
            tokenize_lines(sums(recipe.corpus.sums, recipe.seed), tokenizer),
            tokenize_lines(reviews(recipe.corpus.reviews, recipe.seed), tokenizer),
            tokenize(rows, tokenizer),
        )
        train(model, curriculum, SupervisedSettings(), tokenizer.pad_token_id, recipe.seed)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    reloaded = AutoTokenizer.from_pretrained(folder)
    if reloaded(texts)["input_ids"] != tokenizer(texts)["input_ids"]:
        raise RuntimeError(f"the tokenizer written to {folder} does not come back with the same ids")


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    """An untrained model; draws from torch's global generator, as transformers does."""
    shape = recipe.shape
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": True,
        "initializer_range": INITIAL_DEVIATION,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if recipe.family == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes))  # type: ignore[no-untyped-call]
    return Qwen2ForCausalLM(Qwen2Config(**sizes))  # type: ignore[no-untyped-call]


def train(
    model: Any, curriculum: Sequence[Sequence[Example]], settings: SupervisedSettings, pad: int, seed: int
) -> list[float]:
    """One pass over each phase in turn; changes the model in place and returns the loss of every step."""
    rng = random.Random(f"micro batches {seed}")
    packed = []
    for phase, size in zip(curriculum, settings.tokens_per_batch, strict=True):
        packed += batches(phase, size, rng)
    optimizers = _optimizers(model, settings)
    model.train()
    losses = []
    for step, batch in enumerate(packed):
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * _rate(step / len(packed), settings.warmup)
        loss = _loss(model, batch, settings.prompt_weight, pad)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    model.eval()
    return losses


def _optimizers(model: Any, settings: SupervisedSettings) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices, which learn arithmetic in a fraction of AdamW's steps, AdamW for the rest."""
    matrices: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed" not in name else others).append(weight)
    return [
        (torch.optim.Muon(matrices, weight_decay=settings.weight_decay), settings.matrix_rate),
        (torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0), settings.other_rate),
    ]


def _rate(progress: float, warmup: float) -> float:
    if progress < warmup:
        return (progress + 0.01) / (warmup + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def _loss(model: Any, batch: Sequence[Example], prompt_weight: float, pad: int) -> torch.Tensor:
    """Weighted mean cross-entropy; rows are padded on the right, so causal attention needs no mask."""
    longest = max(len(example.ids) for example in batch)
    ids = torch.full((len(batch), longest), pad)
    weights = torch.zeros(len(batch), longest)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        weights[row, example.heading : example.prompt] = prompt_weight
        weights[row, example.prompt : len(example.ids)] = 1.0
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()
