"""Training steps averaged in blocks: single steps, of a few questions each, are too noisy to draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..frames import StudyFrames
from ..rows import PAPER_ORDER

MOST_BLOCKS = 10


def own_steps(frames: StudyFrames) -> pd.DataFrame:
    """The training steps, without those of variants that are the same trials under another name."""
    keys = ["variant", "models", "agent", "seed"]
    return frames.steps.merge(frames.trials.drop_duplicates(["folder", "agent"])[keys], on=keys)


def ordered(variants: Sequence[str]) -> list[str]:
    """Names without repetition, the paper's variants first, in its order."""
    index = {name: number for number, name in enumerate(PAPER_ORDER)}
    return sorted(dict.fromkeys(variants), key=lambda name: index.get(name, len(index)))


def in_blocks(steps: pd.DataFrame, columns: Sequence[str], most: int = MOST_BLOCKS) -> pd.DataFrame:
    """Means of each column over at most `most` blocks of steps, per models, agent and variant.

    Returns a tidy table with `measure`, `step` (middle of the block), `first` and `last` (its steps), and the
    mean, lowest and highest over seeds (`seeds`: how many). Steps weigh by their number of groups; columns without
    any value for a variant are left out.
    """
    if steps.empty:
        return pd.DataFrame(columns=[*_KEYS, "mean", "low", "high", "seeds"])
    last = int(steps["step"].max())
    edges = np.linspace(0, last, min(most, last) + 1).round().astype(int)
    block = np.searchsorted(edges, steps["step"].to_numpy(), side="left")
    placed = steps.assign(first=edges[block - 1] + 1, last=edges[block])
    long = placed.melt(
        id_vars=["models", "agent", "variant", "seed", "first", "last", "groups"],
        value_vars=list(columns), var_name="measure",
    ).dropna(subset=["value"])  # fmt: skip
    long["value"] = long["value"].astype(float) * long["groups"]
    runs = long.groupby([*_RUN, "first", "last"], sort=False)[["value", "groups"]].sum().reset_index()
    runs["value"] = runs["value"] / runs["groups"]
    runs["step"] = (runs["first"] + runs["last"]) / 2
    table = runs.groupby(list(_KEYS), sort=False)["value"].agg(mean="mean", low="min", high="max", seeds="count")
    return in_order(table.reset_index())


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by models, agent and variant, the paper's variants first; the order within is kept by step."""
    variants = ordered(table["variant"].tolist())
    return table.sort_values(
        ["models", "agent", "variant", "measure", "step"], kind="stable", ignore_index=True,
        key=lambda column: column.map(variants.index) if column.name == "variant" else column,
    )  # fmt: skip


_RUN = ("models", "agent", "variant", "seed", "measure")
_KEYS = ("models", "agent", "variant", "measure", "step", "first", "last")
