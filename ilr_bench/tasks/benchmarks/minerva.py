r"""Minerva: 272 questions of university science courses (Lewkowycz et al. 2022); gold in the solution's `\boxed{}`.

Graded as all maths is, without a numerical tolerance. Golds such as `4.5e33` are read as numbers, and so are answers
to them (`ilr_bench.grading.math_worker`); golds in Python's notation are rewritten.
"""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.types import MATHS_TOKENS, Benchmark, BenchmarkQuestion, boxed, register

DATA = Dataset(
    file="minerva_math/test.jsonl",
    hub="svc-huggingface/minerva-math",
    configuration="default",
    split="test",
    rows=272,
    sha256="46ee07de9d1e61452346184cbc9004c13a26f66682544053e825f4eecb88643f",
    text=itemgetter("problem", "solution"),
)


def _load() -> tuple[BenchmarkQuestion, ...]:
    return tuple(
        BenchmarkQuestion(f"minerva-{row['idx']}", row["problem"], _gold(row["solution"])) for row in read_rows(DATA)
    )


def _gold(solution: str) -> str:
    return boxed(solution)[-1].replace("np.arcsin", r"\arcsin").replace("./", "/")


register(
    Benchmark(
        name="minerva",
        column="Minerva",
        summary="university science questions",
        kind="answer",
        domain="in-domain",
        subject="maths",
        load=_load,
        data=(DATA,),
        max_new_tokens=MATHS_TOKENS,
        exceptions={
            "minerva-116": "math-verify takes the t of the gold for a unit and accepts 1/m",
            "minerva-268": "math-verify takes the E_1 of the gold for a unit and accepts 2/3",
        },
    )
)
