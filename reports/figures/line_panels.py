"""Panels of lines over training steps: a column per model, a row per measure, a line per variant."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.panels import MOST_COLUMNS, panel_grid
from reports.figures.step_blocks import ordered
from reports.figures.style import VariantStyle, line_legend, prepare, variant_styles


def line_panels(table: pd.DataFrame, measures: Mapping[str, tuple[str, float]], legend: str) -> Figure:
    """Draws a table with panel, models, agent, variant, measure, step, mean, low and high.

    `measures` gives each measure's axis label and the factor that its values are drawn with.
    """
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
