"""OlympiadBench (He et al. 2024): the 675 text-only, open-ended English maths competition problems.

The gold is the one string of `final_answer` without its dollar signs. Where a question has several answers, all of
them are asked for, in any order (math-verify compares sets). The margin that one row states (0.1) is not granted,
and eight units are not asked for.
"""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.types import MATHS_TOKENS, Benchmark, BenchmarkQuestion, register

DATA = Dataset(
    file="olympiadbench/test.jsonl",
    hub="math-ai/olympiadbench",
    configuration="default",
    split="test",
    rows=675,
    sha256="9146efeae313cc57297600bdb25b38c5ec073ec6ee4bfb4fc95cb267f4976eff",
    text=itemgetter("question", "final_answer"),
)


def _load() -> tuple[BenchmarkQuestion, ...]:
    return tuple(
        BenchmarkQuestion(
            f"olympiadbench-{row['id']}", row["question"], row["final_answer"][0].replace("$", "").strip()
        )
        for row in read_rows(DATA)
    )


register(
    Benchmark(
        name="olympiadbench",
        column="Olympiad",
        summary="text-only English maths competition problems",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=_load,
        data=(DATA,),
        max_new_tokens=MATHS_TOKENS,
    )
)
