"""Which panel of a figure an agent belongs to, and how panels are laid out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..frames import StudyFrames
from ..rows import find_rows

MOST_COLUMNS = 3


def with_panels(table: pd.DataFrame, frames: StudyFrames) -> pd.DataFrame:
    """The table with a first column `panel` from its models and agent: the section that the tables put them in.

    Agents that no section has (a third one that was never asked alone) get a panel of their own.
    """
    known = {(row.models, row.agent): row.section for row in find_rows(frames)}
    pairs = zip(table["models"], table["agent"], strict=True)
    panels = [known.get(pair, f"{pair[1]} ({pair[0]})") for pair in pairs]
    order = list(dict.fromkeys([*known.values(), *panels]))
    named = table.copy()
    named.insert(0, "panel", panels)
    return named.sort_values("panel", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def panel_per_model(
    table: pd.DataFrame,
    size: tuple[float, float],
    draw: Callable[[Axes, pd.DataFrame], None],
    across: str,
    up: str | None = None,
    *,
    by: str = "section",
    share_y: bool = False,
) -> Figure:
    """A figure in which `draw` has a panel for the rows of each value of `by`; width and height in inches.

    `across` names the horizontal axes; `up` the vertical ones, of the first panel in a line, where labels do not.
    """
    names = list(dict.fromkeys(table[by]))
    figure, panels = panel_grid(len(names), *size, share_y=share_y)
    for index, (name, [axes]) in enumerate(zip(names, panels, strict=True)):
        draw(axes, table[table[by] == name])
        axes.set_title(f"Model {name}")
        axes.set_xlabel(across)
        if up is not None and index % MOST_COLUMNS == 0:
            axes.set_ylabel(up)
    return figure


def panel_grid(
    count: int, width: float, height: float, *, each: int = 1, share_x: bool = True, share_y: bool = False
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with `count` columns of `each` panels, at most three side by side.

    Width and height are those of one panel, in inches. Returns the columns; axes are shared within the figure.
    """
    columns = min(count, MOST_COLUMNS)
    blocks = math.ceil(count / columns)
    size = (1.0 + max(width * columns, 5.8), 1.2 + height * blocks * each)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(blocks * each, columns, squeeze=False, sharex=share_x)
    for line, axes in enumerate(grid if share_y else ()):
        for other in axes:
            if other is not grid[line % each][0]:
                other.sharey(grid[line % each][0])
    found = [list(grid[each * block : each * block + each, column]) for block, column in np.ndindex(blocks, columns)]
    for panels in found[:count]:
        panels[-1].tick_params(axis="x", labelbottom=True)
    for axes in np.ravel(found[count:]):
        axes.set_visible(False)
    return figure, found[:count]
