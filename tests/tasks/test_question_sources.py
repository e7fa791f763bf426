"""MATH: the paper's split of the published rows, with MATH-500 apart, and answers as its solutions box them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.tasks.benchmarks import get as benchmark
from ilr_bench.tasks.data import read_rows
from ilr_bench.tasks.sources import SOURCES, math


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"So $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"First $\boxed{1}$, no: $\boxed{2}$.", "2"),
        (r"$$\boxed 9$$.", "9"),
        (r"So $\boxed 9$ or $\frac 1 2$.", "9"),
        (r"\boxed 12 apples", "12"),
        ("\\boxed ", None),
        ("\\boxed $3$", None),
        (r"\boxed{\left\{ \text{a} \right\}}", r"\left\{ \text{a} \right\}"),
        ("The answer is 3.", None),
        (r"\boxed{\frac{1}{2", None),
    ],
)
def test_the_last_box_holds_the_answer(solution: str, answer: str | None) -> None:
    assert math.last_box(solution) == answer


def test_a_row_without_an_answer_is_refused() -> None:
    with pytest.raises(MissingInputError, match="math-x is no row of MATH"):
        math.parse({"problem": "1+1?", "solution": "Two."}, "math-x")


def test_two_rows_that_box_nothing_have_the_answer_that_their_solutions_end_at() -> None:
    row = {"problem": "How many?", "solution": r"Therefore there are $\boxed{}$."}
    assert math.parse(row, "math-number_theory-train-0661").answer == "0"
    with pytest.raises(MissingInputError):
        math.parse(row, "math-number_theory-train-0662")


def test_texts_that_are_tested_or_occur_twice_never_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented rows: one of them stands in MATH-500 with other spaces, one occurs twice."""
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(math, "MATH500", replace(math.MATH500, rows=None, sha256=None))
    monkeypatch.setattr(math, "PUBLISHED", dict.fromkeys(math.PUBLISHED, (None, None)))
    monkeypatch.setattr(math, "VALIDATION", 20)
    for index, data in enumerate(math.files()):
        file = tmp_path / data.file
        file.parent.mkdir(exist_ok=True)
        asked = [f"What is {index} + {n}?" for n in range(5)] + (["Twice asked?"] if index < 2 else [])
        file.write_text("".join(json.dumps({"problem": q, "solution": r"$\boxed{1}$"}) + "\n" for q in asked))
    (tmp_path / "math500").mkdir()
    (tmp_path / math.MATH500.file).write_text(json.dumps({"problem": "What is\n 3 +  4?", "answer": "7"}) + "\n")
    training, validation = SOURCES.get("math").load(100, 20)
    asked = [question.text for question in (*training, *validation)]
    assert (len(training), len(validation)) == (51, 20)
    assert "What is 3 + 4?" not in asked
    assert [question.text for question in training].count("Twice asked?") == 2
    assert len({*asked}) == len(asked) - 1
    assert SOURCES.get("math").load(10, 5) == (training[:10], validation[:5])
    with pytest.raises(ConfigurationError, match="21 asked for"):
        SOURCES.get("math").load(10, 21)


@pytest.mark.data
def test_the_published_rows_split_as_in_the_paper_without_math_500(
    record_property: Callable[[str, object], None],
) -> None:
    training, validation = SOURCES.get("math").load(math.TRAINING, math.VALIDATION)
    tested = {math.normalised(row["problem"]) for row in read_rows(math.MATH500)}
    rows = sum(len(read_rows(data)) for data in math.files())
    seen = [{math.normalised(question.text) for question in part} for part in (training, validation)]
    record_property("rows", rows + len(tested))
    assert (rows, len(tested), len(training), len(validation)) == (12_500, 500, 10_999, 1_000)
    assert not tested & (seen[0] | seen[1])
    assert not seen[0] & seen[1]
    assert len(seen[1]) == 1_000
    chosen = {question.id: math.normalised(question.text) for question in (*training, *validation)}
    assert len(chosen) == 11_999
    twin = next(row for row in benchmark("olympiadbench").load() if row.id == "olympiadbench-2890")
    assert math.TESTED not in chosen
    assert math.normalised(twin.question) not in chosen.values()


@pytest.mark.data
def test_boxes_hold_the_answers_that_math_500_states(record_property: Callable[[str, object], None]) -> None:
    rows = read_rows(math.MATH500)
    record_property("rows", len(rows))
    assert [math.last_box(row["solution"]) for row in rows] == [row["answer"] for row in rows]
