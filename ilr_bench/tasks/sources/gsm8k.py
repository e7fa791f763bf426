"""GSM8K (Cobbe et al. 2021): grade-school word problems with written-out solutions, and a mixture with plain sums."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.sources import SOURCES, sums
from ilr_bench.tasks.types import Question, QuestionSource

TRAIN, TEST = (
    Dataset(f"gsm8k/{split}.jsonl", "openai/gsm8k", "main", split, rows, sha256, itemgetter("question", "answer"))
    for split, rows, sha256 in (
        ("train", 7_473, "545d5e96f6cd895dd70f2f41c37d07cce9d0e430a3c7c952728d80bfd103b726"),
        ("test", 1_319, "b1defbc105b5880c951424ce286cd8981ac2d0d816539e3d3acff6917eb6e56e"),
    )
)
_CALCULATOR = re.compile(r"<<([^<>]*)>>")


def load(n_train: int, n_validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Training and validation questions, both from the published training split, shuffled once for all.

    Raises MissingInputError without the data and ConfigurationError where more are asked for than there are.
    """
    questions = [parse(row, f"gsm8k-train-{index:04d}") for index, row in enumerate(read_rows(TRAIN))]
    if n_train + n_validation > len(questions):
        raise ConfigurationError(
            f"source gsm8k: {len(questions)} questions, {n_train + n_validation} asked for; "
            "lower questions.train or questions.validation"
        )
    random.Random("gsm8k").shuffle(questions)
    return tuple(questions[:n_train]), tuple(questions[len(questions) - n_validation :])


def load_mixture(n_train: int, n_validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """GSM8K and plain sums in turn, a sum first."""
    word_problems = load(n_train // 2, n_validation // 2)
    plain = sums.load(n_train - n_train // 2, n_validation - n_validation // 2)
    training, validation = (_alternate(*pair) for pair in zip(plain, word_problems, strict=True))
    return training, validation


def test_questions() -> tuple[Question, ...]:
    """The published test split, whole and in its order; raises MissingInputError where it is absent or altered."""
    return tuple(parse(row, f"gsm8k-test-{index:04d}") for index, row in enumerate(read_rows(TEST)))


def parse(row: Mapping[str, Any], identity: str) -> Question:
    """A row with `question` and `answer`: the gold number stands after `#### `, its steps in `<<48/2=24>>`.

    Raises MissingInputError for a row of another form.
    """
    text, solution = row.get("question"), row.get("answer")
    if not isinstance(text, str) or not isinstance(solution, str) or "#### " not in solution:
        raise MissingInputError(f"{identity} is no row of GSM8K (question, answer with `#### `); fetch the file again")
    written, _, gold = solution.rpartition("#### ")
    return Question(identity, text.strip(), gold.strip().replace(",", ""), calculations(written), "gsm8k")


def calculations(written: str) -> tuple[str, ...]:
    """What a solution notes in GSM8K's `<<48/2=24>>`, in order."""
    return tuple(step.replace(",", "").replace(" ", "") for step in _CALCULATOR.findall(written))


def _alternate(first: Sequence[Question], second: Sequence[Question]) -> tuple[Question, ...]:
    pairs = chain.from_iterable(zip(first, second, strict=False))
    return (*pairs, *first[len(second) :], *second[len(first) :])


SOURCES.add("gsm8k", QuestionSource("gsm8k", load))
SOURCES.add("gsm8k_sums", QuestionSource("gsm8k_sums", load_mixture))
