"""HumanEval and HumanEval+: functions to complete."""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS, HUMANEVAL, humaneval_rows
from ilr_bench.tasks.types import Benchmark, register

register(
    Benchmark(
        name="humaneval",
        column="HumanEval",
        summary="164 functions to complete, original tests",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=partial(humaneval_rows, plus=False),
        data=(HUMANEVAL,),
        max_new_tokens=CODE_TOKENS,
    )
)


register(
    Benchmark(
        name="humaneval_plus",
        column="HumanEval+",
        summary="164 functions to complete, EvalPlus's tests",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=partial(humaneval_rows, plus=True),
        data=(HUMANEVAL,),
        max_new_tokens=CODE_TOKENS,
    )
)
