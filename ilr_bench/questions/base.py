"""What a question is, and where questions come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question with its gold answer."""

    id: str
    """Unique within its source, stable across machines."""
    text: str
    answer: str
    steps: tuple[str, ...] = ()
    """Gold intermediate results in order, as a solution would write them (`3+5=8`); for graded rewards."""
    family: str = ""


@dataclass(frozen=True)
class QuestionSource:
    """Questions to learn from: disjoint training and validation sets, neither shared with any benchmark."""

    name: str
    load: Callable[[int, int], tuple[tuple[Question, ...], tuple[Question, ...]]]
    """(number of training questions, number of validation questions) -> (training, validation)."""
