"""The figure of Table 2: the headline column of every variant with its interval, one panel per model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..rows import TableRow
from .style import INK, LEVEL, PALETTE, SOFT, figure_style, legend_below, prepare, save

if TYPE_CHECKING:
    from ..tables.comparison import Numbers

BLUE, ORANGE = PALETTE[0], PALETTE[1]
ALONE = "grpo"
"""In the name of every variant whose agents train alone without any part of ILR."""


def draw(table: Numbers, path: Path) -> Path:
    """Draws the figure; same table, same bytes."""
    sections = list(dict.fromkeys(row.section for row in table.rows))
    most = max(sum(row.section == section for row in table.rows) for section in sections)
    with figure_style():
        figure = Figure(figsize=(1.6 + 4.2 * len(sections), 1.8 + 0.45 * most), layout="constrained")
        labels = [tuple(row.label for row in table.rows if row.section == section) for section in sections]
        panels = figure.subplots(1, len(sections), sharex=True, sharey=len(set(labels)) == 1, squeeze=False)[0]
        for axes, section in zip(panels, sections, strict=True):
            _panel(axes, table, [row for row in table.rows if row.section == section])
            axes.set_title(f"Model {section}: mean and 95 % interval")
            axes.set_xlabel(f"{table.headline}, accuracy in % answering alone")
        legend_below(figure, _legend(table), most=3)
        return save(figure, path)


def _panel(axes: Axes, table: Numbers, rows: list[TableRow]) -> None:
    prepare(axes, "x")
    for index, row in enumerate(rows):
        cell = table.cells.get((row, table.headline))
        if cell is None:
            axes.text(0.5, index, "not finished", transform=axes.get_yaxis_transform(), ha="center", color=SOFT)
            continue
        it = cell.interval
        if row.variant == "base":
            axes.axvline(100 * it.mean, **LEVEL, zorder=1)
        comparison = table.comparison(row, "base")
        marked = comparison is not None and comparison.adjusted is not None and comparison.adjusted < 0.05
        shape = "D" if row.variant == "base" else "s" if ALONE in row.variant else "o"
        colour = SOFT if row.variant == "base" else ORANGE if ALONE in row.variant else BLUE
        axes.plot([100 * it.low, 100 * it.high], [index, index], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(
            100 * it.mean, index, marker=shape, markersize=8, zorder=3, markeredgecolor=colour, markeredgewidth=1.8,
            markerfacecolor=colour if marked or row.variant == "base" else "white",
        )  # fmt: skip
        if row.variant != "base" and len(cell.per_run) > 1:
            runs = [100 * value for value in cell.per_run]
            axes.plot(runs, [index + 0.27] * len(runs), linestyle="none", marker="|", markersize=6, color=SOFT)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    sns.despine(ax=axes, left=True)


def _legend(table: Numbers) -> list[Line2D]:
    handles = [Line2D([], [], **LEVEL, label="level of base"), _marker("D", SOFT, SOFT, "untrained")]
    if any(ALONE in row.variant for row in table.rows):
        handles.append(_marker("s", ORANGE, ORANGE, "trained alone"))
    if any(ALONE not in row.variant and row.variant != "base" for row in table.rows):
        handles.append(_marker("o", BLUE, BLUE, "ILR and variants of it"))
    if any(len(cell.per_run) > 1 for cell in table.cells.values()):
        handles.append(Line2D([], [], linestyle="none", marker="|", markersize=6, color=SOFT, label="one training run"))
    if "base" in table.references:
        handles.append(_marker("o", INK, "white", "hollow: no significant difference from base"))
    return handles


def _marker(shape: str, edge: str, face: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=shape, markersize=8, markeredgewidth=1.8, markeredgecolor=edge,
        markerfacecolor=face, label=label,
    )  # fmt: skip
