"""Question sources, by name."""

from ilr_bench.core.registry import Registry
from ilr_bench.tasks.types import Question, QuestionSource, source_of

SOURCES: Registry[QuestionSource] = Registry(
    "question source",
    modules=tuple(f"ilr_bench.tasks.sources.{name}" for name in ("micro", "sums", "gsm8k", "math")),
    group="ilr_bench.questions",
    adapt=source_of,
)

__all__ = ["SOURCES", "Question", "QuestionSource"]
