"""A figure as a report: its numbers as CSV, its drawing as PNG, SVG and PDF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ilr_bench.storage.files import write_atomic

from ..escaping import csv_cell
from ..frames import StudyFrames
from ..registry import Report, Settings
from .style import figure_style, rendered, save

Applies = Callable[[StudyFrames], str | None]
Numbers = Callable[[StudyFrames], pd.DataFrame]
Draw = Callable[[pd.DataFrame], Figure]


@dataclass(frozen=True, kw_only=True)
class FigureReport(Report):
    """A figure, and the numbers in it."""

    caption: str
    """How to read it, for somebody who has not read the paper."""
    numbers: Numbers
    """Everything that is drawn, as a tidy table: the figure's CSV file."""
    draw: Draw
    """The drawing, inside `figure_style`."""

    def drawn(self, frames: StudyFrames) -> Figure:
        """The figure of a study."""
        with figure_style():
            return self.draw(self.numbers(frames))

    def png(self, figure: Figure) -> bytes:
        """It as a picture for a screen."""
        with figure_style():
            return rendered(figure, "png", dpi=100)


def figure_report(name: str, title: str, caption: str, numbers: Numbers, draw: Draw, applies: Applies) -> FigureReport:
    """A report that writes NAME.csv, .png, .svg and .pdf and returns the picture's path; same records, same bytes."""

    def write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
        table = numbers(frames)
        safe = table.map(csv_cell).rename(columns=csv_cell)
        write_atomic(out / f"{name}.csv", safe.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        with figure_style():
            return save(draw(table), out / f"{name}.png")

    return FigureReport(name, title, write, applies, caption=caption, numbers=numbers, draw=draw)


def needs_steps(column: str, reason: str) -> Applies:
    """`reason` where no training step of the study has a value in `column` of its records."""
    return lambda frames: None if frames.steps[column].notna().any() else reason


def needs_answers(applies: Applies) -> Applies:
    """`applies`, for a figure of accuracies: without benchmark answers of agents alone there is none."""
    return lambda frames: "no model was asked a benchmark alone" if frames.samples.empty else applies(frames)
