"""Benchmarks whose questions are generated here: reasoning-gym's tasks, and plain sums."""

from __future__ import annotations

from functools import partial

from ilr_bench.tasks.sources import generated, sums
from ilr_bench.tasks.types import ANSWER_TOKENS, Benchmark, BenchmarkQuestion, register, rows_of

_TASKS = {
    "gsm_symbolic": ("GSM-Sym", "word problems after the templates of GSM-Symbolic"),
    "chain_sum": ("Chain sum", "two to six numbers of up to four digits, added and subtracted"),
    "basic_arithmetic": ("Arith", "the four operations with parentheses"),
    "simple_equations": ("Equation", "a linear equation in one unknown"),
}


def _load(task: str) -> tuple[BenchmarkQuestion, ...]:
    return rows_of(sums.benchmark_questions() if task == "sums" else generated.questions(task))


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
            max_new_tokens=ANSWER_TOKENS,
            size=generated.COUNT,
        )
    )


register(
    Benchmark(
        name="sums",
        column="Sums",
        summary="plain sums and differences of numbers up to 20",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=partial(_load, "sums"),
    )
)
