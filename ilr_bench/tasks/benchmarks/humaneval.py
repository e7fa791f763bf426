"""HumanEval (Chen et al. 2021): 164 functions to complete from their head and docstring, with the original tests.

They are read from EvalPlus's file, which has the same tests as inputs to call the function with.
"""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.base import Benchmark, register
from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS, HUMANEVAL, humaneval_rows

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
