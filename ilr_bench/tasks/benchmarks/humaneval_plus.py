"""HumanEval+ (Liu et al. 2023): the problems of HumanEval with some eighty times as many tests."""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.base import Benchmark, register
from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS, HUMANEVAL, humaneval_rows

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
