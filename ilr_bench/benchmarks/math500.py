"""MATH-500 (Lightman et al. 2023): 500 test problems of MATH (Hendrycks et al. 2021); golds as published, in LaTeX."""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.benchmarks.base import MATHS_TOKENS, Benchmark, Row, register
from ilr_bench.questions.data import Dataset, read_rows

DATA = Dataset(
    file="math500/test.jsonl",
    hub="HuggingFaceH4/MATH-500",
    configuration="default",
    split="test",
    rows=500,
    sha256="473c52afc365066c5028a513816101d7d1d5f8d31c4bb28c8357711937c5a93f",
    text=itemgetter("problem", "answer"),
)


def _load() -> tuple[Row, ...]:
    return tuple(Row(row["unique_id"], row["problem"], row["answer"]) for row in read_rows(DATA))


register(
    Benchmark(
        name="math500",
        column="MATH-500",
        summary="500 competition problems of MATH's test split",
        kind="answer",
        domain="in-domain",
        load=_load,
        data=(DATA,),
        max_new_tokens=MATHS_TOKENS,
    )
)
