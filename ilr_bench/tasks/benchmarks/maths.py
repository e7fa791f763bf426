r"""The five published maths benchmarks: GSM8K, MATH-500, Minerva, OlympiadBench and AIME.

- **gsm8k** (Cobbe et al. 2021): the published test split; gold numbers without commas.
- **math500** (Lightman et al. 2023): 500 test problems of MATH (Hendrycks et al. 2021); golds as published, in LaTeX.
- **minerva** (Lewkowycz et al. 2022): 272 questions of university science courses; gold in the solution's `\boxed{}`.
  They are measured quantities: an answer is right if the gold, rounded to the answer's significant digits (two at
  least), is the answer. `4.5e33` is read as a number, in golds and answers; golds in Python's notation are rewritten.
- **olympiadbench** (He et al. 2024): the 675 text-only, open-ended English maths competition problems. The gold is the
  one string of `final_answer` without its dollar signs. Where a question has several answers, all of them are asked
  for, in any order. The golds of two rows are mended (`_MENDED`): one is a sentence, one has lost its sign. The margin
  that one row states (0.1) is not granted, and eight units are not asked for.
- **aime**: both contests of 2024 and of 2025, 60 questions in one column; golds are integers from 0 to 999.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ilr_bench.tasks.data import Dataset, read_rows
from ilr_bench.tasks.sources import gsm8k
from ilr_bench.tasks.sources.math import MATH500
from ilr_bench.tasks.types import ANSWER_TOKENS, Benchmark, BenchmarkQuestion, boxed, register, rows_of

MINERVA = Dataset(
    file="minerva_math/test.jsonl",
    hub="svc-huggingface/minerva-math",
    configuration="default",
    split="test",
    rows=272,
    sha256="46ee07de9d1e61452346184cbc9004c13a26f66682544053e825f4eecb88643f",
    text=itemgetter("problem", "solution"),
)
OLYMPIADBENCH = Dataset(
    file="olympiadbench/test.jsonl",
    hub="math-ai/olympiadbench",
    configuration="default",
    split="test",
    rows=675,
    sha256="9146efeae313cc57297600bdb25b38c5ec073ec6ee4bfb4fc95cb267f4976eff",
    text=itemgetter("question", "final_answer"),
)
_TEXT = itemgetter("problem", "answer")
_HASH24 = "3eb8b9d86230730a372ed3eceabf66ee5874e90b3b513e449b8708c546ae004b"
_HASH25 = "61d38034fb7a805689bde6c515c7a03e99373fbe7570162579b2988b21e19ab0"
AIME24 = Dataset("aime24/test.jsonl", "HuggingFaceH4/aime_2024", "default", "train", 30, _HASH24, _TEXT)
AIME25 = Dataset("aime25/aime25.json", "math-ai/aime25", "default", "test", 30, _HASH25, _TEXT)


def _gsm8k() -> tuple[BenchmarkQuestion, ...]:
    return rows_of(gsm8k.test_questions())


def _math500() -> tuple[BenchmarkQuestion, ...]:
    return tuple(BenchmarkQuestion(row["unique_id"], row["problem"], row["answer"]) for row in read_rows(MATH500))


def _minerva() -> tuple[BenchmarkQuestion, ...]:
    def gold(solution: str) -> str:
        return boxed(solution)[-1].replace("np.arcsin", r"\arcsin").replace("./", "/")

    return tuple(
        BenchmarkQuestion(f"minerva-{row['idx']}", row["problem"], gold(row["solution"])) for row in read_rows(MINERVA)
    )


_MENDED = {1965: "f(x)=a x+b", 2045: r"t \in (0,4]"}
"""Number of a row of olympiadbench -> its gold, where no natural answer is equal to the published one."""


def _olympiadbench() -> tuple[BenchmarkQuestion, ...]:
    def gold(row: dict[str, Any]) -> str:
        return _MENDED.get(int(row["id"]), str(row["final_answer"][0]).replace("$", "").strip())

    rows = read_rows(OLYMPIADBENCH)
    return tuple(BenchmarkQuestion(f"olympiadbench-{row['id']}", row["question"], gold(row)) for row in rows)


def _aime() -> tuple[BenchmarkQuestion, ...]:
    return tuple(
        BenchmarkQuestion(f"{year}-{index:02d}", row["problem"], str(int(row["answer"])))
        for year, data in (("aime24", AIME24), ("aime25", AIME25))
        for index, row in enumerate(read_rows(data), start=1)
    )


def _register(
    name: str,
    column: str,
    summary: str,
    load: Callable[[], tuple[BenchmarkQuestion, ...]],
    *data: Dataset,
    measured: bool = False,
) -> None:
    register(
        Benchmark(
            name, column, summary, "answer", "in-domain", load,
            subject="maths", data=data, max_new_tokens=ANSWER_TOKENS, measured=measured,
        )
    )  # fmt: skip


_register("gsm8k", "GSM8K", "grade-school word problems, the published test", _gsm8k, gsm8k.TEST)
_register("math500", "MATH-500", "500 competition problems of MATH's test split", _math500, MATH500)
_register("minerva", "Minerva", "university science questions", _minerva, MINERVA, measured=True)
_register("olympiadbench", "Olympiad", "text-only English maths competition problems", _olympiadbench, OLYMPIADBENCH)
_register("aime", "AIME", "the 2024 and 2025 contests, 30 questions each", _aime, AIME24, AIME25)
