"""Questions to learn from and benchmarks to be scored on, with the data they are read from."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    data="Dataset read_rows",
    types="Benchmark BenchmarkQuestion Question QuestionSource",
)
