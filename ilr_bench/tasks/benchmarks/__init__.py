"""Benchmarks: what a trained model is scored on, alone. Other packages add theirs (docs/adding-a-benchmark.md)."""

from ilr_bench.tasks.types import BENCHMARKS, Benchmark, BenchmarkQuestion, expand, get, names, register

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkQuestion", "expand", "get", "names", "register"]
