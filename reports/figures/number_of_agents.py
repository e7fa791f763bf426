"""Whether more agents, or two copies of one model, change what each of them learns."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ilr_bench.core.config import RunConfig

from ..frames import StudyFrames
from ..tables.averages import averages, model_of
from .panels import panel_per_model
from .report import figure_report, needs_answers
from .style import LEVEL, PALETTE, SOFT, legend_below, points, prepare

KINDS = {
    "alone": (PALETTE[1], "s", "trained alone (grpo, grpo_matched)"),
    "group": (PALETTE[0], "o", "discussing with other models"),
    "twins": (PALETTE[2], "^", "discussing with a copy of itself"),
    "base": (SOFT, "", "level before training"),
}
ALONE = ("grpo", "grpo_matched")


def sizes(frames: StudyFrames) -> pd.DataFrame:
    """Section, models, agent, variant, number of agents, kind, and Avg with its interval.

    Discussing rows are those whose configuration differs in the models alone from that of `ilr` (or, without it,
    from the first of them).
    """
    found, discussing = averages(frames), _discussing(frames)
    rows = []
    for row, cell in found.cells.items():
        config = frames.configs[row.folders[0]]
        kind = None
        if row.stem in ("base", *ALONE):
            kind = "base" if row.stem == "base" else "alone"
        elif _apart_from_models(config) == discussing:
            kind = "twins" if config.models.count(model_of(frames, row)) > 1 else "group"
        if kind is not None:
            it = cell.interval
            rows.append(
                {
                    "section": row.section, "models": row.models, "agent": row.agent, "variant": row.variant,
                    "agents": len(config.models) if kind in ("group", "twins") else 1, "kind": kind,
                    "column": found.headline, "mean": it.mean, "low": it.low, "high": it.high, "seeds": it.seeds,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def applies(frames: StudyFrames) -> str | None:
    """Whether groups of different sizes, or of copies of one model, were run."""
    discussing = _discussing(frames)
    configs = [config for config in frames.configs.values() if _apart_from_models(config) == discussing]
    groups = {tuple(sorted(config.models)) for config in configs}
    copies = any(len(set(group)) < len(group) for group in groups)
    if len(set(map(len, groups))) > 1 or (copies and len(groups) > 1):
        return None
    return "only one size of group (variants agents_3, agents_4 and twins add others)"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    up = f"{table['column'].iloc[0]} alone, % (95 % interval)"
    figure = panel_per_model(table, (3.9, 3.1), _panel, "agents in the group", up)
    for axes in figure.axes:
        axes.set_xticks(range(1, int(table["agents"].max()) + 1))
        axes.set_xlim(0.5, table["agents"].max() + 0.5)
    kinds = set(table["kind"])
    legend_below(figure, [_handle(kind) for kind in KINDS if kind in kinds], most=2)
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    prepare(axes, "y")
    crowd = {size: list(rows.index) for size, rows in table[table["kind"] != "base"].groupby("agents")}
    for row in points(table):
        colour, marker, _ = KINDS[row.kind]
        if row.kind == "base":
            axes.axhline(100 * row.mean, **LEVEL, zorder=1)
            continue
        same = crowd[row.agents]
        index = row.agents + 0.12 * (same.index(row.Index) - (len(same) - 1) / 2)
        axes.plot([index, index], [100 * row.low, 100 * row.high], color=colour, linewidth=1.8, zorder=2)
        axes.plot(
            index, 100 * row.mean, marker=marker, markersize=8, zorder=3, markeredgecolor=colour, markeredgewidth=1.6,
            markerfacecolor="white" if row.variant == "grpo_matched" else colour,
        )  # fmt: skip


def _handle(kind: str) -> Line2D:
    colour, marker, label = KINDS[kind]
    if not marker:
        return Line2D([], [], **LEVEL, label=label)
    hollow = "; hollow: as many tokens as ilr" if kind == "alone" else ""
    return Line2D([], [], color=colour, linestyle="none", marker=marker, markersize=8, label=label + hollow)


def _discussing(frames: StudyFrames) -> RunConfig | None:
    """The configuration, apart from its models, that groups are compared under."""
    able = [config for config in frames.configs.values() if config.discussion.discusses and config.training.steps]
    first = next((config for config in able if config.variant == "ilr"), able[0] if able else None)
    return _apart_from_models(first) if first is not None else None


def _apart_from_models(config: RunConfig) -> RunConfig:
    return replace(config, profile="", variant="", models=(), pool=(), seed=0)


REPORT = figure_report(
    "number_of_agents",
    "More agents, and twins",
    "How many test questions each model answers rightly, alone, after training in groups of different sizes. With "
    "three or more agents the bounds of calibration are tighter, so it acts more often. Twins are two copies of one "
    "model: they show whether the models have to differ for a discussion to teach anything.",
    sizes, draw, needs_answers(applies),
)  # fmt: skip
