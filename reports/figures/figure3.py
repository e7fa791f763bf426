"""Figure 3: Avg against how often a model cooperates, with the rule and its random mixture where they were counted."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ilr_bench.core.config import InteractionSettings, RunConfig

from ..frames import StudyFrames
from ..rows import TableRow
from ..tables.averages import Averages, averages
from ..tables.training_effects import effects
from .panels import panel_per_model
from .report import figure_report, needs_answers
from .style import INK, LEVEL, PALETTE, SOFT, legend_below, points, prepare

KINDS = {
    "coin": (INK, "o", "a coin, with this probability"),
    "irt": (PALETTE[3], "*", "the item-response rule (ilr)"),
    "matched_coin": (PALETTE[0], "D", "a coin with the rule's share (random_matched)"),
    "other": (PALETTE[2], "s", "another rule"),
    "base": (SOFT, "", "level before training"),
}
"""Colour, marker and words of each rule; `base` is a line, `other` a rule from outside."""


def shares(frames: StudyFrames) -> pd.DataFrame:
    """One line per point: models, agent, variant, rule, fraction of cooperation, Avg with its interval, seeds.

    `share` is the probability of a coin, and otherwise what was counted while training. Only variants that
    differ from the coin in nothing but the rule belong here; of several settings the one with most ratios.
    """
    found = averages(frames)
    members = _members(frames, found)
    panels = {(row.section, row.models) for row in members}
    table = []
    for row, cell in found.cells.items():
        if row not in members and not (row.stem == "base" and (row.section, row.models) in panels):
            continue
        it, config = cell.interval, frames.configs[row.folders[0]]
        named = config.interaction.rule if config.interaction.rule in KINDS else "other"
        rule = "base" if row.stem == "base" else named
        counted = effects(frames, row).cooperation if rule != "base" else None
        table.append(
            {
                "panel": row.section, "models": row.models, "agent": row.agent, "variant": row.variant, "rule": rule,
                "share": config.interaction.cooperation_ratio if rule == "coin" else counted,
                "counted_share": counted, "column": found.headline, "mean": it.mean, "low": it.low, "high": it.high,
                "seeds": it.seeds, "questions": it.questions,
            }
        )  # fmt: skip
    return pd.DataFrame(table).sort_values(["panel", "models", "rule", "share"], kind="stable", ignore_index=True)


def applies(frames: StudyFrames) -> str | None:
    """Whether two or more cooperation ratios were run."""
    rules = [config.interaction for config in frames.configs.values()]
    ratios = {rule.cooperation_ratio for rule in rules if rule.rule == "coin"}
    return None if len(ratios) > 1 else "fewer than two cooperation ratios (cooperation_0.0 to cooperation_1.0)"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    up = f"{table['column'].iloc[0]} alone, % (95 % interval)"
    figure = panel_per_model(table, (4.2, 3.1), _panel, "questions on which it cooperates, %", up, by="panel")
    rules = set(table["rule"])
    legend_below(figure, [_handle(rule) for rule in KINDS if rule in rules], most=2)
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    prepare(axes)
    coin = table[table["rule"] == "coin"]
    axes.plot(100 * coin["share"], 100 * coin["mean"], color=INK, linewidth=1.2, zorder=2)
    for row in points(table):
        colour, marker, _ = KINDS[row.rule]
        if row.rule == "base":
            axes.axhline(100 * row.mean, **LEVEL, zorder=1)
            continue
        index = 100 * row.share
        axes.plot([index, index], [100 * row.low, 100 * row.high], color=colour, linewidth=1.8, zorder=2)
        axes.plot(index, 100 * row.mean, marker=marker, markersize=13 if marker == "*" else 7, color=colour, zorder=3)
    axes.set_xlim(-6, 106)


def _handle(rule: str) -> Line2D:
    colour, marker, label = KINDS[rule]
    if not marker:
        return Line2D([], [], **LEVEL, label=label)
    return Line2D(
        [], [], color=colour, linestyle="-" if rule == "coin" else "none", linewidth=1.2, marker=marker,
        markersize=12 if marker == "*" else 7, label=label,
    )  # fmt: skip


def _members(frames: StudyFrames, found: Averages) -> set[TableRow]:
    """Rows with a discussion that differ from the coins in the rule alone."""
    plain = InteractionSettings()
    able = [
        row
        for row in found.cells
        if (config := frames.configs[row.folders[0]]).discussion.discusses
        and config.training.steps
        and config.interaction.disagreement == plain.disagreement
        and config.interaction.ability == plain.ability
    ]
    coins = [row for row in able if frames.configs[row.folders[0]].interaction.rule == "coin"]
    wanted = set()
    for models in dict.fromkeys(row.models for row in coins):
        mine = [_apart_from_the_rule(frames.configs[row.folders[0]]) for row in coins if row.models == models]
        wanted.add(max(mine, key=mine.count))
    return {row for row in able if _apart_from_the_rule(frames.configs[row.folders[0]]) in wanted}


def _apart_from_the_rule(config: RunConfig) -> RunConfig:
    return replace(config, profile="", variant="", pool=(), seed=0, interaction=InteractionSettings())


REPORT = figure_report(
    "figure3",
    "Figure 3: cooperating, competing, or choosing",
    "Across: on how many questions a model cooperates with its peer (the others it treats as a contest). Up: how many "
    "test questions it then answers rightly, alone. If choosing by question mattered, the star would lie above the "
    "diamond, which cooperates as often but at random, and above the line. Bars are 95 % intervals for new questions "
    "and new training runs; where they overlap widely, there is no difference to speak of.",
    shares, draw, needs_answers(applies),
)  # fmt: skip
