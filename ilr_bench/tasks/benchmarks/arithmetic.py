"""Plain sums and differences of numbers up to 20, generated: what small real models can learn."""

from __future__ import annotations

from ilr_bench.tasks.base import Benchmark, Row, register, rows_of
from ilr_bench.tasks.sources import sums


def _load() -> tuple[Row, ...]:
    return rows_of(sums.benchmark_questions())


register(
    Benchmark(
        "sums", "Sums", "plain sums and differences of numbers up to 20", "answer", "in-domain", _load, subject="maths"
    )
)
