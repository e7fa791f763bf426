"""Attention for completions of one prompt: the prompt's keys and values are computed and kept once.

`encode` runs prompts through the model and keeps their keys and values; `Decoding` grows rows on top of them,
several per prompt, and no row holds a copy of its prompt. The result is that of an ordinary causal forward over
prompt and row together. Prompts are packed into one sequence in which a common beginning (system prompt, worked
examples) is computed once.

transformers lets a program register an attention function by name, and nothing else of it is used, so any causal
language model with rotary positions and plain softmax attention works.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from ilr_bench.core.errors import ConfigurationError

LEAST_SAVED = 256
"""Tokens; fewer are not worth the other last bits of a sequence of another length."""


@dataclass(frozen=True)
class PackedPrompts:
    """Some prompts packed into one sequence."""

    ids: tuple[int, ...]
    """The sequence."""
    positions: NDArray[np.int64]
    """(len(ids),) index of each token within its prompts."""
    places: NDArray[np.int64]
    """(prompts, longest) index in the sequence of each prompt's tokens; 0 on padding."""
    lengths: tuple[int, ...]
    """(prompts,)"""

    @property
    def saved_tokens(self) -> int:
        """Tokens of prompts less tokens of the sequence."""
        return sum(self.lengths) - len(self.ids)

    def first_use(self) -> NDArray[np.int64]:
        """(len(ids),) index in the flat table of prompts where each token of the sequence occurs first."""
        filled = np.flatnonzero(np.arange(self.places.shape[1])[None, :] < np.array(self.lengths)[:, None])
        return filled[np.unique(self.places.ravel()[filled], return_index=True)[1]]


def pack_prompts(prompts: Sequence[Sequence[int]]) -> PackedPrompts:
    """Packs common beginnings once, if that saves `LEAST_SAVED` tokens; else every prompt whole."""
    lengths = tuple(len(prompt) for prompt in prompts)
    known: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    for prompt in prompts:
        path = [-1]
        for position, token in enumerate(prompt):
            index = known.setdefault((path[-1], token), len(ids))
            if index == len(ids):
                ids.append(token)
                positions.append(position)
            path.append(index)
        paths.append(path[1:])
    if sum(lengths) - len(ids) < LEAST_SAVED:
        ends = np.cumsum(lengths)
        paths = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]
        ids = [token for prompt in prompts for token in prompt]
        positions = [position for length in lengths for position in range(length)]
    indices = np.zeros((len(prompts), max([1, *lengths])), dtype=np.int64)
    for row, path in zip(indices, paths, strict=True):
        row[: len(path)] = path
    return PackedPrompts(tuple(ids), np.array(positions, dtype=np.int64), indices, lengths)


def to_padded(part: Tensor, indices: Tensor) -> Tensor:
    """(1, heads, tokens, size) -> (sequences, heads, longest, size)."""
    tokens = part[0].transpose(0, 1).index_select(0, indices.flatten())
    return tokens.view(*indices.shape, *tokens.shape[1:]).transpose(1, 2)


def to_packed(tables: Sequence[Tensor], back: Tensor) -> Tensor:
    """The inverse of `to_padded`; `back`: index of each token in the tables, flat, one after the other."""
    flat = [part.transpose(1, 2).flatten(0, 1) for part in tables]
    return torch.cat(flat).index_select(0, back).transpose(0, 1)[None]


NAME = "ilr_bench_shared_prefix"
PROMPT_COST = 2
"""Rows that cost about as much as reading a prompt's keys once."""


class Attention(Protocol):
    """The attention of one forward pass, in each of its layers."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query: (rows, heads, tokens, size); key, value: (rows, key heads, tokens, size). Returns query's shape."""
        ...


@dataclass(frozen=True)
class Prefix:
    """Keys and values of some prompts, padded on the right."""

    keys: tuple[Tensor, ...]
    """Per layer (prompts, key heads, longest, size)."""
    values: tuple[Tensor, ...]
    bias: Tensor
    """(prompts, 1, 1, longest): 0 on a prompt's tokens, minus infinity on padding."""
    lengths: Tensor
    """(prompts,)"""

    def select(self, prompts: NDArray[np.int64]) -> Prefix:
        """The prefix of a list of groups, each given by its prompt's index."""
        if np.array_equal(prompts, np.arange(len(self.lengths))):
            return self
        indices = torch.from_numpy(prompts).to(self.lengths.device)
        keys, values = (tuple(layer[indices] for layer in layers) for layers in (self.keys, self.values))
        return Prefix(keys, values, self.bias[indices], self.lengths[indices])


class Encoding:
    """Causal attention that keeps the keys and values it sees."""

    def __init__(self, packed: PackedPrompts | None, device: torch.device) -> None:
        """packed: of prompts in one sequence; None where they are a padded table."""
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.places = None if packed is None else torch.from_numpy(packed.places).to(device)
        self.back = None if packed is None else torch.from_numpy(packed.first_use()).to(device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Ordinary causal attention within each prompt; see `Attention.attend`."""
        if self.places is not None:
            query, key, value = (to_padded(part, self.places) for part in (query, key, value))
        self.keys[layer], self.values[layer] = key, value
        output = causal_attention(query, key, value, scaling)
        return output if self.back is None else to_packed([output], self.back)


class Decoding:
    """One new token per row and step on top of the prompts; the rows' own keys and values are kept."""

    def __init__(self, prefix: Prefix, capacity: int) -> None:
        self.prefix = prefix
        self.capacity = capacity
        self.step = 0
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The newest token sees its prompt and its row; see `Attention.attend`."""
        if layer not in self.keys:
            rows, heads, _, size = key.shape
            self.keys[layer] = key.new_empty(rows, heads, self.capacity, size)
            self.values[layer] = value.new_empty(rows, heads, self.capacity, size)
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.step] = key[:, :, 0]
        values[:, :, self.step] = value[:, :, 0]
        seen = slice(self.step + 1)
        prompt = self.prefix.keys[layer], self.prefix.values[layer], self.prefix.bias
        return attend_with_prompt(query, keys[:, :, seen], values[:, :, seen], *prompt, scaling, causal=False)

    def repack(self, prefix: Prefix, rows: Tensor) -> None:
        """Continues with the rows at these slots under another prefix."""
        self.prefix = prefix
        for kept in (self.keys, self.values):
            for layer, tensor in kept.items():
                kept[layer] = tensor[rows]


def attend_with_prompt(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor,
    prompt_value: Tensor,
    prompt_bias: Tensor,
    scaling: float,
    causal: bool,
) -> Tensor:
    """Softmax attention of rows over their prompt and over themselves.

    query: (rows, heads, tokens, size); key, value: (rows, key heads, own tokens, size); prompt_key, prompt_value:
    (prompts, key heads, longest, size), prompt_bias: (prompts, 1, 1, longest). Rows are ordered by prompt, equally
    many for each. causal: a token sees the row up to itself. Returns query's shape.
    """
    prompts, key_heads, longest, size = prompt_key.shape
    rows, heads, tokens, _ = query.shape
    width, queries = rows // prompts, heads // key_heads * tokens
    query = query * scaling
    by_prompt = query.reshape(prompts, width, key_heads, queries, size).transpose(1, 2)
    by_row = query.reshape(rows, key_heads, queries, size)
    to_prompt = by_prompt.reshape(prompts, key_heads, width * queries, size) @ prompt_key.transpose(2, 3)
    to_prompt = (to_prompt + prompt_bias).reshape(prompts, key_heads, width, queries, longest)
    to_row = by_row @ key.transpose(2, 3)
    if causal:
        hidden = torch.full((tokens, tokens), float("-inf"), device=query.device, dtype=query.dtype).triu(1)
        to_row = (to_row.reshape(rows, -1, tokens, tokens) + hidden).reshape(rows, key_heads, queries, tokens)
    scores = torch.cat((to_prompt.transpose(1, 2).reshape(rows, key_heads, queries, longest), to_row), dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    on_prompt = weights[..., :longest].reshape(prompts, width, key_heads, queries, longest).transpose(1, 2)
    from_prompt = on_prompt.reshape(prompts, key_heads, width * queries, longest) @ prompt_value
    from_prompt = from_prompt.reshape(prompts, key_heads, width, queries, size).transpose(1, 2)
    output = from_prompt.reshape(rows, key_heads, queries, size) + weights[..., longest:] @ value
    return output.reshape(rows, heads, tokens, size)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Ordinary causal attention; shapes as in `Attention.attend`."""
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)


def prompt_bias(lengths: Tensor, longest: int, dtype: torch.dtype) -> Tensor:
    """(prompts, 1, 1, longest): 0 on a prompt's tokens, minus infinity on padding."""
    padding = torch.arange(longest, device=lengths.device)[None, :] >= lengths[:, None]
    bias = torch.zeros(padding.shape, device=lengths.device, dtype=dtype).masked_fill(padding, float("-inf"))
    return bias[:, None, None, :]


def _registered(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    shared_prefix: Attention | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    unsupported = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if dropout:
        unsupported.append("attention dropout")
    if shared_prefix is None or unsupported:
        reason = " and ".join(unsupported) or "a wrapper that drops keyword arguments"
        raise ConfigurationError(
            f"{type(module).__name__} uses {reason}, which sampling and training with a shared prompt do not support; "
            "choose a model with plain softmax attention"
        )
    return shared_prefix.attend(module.layer_idx, query, key, value, scaling).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _registered)


@contextmanager
def shared_prefix_attention(model: Any, longest: int) -> Iterator[None]:
    """Within it the model's forward attends by its argument `shared_prefix`; `longest`: tokens of the longest sequence.

    Raises ConfigurationError for models that it cannot serve.
    """
    config = model.config
    window = getattr(config, "sliding_window", None)
    if window is not None and longest > window and "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise ConfigurationError(
            f"sequences of {longest} tokens exceed the model's sliding window of {window}; "
            "lower sampling.max_prompt_tokens or sampling.max_new_tokens"
        )
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def encode(model: Any, prompts: Sequence[Sequence[int]], pad_id: int) -> Prefix:
    """Keys and values of all tokens but the last of each prompt; the last one opens the prompt's rows.

    A common beginning is computed once, where that saves enough. Padding is on the right, which causal attention does
    not reach.
    """
    device = model.device
    stems = [prompt[:-1] for prompt in prompts]
    lengths = [len(stem) for stem in stems]
    longest = max(1, *lengths)
    packed = pack_prompts(stems)
    if packed.saved_tokens:
        ids, positions = torch.tensor([packed.ids]), torch.from_numpy(packed.positions)[None]
    else:
        ids = torch.tensor([[*stem, *[pad_id] * (longest - len(stem))] for stem in stems])
        positions = torch.arange(longest)[None]
    attention = Encoding(packed if packed.saved_tokens else None, device)
    model(
        input_ids=ids.to(device),
        position_ids=positions.to(device),
        use_cache=False,
        logits_to_keep=1,
        shared_prefix=attention,
    )
    keys = tuple(attention.keys[layer] for layer in sorted(attention.keys))
    values = tuple(attention.values[layer] for layer in sorted(attention.values))
    limits = torch.tensor(lengths, device=device)
    return Prefix(keys, values, prompt_bias(limits, longest, keys[0].dtype), limits)


def joined(parts: Sequence[Prefix]) -> Prefix:
    """The prompts of several prefixes, one after the other."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.keys[0].shape[2] for part in parts)

    def padded(layers: Sequence[Tensor]) -> Tensor:
        return torch.cat([functional.pad(layer, (0, 0, 0, longest - layer.shape[2])) for layer in layers])

    lengths = torch.cat([part.lengths for part in parts])
    return Prefix(
        tuple(padded(layers) for layers in zip(*(part.keys for part in parts), strict=True)),
        tuple(padded(layers) for layers in zip(*(part.values for part in parts), strict=True)),
        prompt_bias(lengths, longest, parts[0].bias.dtype),
        lengths,
    )


def arrange_rows(
    prompt_of_row: NDArray[np.int64], live: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Arrange live rows in groups of equal width, each on one prompt.

    prompt_of_row: (rows,) ascending; live: rows in ascending order. Returns the prompt of each group, and the row
    of each slot (groups x width, flat), where `len(prompt_of_row)` marks an empty slot.
    """
    prompts, counts = np.unique(prompt_of_row[live], return_counts=True)
    widths = np.arange(1, counts.max() + 1)
    group_counts = -(-counts[:, None] // widths[None, :])
    width = int(widths[(group_counts.sum(axis=0) * (widths + PROMPT_COST)).argmin()])
    per_prompt = -(-counts // width)
    slots = np.full((int(per_prompt.sum()), width), len(prompt_of_row), dtype=np.int64)
    first = np.cumsum(per_prompt) - per_prompt
    starts = np.cumsum(counts) - counts
    within = np.arange(len(live)) - np.repeat(starts, counts)
    slots.reshape(-1)[np.repeat(first, counts) * width + within] = live
    return np.repeat(prompts, per_prompt), slots.reshape(-1)
