"""Accuracies of rows in columns, and paired comparisons between rows: what every table of a study is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from ..frames import StudyFrames
from ..rows import Columns, TableRow
from ..statistics import estimates
from ..statistics.estimates import Interval, PairedDifference, SeedVariance


@dataclass(frozen=True)
class Cell:
    """A number of the table and where it comes from."""

    interval: Interval
    seeds: tuple[int, ...]
    per_run: tuple[float, ...]
    """Accuracy of each of these runs."""
    files: tuple[str, ...]
    runs: SeedVariance | None
    """The pooled variance between runs that went into the interval."""


@dataclass(frozen=True)
class Comparison:
    """A row against another one, in one column."""

    row: TableRow
    against: TableRow
    column: str
    result: PairedDifference
    runs: SeedVariance | None
    """The pooled variance between runs that went into the result."""
    own_runs_pvalue: float | None = None
    """The p-value where the variance between runs is the two rows' own, not pooled over variants; if asked for."""
    adjusted: float | None = None
    """The corrected p-value where the comparison belongs to the table's family."""
    permuted: float | None = None
    """The p-value of the permutation test over training runs for this comparison alone, where it was made."""


class Accuracies:
    """The answers of a study, looked up by row and column."""

    def __init__(self, frames: StudyFrames, columns: Columns, answers: pd.DataFrame | None = None) -> None:
        """Groups the answers (default: `frames.samples`) once."""
        self._columns = columns
        self._known: dict[tuple[TableRow, str], pd.DataFrame | None] = {}
        self._answers = {
            key: group.set_index(["benchmark", "question", "seed", "sample"]).sort_index()
            for key, group in (frames.samples if answers is None else answers).groupby(
                ["models", "agent", "variant"], sort=False
            )
        }

    def answers(self, row: TableRow, column: str) -> pd.DataFrame | None:
        """Answers of the runs that have every benchmark of the column, or None."""
        if (row, column) not in self._known:
            self._known[row, column] = self._look_up(row, column)
        return self._known[row, column]

    def _look_up(self, row: TableRow, column: str) -> pd.DataFrame | None:
        found = self._answers[row.models, row.agent, row.variant]
        wanted = self._columns.benchmarks(column)
        found = found[found.index.get_level_values("benchmark").isin(wanted)]
        runs = found.index.to_frame(index=False).groupby("seed")["benchmark"].nunique()
        complete = runs.index[runs == len(wanted)]
        found = found[found.index.get_level_values("seed").isin(complete)]
        return _balanced(found) if len(found) else None

    def by_run(self, row: TableRow, column: str) -> pd.DataFrame | None:
        """Mean over each run's answers to each question: a line per seed, a column per benchmark and question."""
        found = self.answers(row, column)
        if found is None:
            return None
        return (
            found.groupby(level=["seed", "benchmark", "question"])["correct"].mean().unstack(["benchmark", "question"])
        )

    def cell(self, row: TableRow, column: str, runs: SeedVariance | None) -> Cell | None:
        """The accuracy with its interval (`runs` as in `statistics.interval`); None where the answers are missing."""
        found = self.answers(row, column)
        if found is None:
            return None
        seeds = sorted(set(found.index.get_level_values("seed")))
        files = tuple(dict.fromkeys(found["file"].sort_values().tolist()))
        per_run = found.groupby(level=["seed", "benchmark"])["correct"].mean().groupby(level="seed").mean()
        interval = estimates.interval(found["correct"], **_names(found), runs=runs)
        return Cell(interval, tuple(seeds), tuple(float(value) for value in per_run), files, runs)

    def run_variance(self, rows: Sequence[TableRow], column: str) -> SeedVariance | None:
        """Variance between training runs pooled over rows; rows whose answers repeat others count once."""
        seen: set[bytes] = set()
        variances = []
        for row in rows:
            found = self.answers(row, column)
            if found is None:
                continue
            correct = found["correct"].to_numpy()
            item = estimates.seed_variance(correct, **_names(found))
            if item.df > 0 and correct.tobytes() not in seen:
                seen.add(correct.tobytes())
                variances.append(item)
        return estimates.pooled(variances)

    def common(self, row: TableRow, against: TableRow, column: str) -> pd.DataFrame | None:
        """Answers (`correct`, and `other` of `against`) to common questions in common runs; None without any."""
        left, right = self.answers(row, column), self.answers(against, column)
        if left is None or right is None:
            return None
        both = _balanced(left[["correct"]].join(right["correct"].rename("other"), how="inner"))
        return both if len(both) else None

    def compare(
        self, row: TableRow, against: TableRow, column: str, runs: SeedVariance | None, with_own_runs: bool = False
    ) -> Comparison | None:
        """`row` minus `against` on common questions and runs; None where there are none.

        `with_own_runs` makes the test a second time with the two rows' own variance between runs.
        """
        both = self.common(row, against, column)
        if both is None:
            return None
        names = _names(both)
        pooled = estimates.paired_difference(both["correct"], both["other"], **names, runs=runs)
        own = estimates.paired_difference(both["correct"], both["other"], **names) if with_own_runs else None
        return Comparison(row, against, column, pooled, runs, own.pvalue if own else None)


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
    codes = cast(pd.MultiIndex, answers.index).codes
    benchmark, question, seed = (np.asarray(codes[level], dtype=np.int64) for level in range(3))
    if not len(seed):
        return answers
    index = benchmark * (question.max() + 1) + question
    once = np.unique(index * (seed.max() + 1) + seed) // (seed.max() + 1)
    found, counts = np.unique(once, return_counts=True)
    whole = counts == len(np.unique(seed))
    return answers if whole.all() else answers[np.isin(index, found[whole])]
