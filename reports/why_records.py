"""The records behind a row of a table, read anew from its files, and the means that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilr_bench.records import InferenceRecord, SampleRecord, StepRecord, Verdict, read
from reports.comparison import Numbers
from reports.frames import INFERENCE
from reports.rows import Row, column_title

Answer = SampleRecord | InferenceRecord
Key = tuple[str, str, int, int]
"""Benchmark, question, training seed, sample."""
Answers = dict[Key, Answer]


def steps_of(path: Path, agent: str) -> list[StepRecord]:
    """An agent's lines of a `train.jsonl`; none where nothing was trained."""
    return [record for record in read(path, StepRecord) if record.agent == agent] if path.exists() else []


def answers_of(numbers: Numbers, row: Row, column: str | None) -> Answers:
    """Answers to the column's benchmarks (None: to all), in order.

    Of runs that have them all, and of the questions that every such run has answered.
    """
    wanted = None if column is None else set(numbers.columns.benchmarks(column))
    found: Answers = {}
    for seed, place in zip(row.seeds, row.folders, strict=True):
        run = {
            (record.benchmark, record.question_id, seed, sample): record
            for record, sample in _records(numbers.frames.folder / place, row.agent, numbers.spec.inference)
            if wanted is None or record.benchmark in wanted
        }
        if wanted is None or {key[0] for key in run} == wanted:
            found |= run
    return {key: found[key] for key in balanced(found)}


def balanced(keys: Iterable[Key]) -> list[Key]:
    """Those of questions that every run has answered, in order."""
    known = sorted(keys)
    runs = len({key[2] for key in known})
    counts = Counter(key[:2] for key in {key[:3] for key in known})
    return [key for key in known if counts[key[:2]] == runs]


def mean_steps(numbers: Numbers, answers: Answers, column: str) -> tuple[list[str], float]:
    """Counts by benchmark and run, and the mean that they make."""
    seeds = sorted({key[2] for key in answers})
    benchmarks = numbers.columns.benchmarks(column)
    lines: list[str] = []
    by_run: dict[int, list[float]] = {seed: [] for seed in seeds}
    for benchmark in benchmarks:
        parts = []
        for seed in seeds:
            mine = {key: record for key, record in answers.items() if (key[0], key[2]) == (benchmark, seed)}
            right = sum(record.verdict is Verdict.CORRECT for record in mine.values())
            by_run[seed].append(_question_mean(mine))
            parts.append(f"seed {seed}: {right} of {len(mine)} right = {100 * by_run[seed][-1]:.3f} %")
        lines.append(f"{column_title(benchmark)}: {'; '.join(parts)}")
    runs = [float(np.mean(by_run[seed])) for seed in seeds]
    if len(benchmarks) > 1:
        listed = ", ".join(f"seed {seed} {100 * value:.3f} %" for seed, value in zip(seeds, runs, strict=True))
        lines.append(f"plain mean of the {len(benchmarks)} columns, by run: {listed}")
    mean = float(np.mean(runs))
    lines.append(f"mean over {len(runs)} run{'s' if len(runs) > 1 else ''}: {100 * mean:.3f} %")
    return lines, mean


def record_lines(row: Row, answers: Answers) -> tuple[str, ...]:
    """A line per file: answers, verdicts, prompts, and the seed that they were sampled with."""
    places = dict(zip(row.seeds, row.folders, strict=True))
    by_file: dict[str, list[Answer]] = {}
    for (benchmark, _, seed, _), record in answers.items():
        alone = isinstance(record, SampleRecord)
        name = f"eval/{row.agent}/{benchmark}.jsonl" if alone else f"{INFERENCE} ({row.agent}, {benchmark})"
        by_file.setdefault(f"{places[seed]}/{name}", []).append(record)
    lines = []
    for name, records in by_file.items():
        verdicts = Counter(record.verdict.value for record in records)
        prompts = sorted({record.prompt_hash for record in records})
        counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        seeds = ", ".join(sorted({str(record.seed) for record in records}))
        shown = f"{prompts[0]} to {prompts[-1]}" if len(prompts) > 1 else prompts[0]
        lines.append(
            f"  {name}: {len(records)} answers ({counted}); hashes of {len(prompts)} "
            f"prompt{'s' if len(prompts) > 1 else ''} {shown}; sampling seed {seeds}"
        )
    return tuple(lines)


def values(answers: Answers) -> NDArray[np.float64]:
    """1 for a right answer, else 0; shape (answers,)."""
    return np.array([float(record.verdict is Verdict.CORRECT) for record in answers.values()])


def names(answers: Answers) -> dict[str, Any]:
    """Keyword arguments of the functions in `statistics`; shape (answers,) each."""
    keys = list(answers)
    return {
        "clusters": np.array([key[1] for key in keys]),
        "seeds": np.array([key[2] for key in keys]),
        "strata": np.array([key[0] for key in keys]),
    }


def _records(folder: Path, agent: str, inference: bool) -> Iterable[tuple[Answer, int]]:
    if inference:
        for answer in read(folder / INFERENCE, InferenceRecord):
            if answer.agent == agent:
                yield answer, 0
        return
    for path in sorted((folder / "eval" / agent).glob("*.jsonl")):
        for record in read(path, SampleRecord):
            yield record, record.sample


def _question_mean(answers: Answers) -> float:
    """Mean over questions of the mean over their samples."""
    by_question: dict[str, list[float]] = {}
    for key, record in answers.items():
        by_question.setdefault(key[1], []).append(float(record.verdict is Verdict.CORRECT))
    return float(np.mean([np.mean(found) for found in by_question.values()]))
