"""Accuracies of rows in columns, and paired comparisons between rows: what every table of a study is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd

from reports import statistics
from reports.frames import StudyFrames
from reports.statistics import Interval, PairedDifference, SeedVariance

AVERAGE = "Avg"
CODE_PATTERNS = ("*_code", "mbpp*", "humaneval*")
PAPER_ORDER = ("base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr")
COLUMN_ORDER = (
    "gsm8k", "math500", "minerva", "olympiadbench", "aime", "aime24", "aime25",
    "micro_short_chain", "micro_word_problem", "micro_two_step", "micro_long_chain", "micro_ood",
)  # fmt: skip
"""The paper's columns and the micro ones in order of difficulty; others follow by name."""


@dataclass(frozen=True)
class Row:
    """One variant of one agent."""

    section: str
    """Heading of the model's part of the table."""
    label: str
    variant: str
    models: str
    """The group it was trained in, as `A+B`."""
    agent: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    same_as: str | None
    """Label of an earlier row that is the same trials under another name."""


@dataclass(frozen=True)
class Cell:
    """A number of the table and where it comes from."""

    interval: Interval
    seeds: tuple[int, ...]
    per_run: tuple[float, ...]
    """Accuracy of each of these runs."""
    files: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A row against another one, in one column."""

    row: Row
    against: Row
    column: str
    result: PairedDifference
    own_runs_pvalue: float
    """The p-value where the variance between runs is the two rows' own, not pooled over variants."""
    adjusted: float | None = None
    """Holm's p-value where the comparison belongs to the table's family."""


@dataclass(frozen=True)
class Columns:
    """Benchmarks by kind, in the order of the table."""

    maths: tuple[str, ...]
    code: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The columns with accuracies."""
        return (*self.maths, AVERAGE, *self.code) if self.maths else self.code

    def benchmarks(self, column: str) -> tuple[str, ...]:
        """The benchmarks that a column is made of."""
        return self.maths if column == AVERAGE else (column,)


def column_title(name: str) -> str:
    """A column's name as printed: the micro benchmarks without the prefix that they all share."""
    return name.removeprefix("micro_").replace("_", " ")


def find_columns(frames: StudyFrames, kinds: Mapping[str, str] | None = None) -> Columns:
    """Sorts the study's benchmarks into maths and code; `kinds` (benchmark -> kind) overrides what names tell."""
    found = frames.samples["benchmark"].unique().tolist()
    ordered = sorted(found, key=lambda name: (_place(COLUMN_ORDER, name), name))
    kind = {name: "code" if any(fnmatch(name, pattern) for pattern in CODE_PATTERNS) else "maths" for name in found}
    kind.update(kinds or {})
    return Columns(
        maths=tuple(name for name in ordered if kind[name] == "maths"),
        code=tuple(name for name in ordered if kind[name] == "code"),
    )


def find_rows(frames: StudyFrames) -> tuple[Row, ...]:
    """The rows, section by section, in the paper's order and then the study's.

    A group of models with a `base` opens one section per agent; variants with other groups of models
    (`agents_3`, `twins`) join the first section of the same model.
    """
    names = frames.trials[["variant", "models", "agent", "model"]].drop_duplicates()
    groups = frames.trials.loc[frames.trials["variant"] == "base", "models"].unique().tolist()
    home = names[names["models"].isin(groups)] if groups else names
    sections = home[["models", "agent", "model"]].drop_duplicates().to_dict("records")
    rows: list[Row] = []
    for place, section in enumerate(sections):
        repeated = sum(other["agent"] == section["agent"] for other in sections) > 1
        title = f"{section['agent']} ({section['models']})" if repeated else str(section["agent"])
        mine = home[(home["models"] == section["models"]) & (home["agent"] == section["agent"])]
        first = [other["model"] for other in sections].index(section["model"]) == place
        guests = names[~names.index.isin(home.index) & (names["model"] == section["model"])]
        wanted = pd.concat([mine, guests]) if first else mine
        ordered = sorted(wanted.to_dict("records"), key=lambda item: _place(PAPER_ORDER, item["variant"]))
        for item in ordered:
            rows.append(_row(frames, title, item, item["models"] == section["models"], rows))
    return tuple(rows)


class Accuracies:
    """The answers of a study, looked up by row and column."""

    def __init__(self, frames: StudyFrames, columns: Columns) -> None:
        """Groups the answers once."""
        self._columns = columns
        self._known: dict[tuple[Row, str], pd.DataFrame | None] = {}
        self._answers = {
            key: group.set_index(["benchmark", "question", "seed", "sample"]).sort_index()
            for key, group in frames.samples.groupby(["models", "agent", "variant"], sort=False)
        }

    def answers(self, row: Row, column: str) -> pd.DataFrame | None:
        """Answers of the runs that have every benchmark of the column, or None."""
        if (row, column) not in self._known:
            self._known[row, column] = self._look_up(row, column)
        return self._known[row, column]

    def _look_up(self, row: Row, column: str) -> pd.DataFrame | None:
        found = self._answers[row.models, row.agent, row.variant]
        wanted = self._columns.benchmarks(column)
        found = found[found.index.get_level_values("benchmark").isin(wanted)]
        runs = found.index.to_frame(index=False).groupby("seed")["benchmark"].nunique()
        complete = runs.index[runs == len(wanted)]
        found = found[found.index.get_level_values("seed").isin(complete)]
        return _balanced(found) if len(found) else None

    def cell(self, row: Row, column: str, runs: SeedVariance | None) -> Cell | None:
        """The accuracy with its interval (`runs` as in `statistics.interval`); None where the answers are missing."""
        found = self.answers(row, column)
        if found is None:
            return None
        seeds = sorted(set(found.index.get_level_values("seed")))
        files = tuple(dict.fromkeys(found["file"].sort_values().tolist()))
        per_run = found.groupby(level=["seed", "benchmark"])["correct"].mean().groupby(level="seed").mean()
        interval = statistics.interval(found["correct"], **_names(found), runs=runs)
        return Cell(interval, tuple(seeds), tuple(float(value) for value in per_run), files)

    def run_variance(self, rows: Sequence[Row], column: str) -> SeedVariance | None:
        """Variance between training runs pooled over rows; rows whose answers repeat others count once."""
        seen: set[bytes] = set()
        variances = []
        for row in rows:
            found = self.answers(row, column)
            if found is None:
                continue
            correct = found["correct"].to_numpy()
            item = statistics.seed_variance(correct, **_names(found))
            if item.df > 0 and correct.tobytes() not in seen:
                seen.add(correct.tobytes())
                variances.append(item)
        return statistics.pooled(variances)

    def compare(self, row: Row, against: Row, column: str, runs: SeedVariance | None) -> Comparison | None:
        """`row` minus `against` on common questions and runs; None where there are none."""
        left, right = self.answers(row, column), self.answers(against, column)
        if left is None or right is None:
            return None
        both = _balanced(left[["correct"]].join(right["correct"].rename("other"), how="inner"))
        if not len(both):
            return None
        names = _names(both)
        pooled = statistics.paired_difference(both["correct"], both["other"], **names, runs=runs)
        own = statistics.paired_difference(both["correct"], both["other"], **names)
        return Comparison(row, against, column, pooled, own.pvalue)


def with_holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons as one family; a row that repeats another one's trials is not counted again."""
    counted = [item for item in comparisons if item.row.same_as is None]
    adjusted = statistics.holm([item.result.pvalue for item in counted])
    known = {
        (item.row.section, item.row.folders, item.against.label): float(value)
        for item, value in zip(counted, adjusted, strict=True)
    }
    return tuple(
        replace(item, adjusted=known[item.row.section, item.row.folders, item.against.label]) for item in comparisons
    )


def _row(frames: StudyFrames, title: str, item: Mapping[str, str], is_home: bool, earlier: Sequence[Row]) -> Row:
    trials = frames.trials
    keys = ("models", "agent", "variant")
    mine = trials[np.logical_and.reduce([trials[key] == item[key] for key in keys])].sort_values("seed")
    label = item["variant"] if is_home else f"{item['variant']} ({item['agent']} in {item['models']})"
    folders = tuple(mine["folder"])
    same = [row for row in earlier if row.section == title and (row.folders, row.agent) == (folders, item["agent"])]
    return Row(
        section=title,
        label=label,
        variant=item["variant"],
        models=item["models"],
        agent=item["agent"],
        seeds=tuple(mine["seed"].tolist()),
        folders=folders,
        same_as=same[0].label if same else None,
    )


def _names(answers: pd.DataFrame) -> dict[str, Any]:
    """Keyword arguments of the functions in `statistics`."""
    level = answers.index.get_level_values
    return {
        "clusters": level("question").to_numpy(),
        "seeds": level("seed").to_numpy(),
        "strata": level("benchmark").to_numpy(),
    }


def _balanced(answers: pd.DataFrame) -> pd.DataFrame:
    """Only questions that every run has answered."""
    runs = answers.index.get_level_values("seed").nunique()
    counts = answers.index.to_frame(index=False).groupby(["benchmark", "question"])["seed"].nunique()
    if (counts == runs).all():
        return answers
    whole = counts.index[counts == runs]
    level = answers.index.get_level_values
    return answers[pd.MultiIndex.from_arrays([level("benchmark"), level("question")]).isin(whole)]


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)
