"""Training curves: held-out accuracy and mean reward per step, mean and range over seeds, per agent and variant."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.accuracy import PAPER_ORDER
from reports.figures import PALETTE, house_style, save
from reports.frames import StudyFrames
from reports.registry import Report, Settings

MEASURES = {"validation_accuracy": "held-out accuracy alone, %", "mean_reward": "mean reward while training"}
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (7, 2, 1.5, 2), (3, 1.5), (9, 3))
"""One per variant beside its colour, so that the lines can be told apart in grey."""


def curves(steps: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest over seeds per models, agent, variant, measure and step (`seeds`: how many)."""
    long = steps.melt(
        id_vars=["models", "agent", "variant", "step"], value_vars=list(MEASURES), var_name="measure"
    ).dropna(subset=["value"])
    long["value"] = long["value"].astype(float)
    grouped = long.groupby(["models", "agent", "variant", "measure", "step"], sort=False)["value"]
    table = grouped.agg(mean="mean", low="min", high="max", seeds="count").reset_index()
    order = {name: place for place, name in enumerate(PAPER_ORDER)}
    table["place"] = table["variant"].map(lambda name: order.get(name, len(order)))
    keys = ["models", "agent", "place", "variant", "measure", "step"]
    return table.sort_values(keys, kind="stable").drop(columns="place").reset_index(drop=True)


def applies(frames: StudyFrames) -> str | None:
    """Whether anything was trained."""
    return "no finished trial has training steps" if frames.steps.empty else None


def write_training_curves(frames: StudyFrames, out: Path, settings: Settings) -> Path:
    """Writes training_curves.csv and .png and returns the picture."""
    table = curves(frames.steps)
    table.to_csv(out / "training_curves.csv", index=False, float_format="%.6g", lineterminator="\n")
    return _draw(table, out / "training_curves.png")


def _draw(table: pd.DataFrame, path: Path) -> Path:
    agents = list(table[["models", "agent"]].drop_duplicates().itertuples(index=False, name=None))
    measures = [name for name in MEASURES if name in set(table["measure"])]
    variants = list(dict.fromkeys(table["variant"]))
    looks = {name: (PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]) for place, name in enumerate(variants)}
    several = len({models for models, _ in agents}) > 1
    with house_style():
        figure = Figure(figsize=(1.0 + 4.2 * len(agents), 0.9 + 2.7 * len(measures)), layout="constrained")
        panels = figure.subplots(len(measures), len(agents), sharex=True, sharey="row", squeeze=False)
        for column, (models, agent) in enumerate(agents):
            mine = table[(table["models"] == models) & (table["agent"] == agent)]
            for line, measure in enumerate(measures):
                axes = panels[line][column]
                _panel(axes, mine[mine["measure"] == measure], looks, 100 if measure == "validation_accuracy" else 1)
                if column == 0:
                    axes.set_ylabel(MEASURES[measure])
            panels[0][column].set_title(f"Model {agent} in {models}" if several else f"Model {agent}")
            panels[-1][column].set_xlabel("step")
        handles = [
            Line2D([], [], color=colour, dashes=dashes or (None, None), linewidth=1.8, label=name)
            for name, (colour, dashes) in looks.items()
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False, fontsize=9,
            handlelength=3.2, title="mean over seeds; bands: lowest and highest seed", title_fontsize=9,
        )  # fmt: skip
        return save(figure, path)


def _panel(axes: Axes, table: pd.DataFrame, looks: dict[str, tuple[str, tuple[float, ...]]], scale: int) -> None:
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    for variant, rows in table.groupby("variant", sort=False):
        colour, dashes = looks[str(variant)]
        axes.fill_between(
            rows["step"], scale * rows["low"], scale * rows["high"], color=colour, alpha=0.12, linewidth=0
        )
        axes.plot(rows["step"], scale * rows["mean"], color=colour, dashes=dashes or (None, None), linewidth=1.8)
    sns.despine(ax=axes)


REPORT = Report("training_curves", "Held-out accuracy and reward while training", write_training_curves, applies)
