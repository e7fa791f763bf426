"""MBPP+ (Liu et al. 2023): 378 problems of MBPP, repaired, with some thirty-five times as many tests."""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.base import Benchmark, register
from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS, MBPP, mbpp_rows

register(
    Benchmark(
        name="mbpp_plus",
        column="MBPP+",
        summary="378 short functions, EvalPlus's tests",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=partial(mbpp_rows, plus=True),
        data=(MBPP,),
        max_new_tokens=CODE_TOKENS,
        exceptions={"Mbpp/630": "its helper is a generator without `return`, which EvalPlus's extraction drops"},
    )
)
