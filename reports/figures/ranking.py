"""All variants of a study, best first, each with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..frames import StudyFrames
from ..tables.averages import averages
from .panels import panel_per_model
from .report import figure_report
from .style import INK, LEVEL, PALETTE, SOFT, VariantStyle, legend_below, mark, points, prepare

KINDS = {
    "untrained": VariantStyle(SOFT, (), "D"),
    "trained alone": VariantStyle(PALETTE[1], (), "s"),
    "discussing": VariantStyle(PALETTE[0], (), "o"),
}


def ranked(frames: StudyFrames) -> pd.DataFrame:
    """Section, variant, kind, Avg with its interval, seeds and sampled tokens; best first within each section."""
    found = averages(frames)
    rows = []
    for row, cell in found.cells.items():
        config, it = frames.configs[row.folders[0]], cell.interval
        discusses = len(config.discussion.stages) > 1
        rows.append(
            {
                "section": row.section, "variant": row.label,
                "kind": "untrained" if not config.training.steps else "discussing" if discusses else "trained alone",
                "column": found.headline, "mean": it.mean, "low": it.low, "high": it.high, "seeds": it.seeds,
                "questions": it.questions,
            }
        )  # fmt: skip
    sections = list(dict.fromkeys(row["section"] for row in rows))
    return pd.DataFrame(rows).sort_values(
        ["section", "mean"], ascending=[True, False], kind="stable", ignore_index=True,
        key=lambda column: column.map(sections.index) if column.name == "section" else column,
    )  # fmt: skip


def applies(frames: StudyFrames) -> str | None:
    """Whether there is anything to rank."""
    asked = frames.samples["variant"].nunique()
    return None if asked > 1 else "fewer than two variants whose models were asked alone"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    most = int(table.groupby("section")["variant"].size().max())
    across = f"{table['column'].iloc[0]} alone, % (95 % interval)"
    figure = panel_per_model(table, (4.8, 0.8 + 0.28 * most), _panel, across)
    kinds = set(table["kind"])
    handles = [mark(look, kind) for kind, look in KINDS.items() if kind in kinds]
    if "untrained" in kinds:
        handles.append(Line2D([], [], **LEVEL, label="level before training"))
    legend_below(figure, handles, most=len(handles))
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    prepare(axes, "x")
    for index, row in enumerate(points(table)):
        look = KINDS[row.kind]
        if row.variant == "base":
            axes.axvline(100 * row.mean, **LEVEL, zorder=1)
        axes.plot([100 * row.low, 100 * row.high], [index, index], color=look.colour, linewidth=2.2, zorder=2)
        axes.plot(100 * row.mean, index, marker=look.marker, markersize=7, color=look.colour, zorder=3)
    axes.set_yticks(range(len(table)), table["variant"].tolist(), color=INK)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


REPORT = figure_report(
    "ranking",
    "Every variant with its uncertainty",
    "Test questions answered rightly, alone, best first. The order is only as good as the intervals: neighbours whose "
    "bars overlap widely could as well stand the other way round.",
    ranked, draw, applies,
)  # fmt: skip
