"""What Perception Calibration (equation (5)) does to the advantages that a model learns from."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..frames import StudyFrames
from .report import figure_report, needs_steps
from .step_blocks import in_blocks, ordered, own_steps
from .style import VariantStyle, line_legend, points, prepare, variant_styles
from .training_curves import Metrics, draw_lines

METRICS: Metrics = {
    "clipped_share": ("clipped terms, %", 100.0),
    "changed_group_share": ("groups changed, %", 100.0),
    "mean_advantage_change": ("advantage change", 1.0),
}


def effects(frames: StudyFrames) -> pd.DataFrame:
    """The three quantities per models, agent and variant: over all steps (`step` empty) and in blocks of steps."""
    steps = own_steps(frames)
    whole = in_blocks(steps, list(METRICS), most=1).assign(step=float("nan"))
    return pd.concat([whole, in_blocks(steps, list(METRICS))], ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Left: every agent's mean over all steps; right: the mean over agents in blocks of steps."""
    variants = ordered(table["variant"].tolist())
    found = variant_styles(variants)
    height = 1.5 + len(METRICS) * max(1.7, 0.6 + 0.24 * len(variants))
    figure = Figure(figsize=(9.4, height), layout="constrained")
    panels = figure.subplots(len(METRICS), 2, squeeze=False, gridspec_kw={"width_ratios": [1, 1.25]})
    for line, (measure, (label, scale)) in enumerate(METRICS.items()):
        mine = table[table["measure"] == measure]
        _dots(panels[line][0], mine[mine["step"].isna()], found, scale)
        panels[line][0].set_xlabel(label)
        over = mine[mine["step"].notna()].groupby(["variant", "step"], sort=False)
        lines = over.agg(mean=("mean", "mean"), low=("low", "min"), high=("high", "max")).reset_index()
        draw_lines(panels[line][1], lines.sort_values("step", kind="stable"), found, scale)
        panels[line][1].set_ylabel(label)
        panels[line][1].set_ylim(bottom=0)
    panels[0][0].set_title("Over all steps, a mark per agent")
    panels[0][1].set_title("While training")
    panels[-1][1].set_xlabel("step")
    agents = ", ".join(dict.fromkeys(table["agent"]))
    words = f"left: agents from top to bottom ({agents}), bars: lowest and highest seed\n"
    line_legend(figure, found, words + "right: mean over agents and seeds, bands: lowest and highest")
    return figure


def _dots(axes: Axes, table: pd.DataFrame, found: dict[str, VariantStyle], scale: float) -> None:
    prepare(axes, "x")
    for index, (name, look) in enumerate(found.items()):
        rows = table[table["variant"] == name]
        for number, row in enumerate(points(rows)):
            height = index + 0.36 * ((number + 0.5) / max(len(rows), 1) - 0.5)
            axes.plot([scale * row.low, scale * row.high], [height, height], color=look.colour, linewidth=1.6)
            axes.plot(scale * row.mean, height, marker=look.marker, markersize=6, color=look.colour)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))


REPORT = figure_report(
    "calibration_effect",
    "What calibrating the rewards changes",
    "Calibration adds to each reward how far it lies from the peers' rewards, cut off at a bound. Only where a term is "
    "cut off can it change what a model learns from, as long as advantages are standardised within a group of answers: "
    "so these three numbers say whether it did anything at all. A group is changed if an advantage moved by more than "
    "0.001; the change of an advantage is the mean over all answers, those that kept theirs included.",
    effects, draw, needs_steps("clipped_share", "no finished trial calibrates rewards"),
)  # fmt: skip
