"""AIME 2024 and 2025: both contests of both years, 60 questions in one column; golds are integers from 0 to 999."""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.types import MATHS_TOKENS, Benchmark, BenchmarkQuestion, register

_TEXT = itemgetter("problem", "answer")
_HASH24 = "3eb8b9d86230730a372ed3eceabf66ee5874e90b3b513e449b8708c546ae004b"
_HASH25 = "61d38034fb7a805689bde6c515c7a03e99373fbe7570162579b2988b21e19ab0"
AIME24 = Dataset("aime24/test.jsonl", "HuggingFaceH4/aime_2024", "default", "train", 30, _HASH24, _TEXT)
AIME25 = Dataset("aime25/aime25.json", "math-ai/aime25", "default", "test", 30, _HASH25, _TEXT)


def _load() -> tuple[BenchmarkQuestion, ...]:
    years = (("aime24", AIME24), ("aime25", AIME25))
    return tuple(
        BenchmarkQuestion(f"{year}-{index:02d}", row["problem"], str(int(row["answer"])))
        for year, data in years
        for index, row in enumerate(read_rows(data), start=1)
    )


register(
    Benchmark(
        name="aime",
        column="AIME",
        summary="the 2024 and 2025 contests, 30 questions each",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=_load,
        data=(AIME24, AIME25),
        max_new_tokens=MATHS_TOKENS,
    )
)
