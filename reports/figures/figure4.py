"""Figure 4: how difficult the models find the training questions, and where the rule draws its line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ilr_bench.core.errors import StoreError
from ilr_bench.method.interaction import cooperates
from ilr_bench.storage.files import parse_json
from ilr_bench.storage.records import TrialResult
from ilr_bench.storage.store import require_artifact

from ..frames import StudyFrames
from .report import figure_report
from .style import INK, PALETTE, SOFT, points, prepare

BINS = 100
"""Of width 0.01 over [0, 1], as in the paper."""
UNKNOWN = 0.5
"""Difficulty of a question that no agent ranked validly, as in training."""
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5)))


@dataclass(frozen=True)
class Group:
    """How the agents of one group ranked the training questions before training."""

    models: tuple[str, ...]
    rankings: dict[str, NDArray[np.float64]]
    """Agent -> (questions,) mean normalised rank; NaN without a valid one."""
    artifacts: dict[str, str]
    """Agent -> name of the artifact."""
    ability: dict[str, float]

    @property
    def joint(self) -> NDArray[np.float64]:
        """D_q, (questions,): the mean over the agents that ranked a question validly, else 0.5."""
        values = np.stack(list(self.rankings.values()))
        known = ~np.isnan(values)
        total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
        joint = np.full(len(total), UNKNOWN)
        np.divide(total, count, out=joint, where=count > 0)
        return joint


def groups(frames: StudyFrames) -> tuple[Group, ...]:
    """One per group of models, from its first finished trial whose difficulty artifacts are in the study's folder."""
    found: dict[tuple[str, ...], Group] = {}
    for result in frames.results.values():
        if result.models not in found and (group := _group(frames, result)):
            found[result.models] = group
    return tuple(found.values())


def histogram(frames: StudyFrames) -> pd.DataFrame:
    """Questions per bin: panel, kind, models, agent, bin (its lower edge), questions, share (a fraction).

    A panel of kind `agent` holds one model's own rankings; `joint` holds the mean that a group's rule uses, once
    for each of its agents, with its `ability` and the fraction of questions on which the rule has it cooperate.
    """
    rows, seen = [], set()
    all_groups = groups(frames)
    for group in all_groups:
        for (agent, values), model in zip(group.rankings.items(), group.models, strict=True):
            if group.artifacts[agent] not in seen:
                seen.add(group.artifacts[agent])
                rows += _bins(values[~np.isnan(values)], panel=f"Ranked by {model}", kind="agent", agent=agent)
    for group in all_groups:
        name = "+".join(group.models)
        for agent, gamma in group.ability.items():
            share = float(cooperates(gamma, group.joint).mean())
            rows += _bins(
                group.joint, panel=f"Mean over the agents of {name}, which the rule uses", kind="joint", agent=agent,
                models=name, ability=gamma, cooperates=share,
            )  # fmt: skip
    columns = ["panel", "kind", "models", "agent", "bin", "questions", "share", "ability", "cooperates"]
    return pd.DataFrame(rows, columns=columns)


def applies(frames: StudyFrames) -> str | None:
    """Whether the study still holds the models' rankings of the questions."""
    return None if groups(frames) else "no difficulty artifact in the study's folder"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per ranking model, then one per group with every agent's ability as a line."""
    names = list(dict.fromkeys(table["panel"]))
    columns = 1 if len(names) <= 3 else 2
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(0.8 + 6.2 * columns, 0.7 + 1.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False).T.ravel()
    for axes, name in zip(panels, names, strict=False):
        mine = table[table["panel"] == name]
        rows = mine.drop_duplicates("bin")
        prepare(axes, "y")
        joint = rows["kind"].iloc[0] == "joint"
        rows = rows[rows["questions"] > 0]
        axes.bar(
            rows["bin"] + 0.5 / BINS, 100 * rows["share"], width=1 / BINS, linewidth=0,
            color=SOFT if joint else PALETTE[0],
        )  # fmt: skip
        axes.set_xlim(-0.01, 1.01)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_title(name)
        axes.set_ylabel("questions, %")
        if joint:
            _abilities(axes, mine.drop_duplicates("agent"))
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for index in [len(names) - 1, *range(lines - 1, len(names), lines)]:
        panels[index].set_xlabel("difficulty (0: ranked easiest, 1: hardest), bins of 0.01")
        panels[index].tick_params(axis="x", labelbottom=True)
    return figure


def _abilities(axes: Axes, agents: pd.DataFrame) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * (1.15 + 0.2 * len(agents)))
    for index, row in enumerate(points(agents)):
        axes.axvline(
            row.ability, color=INK, linestyle=DASHES[index % len(DASHES)], linewidth=1.4,
            label=f"ability of {row.agent}, {row.ability:.2f}: cooperates on {100 * row.cooperates:.0f} %, right of it",
        )  # fmt: skip
    axes.legend(loc="upper right", fontsize=8.5, handlelength=2.6, borderaxespad=0.1, framealpha=1, edgecolor="none")


def _group(frames: StudyFrames, result: TrialResult) -> Group | None:
    names = {agent: result.artifacts.get(f"rankings/{agent}", "") for agent in result.agents}
    paths = {agent: frames.folder / "artifacts" / name / "rankings.json" for agent, name in names.items()}
    if not all(names.values()) or not all(path.exists() for path in paths.values()):
        return None
    ranks = {}
    for agent, path in paths.items():
        require_artifact(path.parent)
        try:
            ranks[agent] = np.array(parse_json(path.read_bytes())["difficulty"], dtype=np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is torn ({error!r}); delete its folder and run the sweep again") from error
    return Group(result.models, ranks, names, result.ability)


def _bins(values: NDArray[np.float64], **labels: object) -> list[dict[str, object]]:
    # A mean of ranks such as 0.29 may lie a rounding error below the edge that it is meant to lie on.
    indices = np.minimum((values * BINS + 1e-9).astype(int), BINS - 1)
    counts = np.bincount(indices, minlength=BINS)
    size = max(len(values), 1)
    return [
        {**labels, "bin": index / BINS, "questions": int(count), "share": count / size}
        for index, count in enumerate(counts)
    ]


REPORT = figure_report(
    "figure4",
    "Figure 4: how difficult the models find the questions",
    "Before training each model orders the training questions from easy to hard, a few at a time; a question's "
    "difficulty is its mean place. The rule compares that with a model's ability (its accuracy on held-out questions): "
    "right of its line a model cooperates, left of it it competes. A rank and an accuracy are different things, so "
    "where the line falls is a choice of the method rather than a fact about the questions.",
    histogram, draw, applies,
)  # fmt: skip
