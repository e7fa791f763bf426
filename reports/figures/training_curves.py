"""Lines over training steps: learning curves, and how often each agent cooperates; a column of panels per model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..frames import StudyFrames
from .panels import MOST_COLUMNS, panel_grid, with_panels
from .report import figure_report, needs_steps
from .step_blocks import in_blocks, in_order, ordered, own_steps
from .style import VariantStyle, line_legend, prepare, variant_styles

Metrics = Mapping[str, tuple[str, float]]
"""Column -> its axis label, and the factor that its values are drawn with."""
CURVES: Metrics = {
    "validation_accuracy": ("held-out accuracy alone, %", 100.0),
    "mean_reward": ("mean reward while training", 1.0),
}
COOPERATION: Metrics = {"cooperation_share": ("questions on which it cooperates, %", 100.0)}


def curves(frames: StudyFrames) -> pd.DataFrame:
    """Mean, lowest and highest over seeds per models, agent, variant, measure and step (`seeds`: how many).

    Step 0 is the accuracy before training on the same held-out questions: the agent's ability.
    """
    steps = own_steps(frames)
    keys = ["models", "agent", "variant", "step"]
    long = steps.melt(id_vars=[*keys, "seed"], value_vars=list(CURVES), var_name="measure").dropna(subset=["value"])
    validated = long.loc[long["measure"] == "validation_accuracy", ["models", "agent", "variant", "seed"]]
    start = frames.trials.merge(validated.drop_duplicates(), on=["models", "agent", "variant", "seed"])
    start = start.assign(step=0, measure="validation_accuracy", value=start["ability"])[list(long.columns)]
    long = pd.concat([start, long]) if len(start) else long
    long["value"] = long["value"].astype(float)
    grouped = long.groupby([*keys[:3], "measure", "step"], sort=False)["value"]
    table = in_order(grouped.agg(mean="mean", low="min", high="max", seeds="count").reset_index())
    return with_panels(table, frames)


def cooperation(frames: StudyFrames) -> pd.DataFrame:
    """Fraction of questions on which an agent cooperates, in blocks of steps; for variants with a discussion."""
    return with_panels(in_blocks(own_steps(frames), list(COOPERATION)), frames)


def draw_curves(table: pd.DataFrame) -> Figure:
    """Both quantities, one above the other."""
    return line_panels(table, CURVES, "mean over seeds; bands: lowest and highest seed")


def draw_cooperation(table: pd.DataFrame) -> Figure:
    """One panel per model, from 0 to 100 %."""
    figure = line_panels(table, COOPERATION, "mean over seeds in blocks of steps; bands: lowest and highest seed")
    for axes in figure.axes:
        axes.set_ylim(-4, 104)
    return figure


def line_panels(table: pd.DataFrame, measures: Metrics, legend: str) -> Figure:
    """Draws a table with panel, models, agent, variant, measure, step, mean, low and high."""
    names = list(dict.fromkeys(table["panel"]))
    there = [name for name in measures if name in set(table["measure"])]
    found = variant_styles(ordered(table["variant"].tolist()))
    figure, columns = panel_grid(len(names), 4.0, 2.5, each=len(there), share_y=True)
    for index, (name, panels) in enumerate(zip(names, columns, strict=True)):
        mine = table[table["panel"] == name]
        for measure, axes in zip(there, panels, strict=True):
            label, scale = measures[measure]
            draw_lines(axes, mine[mine["measure"] == measure], found, scale)
            if index % MOST_COLUMNS == 0:
                axes.set_ylabel(label)
        panels[0].set_title(f"Model {name}")
        panels[-1].set_xlabel("step")
    line_legend(figure, found, legend)
    return figure


def draw_lines(axes: Axes, table: pd.DataFrame, found: Mapping[str, VariantStyle], scale: float) -> None:
    """One line per variant (and group of models) with a band from the lowest to the highest seed."""
    prepare(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    alpha = 0.12 if len(found) <= 6 else 0.06
    keys = [key for key in ("variant", "models", "agent") if key in table]
    for name, rows in table.groupby(keys, sort=False):
        look = found[str(name[0])]
        axes.fill_between(
            rows["step"], scale * rows["low"], scale * rows["high"], color=look.colour, alpha=alpha, linewidth=0
        )
        # Broken lines lie upon solid ones: lines that run together can both be seen.
        axes.plot(rows["step"], scale * rows["mean"], **look.line(), zorder=2.5 if look.dashes else 2)
        if len(rows) == 1:  # a line of one point would not be seen
            axes.plot(rows["step"], scale * rows["mean"], color=look.colour, marker=look.marker, linestyle="none")


TRAINING_CURVES = figure_report(
    "training_curves",
    "Learning curves",
    "Above: how many held-out questions each model answers rightly, alone, before training (step 0) and while it is "
    "trained. Below: the reward it earns on the questions it is trained on. Where models discuss, their answers after "
    "the discussion count in it too, so it says nothing about who reasons better alone. Lines are means over training "
    "runs; bands reach from the lowest to the highest run.",
    curves, draw_curves, needs_steps("step", "no finished trial has training steps"),
)  # fmt: skip
MODE_SHARES = figure_report(
    "mode_shares",
    "How often the models cooperate",
    "On every question each model either cooperates with its peers or competes with them. The item-response rule "
    "(ilr) cooperates where a question is harder than the model is able; other variants toss a coin. The share moves "
    "from block to block because each step asks a few questions only.",
    cooperation, draw_cooperation,
    needs_steps("cooperation_share", "no finished trial holds a discussion while training"),
)  # fmt: skip
