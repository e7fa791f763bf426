"""MATH-500 (Lightman et al. 2023): 500 test problems of MATH (Hendrycks et al. 2021); golds as published, in LaTeX."""

from __future__ import annotations

from ilr_bench.tasks.data import read_rows
from ilr_bench.tasks.sources.math import MATH500
from ilr_bench.tasks.types import MATHS_TOKENS, Benchmark, BenchmarkQuestion, register


def _load() -> tuple[BenchmarkQuestion, ...]:
    return tuple(BenchmarkQuestion(row["unique_id"], row["problem"], row["answer"]) for row in read_rows(MATH500))


register(
    Benchmark(
        name="math500",
        column="MATH-500",
        summary="500 competition problems of MATH's test split",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=_load,
        data=(MATH500,),
        max_new_tokens=MATHS_TOKENS,
    )
)
