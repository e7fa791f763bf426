"""MMLU-Pro and GPQA-Diamond: questions with lettered options."""

from __future__ import annotations

import random
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.types import ANSWER_TOKENS, LETTERS, Benchmark, BenchmarkQuestion, register, with_options

MMLU_PRO_DATA = Dataset(
    file="mmlu_pro/test-00000-of-00001.parquet",
    hub="TIGER-Lab/MMLU-Pro",
    configuration="default",
    split="test",
    rows=12_032,
    sha256="c57d4e1f7ba2d99f6c3c7c432ded46b07994dc20ca6a8003f46b02500f13da24",
    text=itemgetter("question", "options", "answer"),
)


def _load_mmlu_pro() -> tuple[BenchmarkQuestion, ...]:
    return tuple(
        BenchmarkQuestion(
            f"mmlu_pro-{row['question_id']}", with_options(row["question"], row["options"]), row["answer"]
        )
        for row in read_rows(MMLU_PRO_DATA)
    )


register(
    Benchmark(
        name="mmlu_pro",
        column="MMLU-Pro",
        summary="general questions with ten options",
        kind="choice",
        domain="out-of-domain",
        subject="general",
        load=_load_mmlu_pro,
        data=(MMLU_PRO_DATA,),
        max_new_tokens=ANSWER_TOKENS,
    )
)


GPQA_DATA = Dataset("gpqa/gpqa_diamond.csv", "Idavidrein/gpqa", "gpqa_diamond", "train", rows=198)
_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _load_gpqa() -> tuple[BenchmarkQuestion, ...]:
    return tuple(map(_row, read_rows(GPQA_DATA)))


def _row(row: Mapping[str, Any]) -> BenchmarkQuestion:
    question, options = row["Question"].strip(), [row[name].strip() for name in _OPTIONS]
    right = options[0]
    random.Random(f"gpqa {question}").shuffle(options)
    return BenchmarkQuestion(f"gpqa-{row['Record ID']}", with_options(question, options), LETTERS[options.index(right)])


register(
    Benchmark(
        name="gpqa_diamond",
        column="GPQA",
        summary="graduate questions of science with four options",
        kind="choice",
        domain="out-of-domain",
        subject="general",
        load=_load_gpqa,
        data=(GPQA_DATA,),
        max_new_tokens=ANSWER_TOKENS,
    )
)
