"""GPQA Diamond (Rein et al. 2023): 198 graduate questions of science with four options.

Its authors ask that examples stay out of plain files: the hub gives it to those who accept its terms, as
`gpqa_diamond.csv`. The right option comes first there, so options are put into an order that a seed made of the
question's text decides. No content hash is stated, since the rows were not at hand; their number is checked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from ilr_bench.tasks.base import CHOICE_TOKENS, LETTERS, Benchmark, Row, register, with_options
from ilr_bench.tasks.data import Dataset, read_rows

DATA = Dataset("gpqa/gpqa_diamond.csv", "Idavidrein/gpqa", "gpqa_diamond", "train", rows=198)
_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _load() -> tuple[Row, ...]:
    return tuple(map(_row, read_rows(DATA)))


def _row(row: Mapping[str, Any]) -> Row:
    question, options = row["Question"].strip(), [row[name].strip() for name in _OPTIONS]
    right = options[0]
    random.Random(f"gpqa {question}").shuffle(options)
    return Row(f"gpqa-{row['Record ID']}", with_options(question, options), LETTERS[options.index(right)])


register(
    Benchmark(
        name="gpqa_diamond",
        column="GPQA",
        summary="graduate questions of science with four options",
        kind="choice",
        domain="out-of-domain",
        subject="general",
        load=_load,
        data=(DATA,),
        max_new_tokens=CHOICE_TOKENS,
    )
)
