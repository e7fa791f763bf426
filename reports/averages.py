"""The one number per row that figures show: Avg (or the only kind of column there is), and its gain over `base`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.accuracy import AVERAGE, Accuracies, Cell, Comparison, Row, find_columns, find_rows
from reports.frames import StudyFrames


@dataclass(frozen=True)
class Averages:
    """The headline column of a study."""

    headline: str
    cells: Mapping[Row, Cell]
    """Rows with answers, without those that repeat another row's trials."""
    gains: Mapping[Row, Comparison]
    """Against the untrained model of the same section, not corrected for their number."""


def averages(frames: StudyFrames) -> Averages:
    """Accuracy of every row with its interval, as in the tables, and its paired difference from `base`."""
    columns = find_columns(frames)
    headline = AVERAGE if columns.maths else columns.code[0]
    accuracies = Accuracies(frames, columns)
    cells: dict[Row, Cell] = {}
    gains: dict[Row, Comparison] = {}
    rows = find_rows(frames)
    for section in dict.fromkeys(row.section for row in rows):
        mine = [row for row in rows if row.section == section and row.same_as is None]
        runs = accuracies.run_variance(mine, headline)
        base = next((row for row in mine if row.variant == "base"), None)
        for row in mine:
            if cell := accuracies.cell(row, headline, runs):
                cells[row] = cell
            if base and row != base and (gain := accuracies.compare(row, base, headline, runs)):
                gains[row] = gain
    return Averages(headline, cells, gains)


def model_of(frames: StudyFrames, row: Row) -> str:
    """The model behind a row's agent: `A` for both agents of the twins `A.1` and `A.2`."""
    trials = frames.trials
    mine = trials[(trials["folder"] == row.folders[0]) & (trials["agent"] == row.agent)]
    return str(mine["model"].iloc[0])
