"""Table 2: the method with its components taken away, out-of-domain code, and what it cost in sampled tokens.

Which of the paper's tables has this number is not known (docs/method.md); both candidates, the component
ablation and the code result, are in one table here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ilr_bench.files import write_atomic
from reports import statistics, table2_formats, table2_notes
from reports.accuracy import (
    AVERAGE,
    Accuracies,
    Cell,
    Columns,
    Comparison,
    Row,
    find_columns,
    find_rows,
    with_holm,
)
from reports.frames import StudyFrames
from reports.registry import Report, Settings
from reports.statistics import SeedVariance
from reports.training_effects import Effects, Equality, effects, equal_by_theorem

REFERENCES = ("base", "grpo_matched")
"""What every variant is compared with: no training, and as many sampled tokens spent alone."""
LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Detectable:
    """Smallest difference that a comparison in this column finds with a power of 80 %."""

    column: str
    questions: int
    single: float | None
    """At 5 % for one comparison; None where there is nothing to compare."""
    family: float | None
    """At 5 % over the family (Holm's first step); for the column that the family is about."""


@dataclass(frozen=True)
class Table2:
    """All numbers of the table."""

    frames: StudyFrames
    columns: Columns
    headline: str
    """The column of the paired comparisons: Avg, or the only kind of column there is."""
    rows: tuple[Row, ...]
    cells: Mapping[tuple[Row, str], Cell]
    """Missing where the answers are."""
    effects: Mapping[Row, Effects]
    comparisons: tuple[Comparison, ...]
    """In the headline column, with Holm's p-values: the family."""
    detectable: tuple[Detectable, ...]
    equal: tuple[Equality, ...]
    notes: tuple[str, ...]

    def comparison(self, row: Row, reference: str) -> Comparison | None:
        """The row against the reference of its section."""
        found = [item for item in self.comparisons if item.row == row and item.against.variant == reference]
        return found[0] if found else None

    @property
    def references(self) -> tuple[str, ...]:
        """The references that the study holds."""
        return tuple(name for name in REFERENCES if any(item.against.variant == name for item in self.comparisons))


def build(frames: StudyFrames, kinds: Mapping[str, str] | None = None) -> Table2:
    """Computes the table; `kinds` says of benchmarks whether they are `maths` or `code` where names do not."""
    columns, rows = find_columns(frames, kinds), find_rows(frames)
    headline = AVERAGE if columns.maths else columns.code[0]
    accuracies = Accuracies(frames, columns)
    runs = {
        (section, column): accuracies.run_variance([row for row in rows if row.section == section], column)
        for section in dict.fromkeys(row.section for row in rows)
        for column in columns.all
    }
    cells = {
        (row, column): cell
        for row in rows
        for column in columns.all
        if (cell := accuracies.cell(row, column, runs[row.section, column]))
    }
    by_column = {column: _compare(accuracies, rows, column, runs) for column in columns.all}
    family = with_holm(by_column[headline])
    counted = sum(item.row.same_as is None for item in family)
    detectable = tuple(
        _detectable(column, by_column[column], cells, counted if column == headline else None) for column in columns.all
    )
    equal = equal_by_theorem(frames, rows)
    per_row = {row: effects(frames, row) for row in rows}
    notes = table2_notes.notes(frames, columns, headline, rows, cells, per_row, family, equal)
    return Table2(frames, columns, headline, rows, cells, per_row, family, detectable, equal, notes)


def write_table2(frames: StudyFrames, out: Path, settings: Settings, kinds: Mapping[str, str] | None = None) -> Path:
    """Writes table2.md, .csv, .tex, .html, .json and .png, and returns the Markdown file."""
    from reports.table2_figure import draw

    table = build(frames, kinds)
    draw(table, out / "table2.png")
    for suffix, render in table2_formats.RENDERERS.items():
        write_atomic(out / f"table2.{suffix}", render(table))
    write_atomic(out / "table2.html", table2_formats.html(table, (out / "table2.png").read_bytes()))
    return out / "table2.md"


def _compare(
    accuracies: Accuracies, rows: tuple[Row, ...], column: str, runs: Mapping[tuple[str, str], SeedVariance | None]
) -> tuple[Comparison, ...]:
    found = []
    for row in rows:
        for reference in REFERENCES:
            section = (other for other in rows if other.section == row.section and other.variant == reference)
            against = next(section, None)
            # base against grpo_matched is grpo_matched against base, which is counted already.
            if against is None or row == against or row.variant == "base":
                continue
            if item := accuracies.compare(row, against, column, runs[row.section, column]):
                found.append(item)
    return tuple(found)


def _detectable(
    column: str, comparisons: tuple[Comparison, ...], cells: Mapping[tuple[Row, str], Cell], family: int | None
) -> Detectable:
    questions = max((cell.interval.questions for (_, name), cell in cells.items() if name == column), default=0)
    # A pair of identical rows has no error of its own and says nothing about what could be seen.
    spread = [item.result for item in comparisons if item.result.standard_error > 0]
    if not spread:
        return Detectable(column, questions, None, None)

    def smallest(alpha: float) -> float:
        return median(
            statistics.minimum_detectable_effect(item.standard_error, item.df, alpha, POWER) for item in spread
        )

    return Detectable(column, questions, smallest(LEVEL), smallest(LEVEL / family) if family else None)


REPORT = Report("table2", "Component ablation and out-of-domain code", write_table2)
