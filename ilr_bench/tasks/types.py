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


def boxed(text: str) -> list[str]:
    r"""Contents of every closed `\boxed{}` in a text, in order, with the braces nested inside them."""
    found = []
    for piece in text.split(r"\boxed{")[1:]:
        depth = 1
        for place, letter in enumerate(piece):
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                found.append(piece[:place].strip())
                break
    return found
