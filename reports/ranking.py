"""All variants of a study, best first, each with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.averages import averages
from reports.figure_report import figure_report
from reports.figures import INK, PALETTE, SOFT, points, prepare
from reports.frames import StudyFrames
from reports.panels import panel_grid

KINDS = {
    "untrained": (SOFT, "D"),
    "trained alone": (PALETTE[1], "s"),
    "discussing": (PALETTE[0], "o"),
}


def ranked(frames: StudyFrames) -> pd.DataFrame:
    """Section, variant, kind, Avg with its interval, seeds and sampled tokens; best first within each section."""
    found = averages(frames)
    rows = []
    for row, cell in found.cells.items():
        config = frames.configs[row.folders[0]]
        talks = len(config.discussion.stages) > 1
        it = cell.interval
        rows.append(
            {
                "section": row.section, "variant": row.label,
                "kind": "untrained" if not config.training.steps else "discussing" if talks else "trained alone",
                "column": found.headline, "mean": it.mean, "low": it.low, "high": it.high, "seeds": it.seeds,
                "questions": it.questions,
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    place = {name: number for number, name in enumerate(dict.fromkeys(table["section"]))}
    table["place"] = table["section"].map(place)
    ordered = table.sort_values(["place", "mean"], ascending=[True, False], kind="stable", ignore_index=True)
    return ordered.drop(columns="place")


def applies(frames: StudyFrames) -> str | None:
    """Whether there is anything to rank."""
    asked = frames.samples["variant"].nunique()
    return None if asked > 1 else "fewer than two variants whose models were asked alone"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    sections = list(dict.fromkeys(table["section"]))
    most = int(table.groupby("section")["variant"].size().max())
    figure, panels = panel_grid(len(sections), 4.8, 0.8 + 0.28 * most)
    for section, [axes] in zip(sections, panels, strict=True):
        _panel(axes, table[table["section"] == section])
        axes.set_title(f"Model {section}")
        axes.set_xlabel(f"{table['column'].iloc[0]} alone, % (95 % interval)")
    handles = [
        Line2D([], [], linestyle="none", marker=marker, markersize=7, color=colour, label=kind)
        for kind, (colour, marker) in KINDS.items()
        if kind in set(table["kind"])
    ]
    if "untrained" in set(table["kind"]):
        handles.append(Line2D([], [], color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, label="level before training"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    prepare(axes, "x")
    for place, row in enumerate(points(table)):
        colour, marker = KINDS[row.kind]
        if row.variant == "base":
            axes.axvline(100 * row.mean, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=2.2, zorder=2)
        axes.plot(100 * row.mean, place, marker=marker, markersize=7, color=colour, zorder=3)
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
