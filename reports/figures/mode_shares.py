"""How often each agent cooperates while it is trained."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.line_panels import line_panels
from reports.figures.panels import with_panels
from reports.figures.report import figure_report
from reports.figures.step_blocks import in_blocks, own_steps
from reports.frames import StudyFrames

METRICS = {"cooperation_share": ("questions on which it cooperates, %", 100.0)}


def shares(frames: StudyFrames) -> pd.DataFrame:
    """Share of questions on which an agent cooperates, in blocks of steps; for variants with a discussion."""
    return with_panels(in_blocks(own_steps(frames), list(METRICS)), frames)


def applies(frames: StudyFrames) -> str | None:
    """Whether anything was discussed while training."""
    discussed = "cooperation_share" in frames.steps and frames.steps["cooperation_share"].notna().any()
    return None if discussed else "no finished trial holds a discussion while training"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    figure = line_panels(table, METRICS, "mean over seeds in blocks of steps; bands: lowest and highest seed")
    for axes in figure.axes:
        axes.set_ylim(-4, 104)
    return figure


REPORT = figure_report(
    "mode_shares",
    "How often the models cooperate",
    "On every question each model either cooperates with its peers or competes with them. The item-response rule "
    "(ilr) cooperates where a question is harder than the model is able; other variants toss a coin. The share moves "
    "from block to block because each step asks a few questions only.",
    shares, draw, applies,
)  # fmt: skip
