"""MMLU-Pro (Wang et al. 2024): 12,032 test questions of 14 subjects with up to ten options, listed in the question."""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.tasks.base import CHOICE_TOKENS, Benchmark, Row, register, with_options
from ilr_bench.tasks.data import Dataset, read_rows

DATA = Dataset(
    file="mmlu_pro/test-00000-of-00001.parquet",
    hub="TIGER-Lab/MMLU-Pro",
    configuration="default",
    split="test",
    rows=12_032,
    sha256="c57d4e1f7ba2d99f6c3c7c432ded46b07994dc20ca6a8003f46b02500f13da24",
    text=itemgetter("question", "options", "answer"),
)


def _load() -> tuple[Row, ...]:
    return tuple(
        Row(f"mmlu_pro-{row['question_id']}", with_options(row["question"], row["options"]), row["answer"])
        for row in read_rows(DATA)
    )


register(
    Benchmark(
        name="mmlu_pro",
        column="MMLU-Pro",
        summary="general questions with ten options",
        kind="choice",
        domain="out-of-domain",
        subject="general",
        load=_load,
        data=(DATA,),
        max_new_tokens=CHOICE_TOKENS,
    )
)
