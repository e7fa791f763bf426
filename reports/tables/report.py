"""How a table of accuracies becomes a report: computed, printed, written in every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reports.frames import StudyFrames
from reports.registry import Report, Settings
from reports.tables.comparison import Numbers, Spec, build, missing
from reports.tables.printing import printed
from reports.tables.writer import Table, write_table


@dataclass(frozen=True, kw_only=True)
class TableReport(Report):
    """A table, as values for those who show it in another way or trace its numbers."""

    numbers: Callable[[StudyFrames, Settings], Numbers]
    table: Callable[[StudyFrames, Settings], Table]


def table_report(
    spec: Spec,
    needed: tuple[str, ...] | None = None,
    with_effects: bool = False,
    draw: Callable[[Numbers, Table, Path], None] | None = None,
) -> TableReport:
    """A report that writes NAME.md, .csv, .tex and .json, and what `draw` adds in the same folder.

    A study without any of the `needed` variants (default: all will do) has no such table.
    """

    def numbers(frames: StudyFrames, settings: Settings) -> Numbers:
        return build(frames, spec, settings.correction)

    def table(frames: StudyFrames, settings: Settings) -> Table:
        return printed(numbers(frames, settings), with_effects)

    def write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
        found = numbers(frames, settings)
        made = printed(found, with_effects)
        if draw is not None:
            draw(found, made, out)
        return write_table(made, out)

    def applies(frames: StudyFrames) -> str | None:
        return missing(frames, spec, needed)

    return TableReport(spec.name, spec.title, write, applies, numbers=numbers, table=table)
