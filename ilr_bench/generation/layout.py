"""Prompts laid end to end in one sequence, in which what they have in common from the start on stands once.

Worked examples and system prompts open every prompt of a stage: most of a few-shot prompt is the same in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_SAVED = 256
"""Tokens that must be saved; for fewer, sequences of another length are not worth other last bits."""


@dataclass(frozen=True)
class Layout:
    """Where the tokens of some prompts stand in one sequence."""

    ids: tuple[int, ...]
    """The sequence."""
    positions: NDArray[np.int64]
    """(len(ids),) place of each token within its prompts."""
    places: NDArray[np.int64]
    """(prompts, longest) place in the sequence of each prompt's tokens; 0 on padding."""
    lengths: tuple[int, ...]
    """(prompts,)"""

    @property
    def saved(self) -> int:
        """Tokens that stand in for those of other prompts as well."""
        return sum(self.lengths) - len(self.ids)

    def first_use(self) -> NDArray[np.int64]:
        """(len(ids),) place in the flat table of prompts where each token of the sequence stands first."""
        filled = np.flatnonzero(np.arange(self.places.shape[1])[None, :] < np.array(self.lengths)[:, None])
        return filled[np.unique(self.places.ravel()[filled], return_index=True)[1]]


def lay(prompts: Sequence[Sequence[int]]) -> Layout:
    """Equal tokens behind equal tokens are laid once, if that saves `LEAST_SAVED` of them; else every token is."""
    lengths = tuple(len(prompt) for prompt in prompts)
    known: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    for prompt in prompts:
        path = [-1]
        for position, token in enumerate(prompt):
            place = known.setdefault((path[-1], token), len(ids))
            if place == len(ids):
                ids.append(token)
                positions.append(position)
            path.append(place)
        paths.append(path[1:])
    if sum(lengths) - len(ids) < LEAST_SAVED:
        ends = np.cumsum(lengths)
        paths = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]
        ids = [token for prompt in prompts for token in prompt]
        positions = [position for length in lengths for position in range(length)]
    places = np.zeros((len(prompts), max([1, *lengths])), dtype=np.int64)
    for row, path in zip(places, paths, strict=True):
        row[: len(path)] = path
    return Layout(tuple(ids), np.array(positions, dtype=np.int64), places, lengths)


def table(part: Tensor, places: Tensor) -> Tensor:
    """(1, heads, tokens, size) -> (sequences, heads, longest, size)."""
    tokens = part[0].transpose(0, 1).index_select(0, places.flatten())
    return tokens.view(*places.shape, *tokens.shape[1:]).transpose(1, 2)


def sequence(tables: Sequence[Tensor], back: Tensor) -> Tensor:
    """The inverse of `table`; `back`: place of each token in the tables, flat, one after the other."""
    flat = [part.transpose(1, 2).flatten(0, 1) for part in tables]
    return torch.cat(flat).index_select(0, back).transpose(0, 1)[None]
