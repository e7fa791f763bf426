"""The micro profile's benchmarks: five families of generated questions, and a small code family."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ilr_bench.tasks.sources.micro import benchmark_questions, code_problems
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion, register, rows_of

QUESTIONS_PER_FAMILY = 220
CODE_PROBLEMS = 60

_FAMILIES: tuple[tuple[str, str, Literal["in-domain", "out-of-domain"], str], ...] = (
    ("short_chain", "Short", "in-domain", "two or three sums and differences in a row"),
    ("long_chain", "Long", "in-domain", "four to six sums and differences in a row"),
    ("word_problem", "Words", "in-domain", "two or three steps told as a story"),
    ("two_step", "Two-step", "in-domain", "a product and a sum or difference"),
    ("ood", "OOD", "out-of-domain", "longer chains, longer stories, larger numbers than in training"),
)


def _load(family: str) -> tuple[BenchmarkQuestion, ...]:
    return rows_of(benchmark_questions(family, QUESTIONS_PER_FAMILY))


def _load_code() -> tuple[BenchmarkQuestion, ...]:
    return tuple(
        BenchmarkQuestion(problem["task_id"], problem["question"], problem["canonical_solution"], problem)
        for problem in code_problems(CODE_PROBLEMS)
    )


for family, column, domain, summary in _FAMILIES:
    register(Benchmark(f"micro_{family}", column, summary, "answer", domain, partial(_load, family), subject="maths"))
register(
    Benchmark(
        name="micro_code",
        column="Code",
        summary="one-line functions, scored as EvalPlus does",
        kind="function",
        domain="out-of-domain",
        subject="code",
        load=_load_code,
    )
)
