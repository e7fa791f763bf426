"""Benchmarks for real models: generated plain sums, and GSM8K's test split."""

from __future__ import annotations

from ilr_bench.benchmarks.base import Benchmark, Row, register, rows_of
from ilr_bench.questions import gsm8k, sums


def _load_sums() -> tuple[Row, ...]:
    return rows_of(sums.benchmark_questions())


def _load_gsm8k() -> tuple[Row, ...]:
    return rows_of(gsm8k.test_questions())


register(Benchmark("sums", "Sums", "plain sums and differences of numbers up to 20", "answer", "in-domain", _load_sums))
register(
    Benchmark("gsm8k", "GSM8K", "grade-school word problems, the published test", "answer", "in-domain", _load_gsm8k)
)
