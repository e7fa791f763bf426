"""What a discussion is worth while training: accuracy of a model's own idea against that of its fused answer."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..frames import StudyFrames
from .panels import panel_per_model, with_panels
from .report import figure_report, needs_steps
from .step_blocks import in_blocks, ordered, own_steps
from .style import INK, LEVEL, legend_below, mark, prepare, variant_styles

METRICS = ("sharing_accuracy", "fusion_accuracy")
PARTS = 3
"""The training is cut into three; the first and the last part are drawn."""


def accuracies(frames: StudyFrames) -> pd.DataFrame:
    """Accuracy alone (sharing) and after the discussion (fusion) per models, agent, variant and third of the steps."""
    steps = own_steps(frames).dropna(subset=["fusion_accuracy"])
    return with_panels(in_blocks(steps, METRICS, most=PARTS), frames)


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model; each variant goes from a hollow mark (first third) to a full one (last third)."""
    found = variant_styles(ordered(table["variant"].tolist()))
    low, high = 100 * table["mean"].min() - 3, 100 * table["mean"].max() + 3

    def panel(axes: Axes, mine: pd.DataFrame) -> None:
        prepare(axes)
        axes.plot([low, high], [low, high], **LEVEL, zorder=1)
        for (variant, _, _), rows in mine.groupby(["variant", "models", "agent"], sort=False):
            look = found[str(variant)]
            points = 100 * rows.pivot_table(index="step", columns="measure", values="mean")
            alone, fused = points["sharing_accuracy"].to_numpy(), points["fusion_accuracy"].to_numpy()
            axes.plot(alone, fused, color=look.colour, linewidth=1.2, alpha=0.7, zorder=2)
            axes.plot(
                alone[0], fused[0], marker=look.marker, markersize=6, markerfacecolor="white",
                markeredgecolor=look.colour, markeredgewidth=1.6, zorder=3,
            )  # fmt: skip
            axes.plot(alone[-1], fused[-1], marker=look.marker, markersize=7, color=look.colour, zorder=3)

    up = "right after the discussion, %"
    figure = panel_per_model(table, (3.9, 3.5), panel, "own idea right, %", up, by="panel", share_y=True)
    handles = [mark(look, name, size=None) for name, look in found.items()]
    handles += [
        Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=INK, label="first third"),
        Line2D([], [], linestyle="none", marker="o", color=INK, label="last third of the steps"),
        Line2D([], [], **LEVEL, label="the discussion changes nothing"),
    ]
    legend_below(figure, handles, most=4)
    return figure


REPORT = figure_report(
    "solo_fusion",
    "What the discussion is worth while training",
    "Across: how many of a model's own first answers are right. Up: how many are right after it has heard its peers. "
    "Above the dashed line the discussion helps. Marks move from hollow (first third of the training) to full (last "
    "third). Being right after a discussion is not the aim: the tables test each model alone.",
    accuracies, draw, needs_steps("fusion_accuracy", "no finished trial holds a discussion while training"),
)  # fmt: skip
