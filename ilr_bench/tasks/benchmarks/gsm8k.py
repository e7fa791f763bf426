"""GSM8K (Cobbe et al. 2021): the published test split of grade-school word problems; gold numbers without commas."""

from __future__ import annotations

from ilr_bench.tasks.sources import gsm8k
from ilr_bench.tasks.types import MATHS_TOKENS, Benchmark, BenchmarkQuestion, register, rows_of


def _load() -> tuple[BenchmarkQuestion, ...]:
    return rows_of(gsm8k.test_questions())


register(
    Benchmark(
        name="gsm8k",
        column="GSM8K",
        summary="grade-school word problems, the published test",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=_load,
        data=(gsm8k.TEST,),
        max_new_tokens=MATHS_TOKENS,
    )
)
