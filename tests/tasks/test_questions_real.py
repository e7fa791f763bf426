"""Real questions: read as published, split without overlap, and missed in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.prompts import STYLES
from ilr_bench.tasks.data import data_path
from ilr_bench.tasks.sources import SOURCES, Question, gsm8k, sums

ROW = {
    "question": "A farm has 1,000 hens. Half of them lay 2 eggs. How many eggs are there?\n",
    "answer": "1000/2=<<1000/2=500>>500 hens lay.\nThey lay 500*2=$<<500*2=1,000>>1,000 eggs.\n#### 1,000",
}


def texts(questions: Sequence[Question]) -> set[str]:
    return {question.text for question in questions}


def give(folder: Path, monkeypatch: pytest.MonkeyPatch, rows: Sequence[object], file: str = "train") -> None:
    (folder / "gsm8k").mkdir(exist_ok=True)
    (folder / "gsm8k" / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("ILR_BENCH_DATA", str(folder))


@pytest.fixture
def any_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training rows of our own are taken for GSM8K."""
    monkeypatch.setattr(gsm8k, "TRAIN", replace(gsm8k.TRAIN, rows=None, sha256=None))


def rows(count: int) -> list[dict[str, str]]:
    return [{"question": f"How much is {n}?", "answer": f"It is <<{n}+0={n}>>{n}.\n#### {n}"} for n in range(count)]


def test_a_row_gives_its_number_and_its_steps() -> None:
    question = gsm8k.parse(ROW, "gsm8k-train-0000")
    assert (question.answer, question.steps) == ("1000", ("1000/2=500", "500*2=1000"))
    assert question.text == ROW["question"].strip()


@pytest.mark.usefixtures("any_rows")
def test_training_and_validation_share_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(tmp_path, monkeypatch, rows(20))
    training, validation = SOURCES.get("gsm8k").load(15, 5)
    assert (len(texts(training)), len(texts(validation))) == (15, 5)
    assert not texts(training) & texts(validation)
    assert SOURCES.get("gsm8k").load(15, 5) == (training, validation)
    assert SOURCES.get("gsm8k").load(3, 5) == (training[:3], validation)
    with pytest.raises(ConfigurationError, match="20 questions, 21 asked for"):
        SOURCES.get("gsm8k").load(16, 5)


@pytest.mark.usefixtures("any_rows")
def test_the_mixture_alternates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(tmp_path, monkeypatch, rows(20))
    training, validation = SOURCES.get("gsm8k_sums").load(7, 4)
    assert [question.family for question in training] == ["sums", "gsm8k"] * 3 + ["sums"]
    assert [question.family for question in validation] == ["sums", "gsm8k"] * 2


def test_missing_data_names_both_ways_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (None, str(tmp_path)):
        if folder is None:
            monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
        else:
            monkeypatch.setenv("ILR_BENCH_DATA", folder)
        with pytest.raises(MissingInputError, match=r"set ILR_BENCH_DATA .* hub, .* openai/gsm8k"):
            gsm8k.load(1, 1)


@pytest.mark.parametrize("row", [{"question": "x", "answer": "5"}, {"question": "x"}, {"text": "x"}])
@pytest.mark.usefixtures("any_rows")
def test_rows_of_another_form_are_refused(row: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(tmp_path, monkeypatch, [row])
    with pytest.raises(MissingInputError, match="no row of GSM8K"):
        gsm8k.load(1, 0)


@pytest.mark.usefixtures("any_rows")
def test_a_torn_file_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(tmp_path, monkeypatch, rows(2))
    with (tmp_path / "gsm8k" / "train.jsonl").open("a") as file:
        file.write('{"question": "cut')
    with pytest.raises(MissingInputError, match="line 3"):
        gsm8k.load(1, 1)


def test_an_altered_or_shortened_test_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(tmp_path, monkeypatch, rows(1_319), "test")
    with pytest.raises(MissingInputError, match="text was altered"):
        gsm8k.test_questions()
    give(tmp_path, monkeypatch, rows(1_318), "test")
    with pytest.raises(MissingInputError, match="1,318 rows where the published split has 1,319"):
        gsm8k.test_questions()


@pytest.mark.data
@pytest.mark.skipif(data_path("gsm8k/test.jsonl") is None, reason="needs GSM8K in ILR_BENCH_DATA")
def test_the_published_rows_are_whole_and_disjoint() -> None:
    questions = gsm8k.test_questions()
    training, validation = gsm8k.load(7000, 473)
    assert len(questions) == 1_319
    assert not texts(questions) & (texts(training) | texts(validation))
    assert all(math.isfinite(float(question.answer)) for question in (*questions, *training, *validation))


def test_sums_are_right_and_their_splits_share_no_text() -> None:
    training, validation = SOURCES.get("sums").load(256, 64)
    benchmark = sums.benchmark_questions()
    everything = [*training, *validation, *benchmark]
    assert len(texts(everything)) == len(everything)
    for question in everything:
        left, operator, right = question.text.split()
        assert int(question.answer) == int(left) + int(operator + right)
    assert {len(texts(part)) for part in (training, validation)} == {256, 64}


def test_sums_are_the_same_whatever_number_is_asked_for() -> None:
    assert sums.load(10, 5)[0] == sums.load(20, 5)[0][:10]
    assert sums.benchmark_questions(20) == sums.benchmark_questions()[:20]
    with pytest.raises(ConfigurationError, match="only"):
        sums.load(10_000, 1)


def test_sums_that_prompts_solve_are_never_asked() -> None:
    training, validation = sums.load(500, 100)
    asked = texts([*training, *validation, *sums.benchmark_questions()])
    style = STYLES.get("fewshot")
    shown = [line.split(" = ")[0] for line in style.solve("99 + 99").splitlines()[:-1]]
    assert len(shown) == 4
    assert not asked & {*shown, *sums.SHOWN}
