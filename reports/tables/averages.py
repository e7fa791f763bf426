"""The one number per row that figures show: Avg (or the only kind of column there is), and its gain over `base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..frames import StudyFrames
from ..rows import Columns, TableRow, find_columns, find_rows
from .accuracy import Accuracies, Cell, Comparison


@dataclass(frozen=True)
class Averages:
    """The headline column of a study."""

    headline: str
    """The column's name."""
    columns: Columns
    accuracies: Accuracies
    cells: Mapping[TableRow, Cell]
    """Rows with answers, without those that repeat another row's trials."""
    gains: Mapping[TableRow, Comparison]
    """Against the untrained model of the same section, not corrected for their number."""


def averages(frames: StudyFrames) -> Averages:
    """Accuracy of every row with its interval, as in the tables, and its paired difference from `base`."""
    columns = find_columns(frames)
    headline = columns.headline
    accuracies = Accuracies(frames, columns)
    cells: dict[TableRow, Cell] = {}
    gains: dict[TableRow, Comparison] = {}
    rows = find_rows(frames)
    for section in dict.fromkeys(row.section for row in rows):
        mine = [row for row in rows if row.section == section and row.same_as is None]
        runs = accuracies.run_variance(mine, headline)
        for row in mine:
            base = _base_of(row, mine)
            if cell := accuracies.cell(row, headline, runs):
                cells[row] = cell
            if base and row != base and (gain := accuracies.compare(row, base, headline, runs)):
                gains[row] = gain
    return Averages(headline, columns, accuracies, cells, gains)


def _base_of(row: TableRow, section: Sequence[TableRow]) -> TableRow | None:
    """The untrained model; where a sweep varied settings, the one with the row's own if there is one."""
    found = [other for other in section if other.stem == "base"]
    same = [other for other in found if other.variant.partition(" ")[2] == row.variant.partition(" ")[2]]
    return next(iter(same or found), None)


def model_of(frames: StudyFrames, row: TableRow) -> str:
    """The model behind a row's agent: `A` for both copies `A.1` and `A.2`."""
    trials = frames.trials
    mine = trials[(trials["folder"] == row.folders[0]) & (trials["agent"] == row.agent)]
    return str(mine["model"].iloc[0])
