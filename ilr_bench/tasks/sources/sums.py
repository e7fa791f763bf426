"""Plain sums and differences of two numbers from 1 to 20: small enough for weak models to learn from.

Which split a sum belongs to is decided by the hash of its text, so no two splits have one in common.
"""

from __future__ import annotations

import random
from functools import cache

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.sources.micro import Split, split_of
from ilr_bench.tasks.types import Question, QuestionSource

LARGEST = 20
SHOWN = ("7 + 5", "18 - 6", "4 + 19", "15 - 9", "2 + 1", "13 + 14")
"""Sums that prompts solve as examples; they are never asked."""


def load(n_train: int, n_validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Training and validation sums; raises ConfigurationError where more are asked for than there are."""
    return _take("training", n_train), _take("validation", n_validation)


def benchmark_questions(count: int | None = None) -> tuple[Question, ...]:
    """Evaluation sums (all without `count`); raises ConfigurationError where more are asked for than there are."""
    return _take("benchmark", len(_split("benchmark")) if count is None else count)


def value_of(text: str) -> int:
    """The result of a sum such as `12 - 7`."""
    left, operator, right = text.split()
    return int(left) + int(right) if operator == "+" else int(left) - int(right)


def _take(split: Split, count: int) -> tuple[Question, ...]:
    questions = _split(split)
    if count > len(questions):
        raise ConfigurationError(f"source sums: only {len(questions)} {split} questions, {count} asked for")
    return questions[:count]


@cache
def _split(split: Split) -> tuple[Question, ...]:
    numbers = range(1, LARGEST + 1)
    texts = [f"{left} {operator} {right}" for operator in "+-" for left in numbers for right in numbers]
    chosen = [text for text in texts if text not in SHOWN and split_of(text) == split]
    random.Random(f"sums {split}").shuffle(chosen)
    return tuple(
        Question(f"sums-{split}-{index:03d}", text, str(value_of(text)), family="sums")
        for index, text in enumerate(chosen)
    )


SOURCES.add("sums", QuestionSource("sums", load))
