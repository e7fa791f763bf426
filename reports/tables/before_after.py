"""One variant, every agent before and after training, benchmark by benchmark: what `ilr-bench train` ends with."""

from __future__ import annotations

from pathlib import Path

from ..frames import StudyFrames
from ..registry import Settings
from ..rows import AVERAGE, TableRow, column_title
from .comparison import Numbers, Spec, build
from .footnotes import footnotes
from .printing import about, accuracy, difference, table_facts
from .report import TableReport
from .training_effects import effects, equal_by_theorem
from .writer import Column, Grid, Line, Table, write_table

SPEC = Spec(
    name="accuracy",
    title="Accuracy. Every agent alone, before and after training",
    references=("base",),
    with_costs=False,
    differences="Gain",
)
HEADS = ("Agent", "Benchmark")


def numbers(frames: StudyFrames, settings: Settings) -> Numbers:
    """All rows of the study, each trained one compared with its untrained model."""
    return build(frames, SPEC, settings.correction)


def table(frames: StudyFrames, settings: Settings) -> Table:
    """A line per agent and benchmark; without trained agents, or without untrained ones, fewer columns."""
    found = numbers(frames, settings)
    seen = {row: effects(frames, row) for row in found.rows}
    notes = footnotes(found, seen, equal_by_theorem(frames, found.rows))
    if found.family.comparisons:
        notes += (
            f"Gains in columns other than {column_title(found.headline)} are paired in the same way and have an "
            "interval, but no p-value: they are not in the family.",
        )
    return Table(
        name=SPEC.name,
        title=SPEC.title,
        about=about(found),
        command=frames.study.command,
        main=_grid(found),
        notes=notes,
        facts=table_facts(found),
    )


def applies(frames: StudyFrames) -> str | None:
    """Whether there is one variant, with or without its untrained models."""
    if frames.samples.empty:
        return "no model was asked a benchmark alone"
    variants = sorted(set(frames.samples["variant"]) - {"base"})
    return f"{len(variants)} variants, which other tables compare" if len(variants) > 1 else None


def _grid(found: Numbers) -> Grid:
    trained = [row for row in found.rows if found.frames.configs[row.folders[0]].training.steps]
    before = {row: item.against for row in trained if (item := found.comparison(row, SPEC.references[0]))}
    last = Column("after", "After") if before else Column("accuracy", "Accuracy")
    columns = (Column("before", "Before"), last, Column("gain", "Gain")) if before else (last,)
    names = (found.headline, *(name for name in found.columns.all if name != found.headline))
    rows = trained or found.rows
    lines = [_line(found, rows, row, before.get(row), name, len(columns)) for row in rows for name in names]
    return Grid(SPEC.title, columns, tuple(lines), HEADS)


def _line(
    found: Numbers, rows: tuple[TableRow, ...] | list[TableRow], row: TableRow, before: TableRow | None, name: str,
    width: int,
) -> Line:  # fmt: skip
    shown = [None if at is None else found.cells.get((at, name)) for at in (before, row)]
    cells = [None if cell is None else accuracy(cell) for cell in shown]
    gain = None
    if name == found.headline:
        gain = found.comparison(row, SPEC.references[0])
    elif before is not None:
        cell = found.cells.get((row, name))
        gain = found.accuracies.compare(row, before, name, cell.runs if cell else None)
    values = (*cells, None if gain is None else difference(gain))
    unique = sum(other.agent == row.agent for other in rows) == 1
    label = column_title(name) if name != AVERAGE else AVERAGE
    return Line(
        row.agent if unique else f"{row.agent}, {row.label}", label, values if width > 1 else values[1:2],
        facts={"variant": row.variant, "agent": row.agent, "column": name, "seeds": row.seeds, "trials": row.folders},
    )  # fmt: skip


def _write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
    return write_table(table(frames, settings), out)


REPORT = TableReport(SPEC.name, SPEC.title, _write, applies, numbers=numbers, table=table)
