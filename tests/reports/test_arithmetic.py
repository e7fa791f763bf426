"""Every printed number computed a second time, from the record files and by plain loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_study import MATHS, write_synthetic_study

from ilr_bench.storage.records import InferenceRecord, SampleRecord, StepRecord, Verdict, read, read_result
from reports import REPORTS, Settings, get
from reports.frames import INFERENCE, StudyFrames, load
from reports.registry import Correction
from reports.rows import TableRow
from reports.statistics import estimates
from reports.tables.accuracy import Comparison
from reports.tables.comparison import Numbers
from reports.tables.printing import PUBLISHED, accuracy, amount, difference, printed, share, thousands
from reports.tables.report import TableReport
from reports.tables.writer import Value

TABLES = {"table1": 150, "table2": 200, "table4": 30, "variants": 200}
"""Table -> at least so many of its cells are computed again."""
BENCHMARKS = (*MATHS[:2], "micro_code")

Answer = SampleRecord | InferenceRecord
Key = tuple[str, str, int, int]
"""Benchmark, question, training seed, sample."""


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    """A study in which every table has rows, with two groups of models and an unfinished trial."""
    return load(
        write_synthetic_study(
            tmp_path_factory.mktemp("study"),
            ("base", "grpo", "ppo", "grpo_matched", "di_only", "pc_only", "ilr", "infer_single", "infer_idea3"),
            groups=(("A", "B"), ("B", "C")),
            seeds=(0, 1),
            questions=6,
            benchmarks=BENCHMARKS,
            steps=2,
            unfinished=[("ppo", 1)],
        )
    )


def test_every_table_is_computed_again_below() -> None:
    # `accuracy` is of studies of one variant: tests/reports/test_before_after.py.
    assert {"accuracy", *TABLES} == {name for name in REPORTS.names() if isinstance(REPORTS.get(name), TableReport)}


@pytest.mark.parametrize(
    ("name", "correction"),
    [
        *((name, "auto") for name in TABLES),
        *(pytest.param("table2", correction, marks=pytest.mark.slow) for correction in ("holm", "bh")),
    ],
)
def test_every_printed_cell_is_what_the_record_files_give(
    frames: StudyFrames, name: str, correction: Correction
) -> None:
    numbers = get(name).numbers(frames, Settings(correction))
    assert correction != "auto" or name != "table2" or numbers.family.method == "max_t"
    table = printed(numbers, with_effects=True)
    rows = {(row.section, row.label): row for row in numbers.rows}
    seen = 0
    for grid in (table.main, *table.details):
        for line in grid.lines:
            if line.label.endswith(PUBLISHED):
                continue
            for column, value in zip(grid.columns, line.values, strict=True):
                again = computed(numbers, rows[line.section, line.label], column.name)
                assert (value.text if value else None) == (again.text if again else None), (line.label, column.name)
                seen += 1
    assert seen >= TABLES[name]


def computed(numbers: Numbers, row: TableRow, column: str) -> Value | None:
    """The cell from the record files; None where there is nothing to count."""
    if column in numbers.columns.all:
        return _accuracy(numbers, row, column)
    if column.startswith("vs "):
        item = numbers.comparison(row, column.removeprefix("vs "))
        return None if item is None else _difference(numbers, item)
    if column == "rank":
        return _rank(numbers, row)
    if column in ("rounds", "tokens_per_answer"):
        field = "rounds" if column == "rounds" else "tokens"
        return amount(float(np.mean([getattr(item, field) for item in _answers(numbers, row, None).values()])))
    if column == "tokens":
        return thousands(_tokens(numbers.frames, row))
    return _effect(numbers.frames, row, column)


def _accuracy(numbers: Numbers, row: TableRow, column: str) -> Value | None:
    answers = _answers(numbers, row, column)
    if not answers:
        return None
    cell = numbers.cells[row, column]
    interval = estimates.interval(_right(answers), **_names(answers), runs=cell.runs)
    assert interval.mean == pytest.approx(_mean(answers), abs=1e-9)
    return accuracy(replace(cell, interval=interval))


def _difference(numbers: Numbers, item: Comparison) -> Value:
    own, other = _answers(numbers, item.row, item.column), _answers(numbers, item.against, item.column)
    common = _balanced(own.keys() & other.keys())
    own, other = {key: own[key] for key in common}, {key: other[key] for key in common}
    result = estimates.paired_difference(_right(own), _right(other), **_names(own), runs=item.runs)
    assert result.difference == pytest.approx(_mean(own) - _mean(other), abs=1e-9)
    adjusted = item.adjusted
    if numbers.family.method != "max_t":
        raw = sorted(other.result.pvalue for other in numbers.family.counted)
        adjusted = _corrected(raw, numbers.family.method)[raw.index(result.pvalue)]
    return difference(replace(item, result=result, adjusted=adjusted))


def _corrected(raw: list[float], method: str) -> list[float]:
    """Of rising p-values: each times how many are at least as large, or times the count over its place."""
    count = len(raw)
    if method == "holm":
        return [min(max((count - index) * raw[index] for index in range(upto + 1)), 1.0) for upto in range(count)]
    return [min(min(raw[index] * count / (index + 1) for index in range(start, count)), 1.0) for start in range(count)]


def _rank(numbers: Numbers, row: TableRow) -> Value:
    means = {
        other: _mean(answers)
        for other in numbers.rows
        if other.section == row.section and (answers := _answers(numbers, other, numbers.headline))
    }
    index = [other for other in numbers.rows if other.section == row.section].index(row)
    if row in means:
        assert sum(mean > means[row] + 1e-9 for mean in means.values()) <= index
        assert sum(mean < means[row] - 1e-9 for mean in means.values()) < len(means) - index
    return amount(index + 1, 0)


def _tokens(frames: StudyFrames, row: TableRow) -> float:
    lines = [read_result(frames.folder / index).sampled_tokens.get(row.agent, 0) for index in row.folders]
    return float(np.mean(lines))


def _effect(frames: StudyFrames, row: TableRow, column: str) -> Value | None:
    steps = _steps(frames, row.folders, row)
    groups = sum(step.groups for step in steps)
    if column == "rule_cooperation":
        shares = [read_result(frames.folder / index).cooperation_share[row.agent] for index in row.folders]
        discussed = any(step.cooperation_share is not None for step in steps)
        return share(float(np.mean([value for value in shares if value is not None]))) if discussed else None
    if column == "flat":
        return share(sum(step.flat_groups for step in steps) / groups)
    field = {
        "clipped": "clipped_share",
        "changed": "changed_group_share",
        "advantage_change": "mean_advantage_change",
        "cooperation": "cooperation_share",
    }[column]
    known = [(getattr(step, field), step.groups) for step in steps if getattr(step, field) is not None]
    if not known:
        return None
    mean = sum(value * weight for value, weight in known) / sum(weight for _, weight in known)
    return amount(mean, 4) if column == "advantage_change" else share(mean)


def _steps(frames: StudyFrames, indices: Iterable[str], row: TableRow) -> list[StepRecord]:
    """The agent's lines of `train.jsonl`; none where nothing was trained."""
    paths = [frames.folder / index / "train.jsonl" for index in indices]
    return [step for path in paths if path.exists() for step in read(path, StepRecord) if step.agent == row.agent]


def _answers(numbers: Numbers, row: TableRow, column: str | None) -> dict[Key, Answer]:
    """Answers to the column's benchmarks (None: to all) of runs that have them all, to questions that all answered."""
    wanted = None if column is None else set(numbers.columns.benchmarks(column))
    found: dict[Key, Answer] = {}
    for seed, index in zip(row.seeds, row.folders, strict=True):
        run = {
            (record.benchmark, record.question_id, seed, sample): record
            for record, sample in _records(numbers.frames.folder / index, row.agent, numbers.spec.inference)
            if wanted is None or record.benchmark in wanted
        }
        if wanted is None or {key[0] for key in run} == wanted:
            found |= run
    return {key: found[key] for key in _balanced(found)}


def _records(folder: Path, agent: str, inference: bool) -> Iterator[tuple[Answer, int]]:
    if inference:
        yield from ((item, 0) for item in read(folder / INFERENCE, InferenceRecord) if item.agent == agent)
        return
    for path in sorted((folder / "eval" / agent).glob("*.jsonl")):
        yield from ((item, item.sample) for item in read(path, SampleRecord))


def _balanced(keys: Iterable[Key]) -> list[Key]:
    """Those of questions that every run has answered, in order."""
    known = sorted(keys)
    runs = len({key[2] for key in known})
    counts = Counter(key[:2] for key in {key[:3] for key in known})
    return [key for key in known if counts[key[:2]] == runs]


def _right(answers: dict[Key, Answer]) -> list[float]:
    return [float(record.verdict is Verdict.CORRECT) for record in answers.values()]


def _names(answers: dict[Key, Answer]) -> dict[str, Any]:
    return {
        "clusters": [key[1] for key in answers],
        "seeds": [key[2] for key in answers],
        "strata": [key[0] for key in answers],
    }


def _mean(answers: dict[Key, Answer]) -> float:
    """Over runs, benchmarks and questions, each counted alike, of the share of right samples."""
    cells: dict[tuple[int, str, str], list[float]] = {}
    for (benchmark, question, seed, _), right in zip(answers, _right(answers), strict=True):
        cells.setdefault((seed, benchmark, question), []).append(right)
    columns: dict[tuple[int, str], list[float]] = {}
    for (seed, benchmark, _), rights in cells.items():
        columns.setdefault((seed, benchmark), []).append(float(np.mean(rights)))
    return float(np.mean([np.mean(means) for means in columns.values()]))
