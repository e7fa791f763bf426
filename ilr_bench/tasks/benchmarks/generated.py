"""Contamination-free columns: 200 questions each of four generators of reasoning-gym 0.1.25, made here.

The first distinct questions of seed 2026 are taken. `basic_arithmetic` rounds quotients down without saying so; only
rows whose gold is the exact value are kept. The generators grade generously (units, words around a number); here
answers are graded as all maths is.
"""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.base import MATHS_TOKENS, Benchmark, Row, register, rows_of
from ilr_bench.tasks.sources import generated

_TASKS = {
    "gsm_symbolic": ("GSM-Sym", "word problems after the templates of GSM-Symbolic"),
    "chain_sum": ("Chain sum", "two to six numbers of up to four digits, added and subtracted"),
    "basic_arithmetic": ("Arith", "the four operations with parentheses"),
    "simple_equations": ("Equation", "a linear equation in one unknown"),
}


def _load(task: str) -> tuple[Row, ...]:
    return rows_of(generated.questions(task))


for task, (column, summary) in _TASKS.items():
    register(
        Benchmark(
            name=f"rg_{task}",
            column=column,
            summary=summary,
            kind="answer",
            domain="in-domain",
            subject="maths",
            load=partial(_load, task),
            max_new_tokens=MATHS_TOKENS,
            size=generated.COUNT,
        )
    )
