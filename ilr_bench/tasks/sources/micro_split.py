"""Which split a micro question belongs to: decided by the hash of its text, so splits share none."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal, TypeVar

from ilr_bench.core.errors import ConfigurationError

Split = Literal["training", "validation", "benchmark"]
T = TypeVar("T")

_ATTEMPTS = 400
"""Vain draws in a row after which a family counts as exhausted."""


def split_of(text: str) -> Split:
    """2 parts in 8 benchmark, 1 validation, 5 training."""
    part = hashlib.sha256(text.encode()).digest()[0] % 8
    return "benchmark" if part < 2 else "validation" if part == 2 else "training"


def stream(draw: Callable[[random.Random], tuple[str, T]], split: Split, rng: random.Random) -> Iterator[T]:
    """Draws (text, item) and yields the items of one split, each text once, until they run out."""
    seen: set[str] = set()
    misses = 0
    while misses < _ATTEMPTS:
        text, item = draw(rng)
        if text in seen or split_of(text) != split:
            misses += 1
            continue
        misses = 0
        seen.add(text)
        yield item


def take(items: Iterator[T], count: int, family: str) -> tuple[T, ...]:
    """The first `count` items; raises ConfigurationError if there are fewer."""
    taken = tuple(islice(items, count))
    if len(taken) < count:
        raise ConfigurationError(f"family {family}: only {len(taken)} different questions, {count} asked for")
    return taken
