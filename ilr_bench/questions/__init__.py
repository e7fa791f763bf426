"""Question sources, by name."""

from ilr_bench.questions.base import Question, QuestionSource
from ilr_bench.registry import Registry

SOURCES: Registry[QuestionSource] = Registry(
    "question source",
    modules=("ilr_bench.questions.micro", "ilr_bench.questions.sums", "ilr_bench.questions.gsm8k"),
    group="ilr_bench.questions",
)

__all__ = ["SOURCES", "Question", "QuestionSource"]
