"""Question sources, by name."""

from ilr_bench.questions.base import Question, QuestionSource
from ilr_bench.registry import Registry

SOURCES: Registry[QuestionSource] = Registry(
    "question source",
    modules=tuple(f"ilr_bench.questions.{name}" for name in ("micro", "sums", "gsm8k", "math")),
    group="ilr_bench.questions",
)

__all__ = ["SOURCES", "Question", "QuestionSource"]
