"""Training curves: held-out accuracy and mean reward per step, mean and range over seeds, per agent and variant."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.line_panels import line_panels
from reports.figures.panels import with_panels
from reports.figures.report import figure_report
from reports.figures.step_blocks import in_order, own_steps
from reports.frames import StudyFrames

METRICS = {
    "validation_accuracy": ("held-out accuracy alone, %", 100.0),
    "mean_reward": ("mean reward while training", 1.0),
}


def curves(frames: StudyFrames) -> pd.DataFrame:
    """Mean, lowest and highest over seeds per models, agent, variant, measure and step (`seeds`: how many).

    Step 0 is the accuracy before training on the same held-out questions: the agent's ability.
    """
    steps = own_steps(frames)
    keys = ["models", "agent", "variant", "step"]
    long = steps.melt(id_vars=[*keys, "seed"], value_vars=list(METRICS), var_name="measure").dropna(subset=["value"])
    validated = long.loc[long["measure"] == "validation_accuracy", ["models", "agent", "variant", "seed"]]
    start = frames.trials.merge(validated.drop_duplicates(), on=["models", "agent", "variant", "seed"])
    start = start.assign(step=0, measure="validation_accuracy", value=start["ability"])[list(long.columns)]
    long = pd.concat([start, long]) if len(start) else long
    long["value"] = long["value"].astype(float)
    grouped = long.groupby([*keys[:3], "measure", "step"], sort=False)["value"]
    table = in_order(grouped.agg(mean="mean", low="min", high="max", seeds="count").reset_index())
    return with_panels(table, frames)


def applies(frames: StudyFrames) -> str | None:
    """Whether anything was trained."""
    return "no finished trial has training steps" if frames.steps.empty else None


def draw(table: pd.DataFrame) -> Figure:
    """A column of panels per model."""
    return line_panels(table, METRICS, "mean over seeds; bands: lowest and highest seed")


REPORT = figure_report(
    "training_curves",
    "Learning curves",
    "Above: how many held-out questions each model answers rightly, alone, before training (step 0) and while it is "
    "trained. Below: the reward it earns on the questions it is trained on. Where models discuss, their answers after "
    "the discussion count in it too, so it says nothing about who reasons better alone. Lines are means over training "
    "runs; bands reach from the lowest to the highest run.",
    curves, draw, applies,
)  # fmt: skip
