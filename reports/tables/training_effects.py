"""From training records, row by row: calibration's effect, modes, groups with nothing to learn from, tokens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ilr_bench.core.config import (
    STANDALONE_STAGES,
    CalibrationSettings,
    DifficultySettings,
    InteractionSettings,
    RunConfig,
)

from ..frames import StudyFrames
from ..rows import TableRow


@dataclass(frozen=True)
class Effects:
    """Means over all steps and runs of a row; None where the quantity does not exist."""

    sampled_tokens: float
    """Completion tokens sampled for this agent while training, mean over runs."""
    clipped: float | None
    """Fraction of equation (5)'s terms that were clipped."""
    changed: float | None
    """Fraction of groups whose advantages calibration changed by more than 1e-3."""
    advantage_change: float | None
    flat: float | None
    """Fraction of groups whose advantages are all zero."""
    cooperation: float | None
    """Fraction of questions met in training on which the agent cooperated."""
    rule_cooperation: float | None
    """Fraction of all training questions on which the item-response rule has it cooperate."""


@dataclass(frozen=True)
class Equality:
    """A row that calibration could not have moved from the same variant without calibration."""

    row: TableRow
    other: TableRow
    """Without calibration."""
    answers: int
    """Answers on which the two were compared."""
    different: int
    """Of these, answers whose texts differ."""


def effects(frames: StudyFrames, row: TableRow) -> Effects:
    """What the records of the row's runs add up to."""
    trials = of_row(frames.trials, row)
    steps = of_row(frames.steps, row)
    groups = steps["groups"].to_numpy(dtype=float)
    return Effects(
        sampled_tokens=float(trials["sampled_tokens"].mean()),
        clipped=_mean(steps["clipped_share"], groups),
        changed=_mean(steps["changed_group_share"], groups),
        advantage_change=_mean(steps["mean_advantage_change"], groups),
        flat=float(steps["flat_groups"].sum() / groups.sum()) if len(steps) and groups.sum() else None,
        cooperation=_mean(steps["cooperation_share"], groups),
        rule_cooperation=_mean(trials["rule_cooperation"], np.ones(len(trials))),
    )


def equal_by_theorem(frames: StudyFrames, rows: tuple[TableRow, ...]) -> tuple[Equality, ...]:
    """Rows that equal another one because equation (5) changed no group's advantages.

    Without an active clip the group-standardised advantages are those of the rewards before calibration, so
    DI-only equals ILR and PC-only equals GRPO alone: any two rows whose configurations differ in calibration
    alone. Agents in a discussion read each other's answers, so there no agent's advantages may have changed.
    """
    found = []
    for row in rows:
        if row.same_as is not None or not _calibration_was_idle(frames, row):
            continue
        same = [
            other
            for other in rows
            if (other.models, other.agent, other.section) == (row.models, row.agent, row.section)
            and set(row.seeds) & set(other.seeds)
            and all(
                frames.configs[index].calibration.kind == "none"
                and _without_calibration(frames.configs[index]) == _without_calibration(frames.configs[own])
                for index, own in _common(other, row)
            )
        ]
        if same:
            found.append(Equality(row, same[0], *_differing(frames, row, same[0])))
    return tuple(found)


def _common(left: TableRow, right: TableRow) -> list[tuple[str, str]]:
    folders = dict(zip(right.seeds, right.folders, strict=True))
    return [(index, folders[seed]) for seed, index in zip(left.seeds, left.folders, strict=True) if seed in folders]


def _calibration_was_idle(frames: StudyFrames, row: TableRow) -> bool:
    configs = [frames.configs[index] for index in row.folders]
    if any(config.calibration.kind == "none" for config in configs):
        return False
    steps = frames.steps[(frames.steps["models"] == row.models) & (frames.steps["variant"] == row.variant)]
    if all(config.discussion.stages == STANDALONE_STAGES for config in configs):
        steps = steps[steps["agent"] == row.agent]
    changed = steps["changed_group_share"].dropna()
    return len(changed) > 0 and bool((changed == 0).all())


def _without_calibration(config: RunConfig) -> RunConfig:
    none = CalibrationSettings(kind="none")
    plain = dataclasses.replace(config, variant="", profile="", pool=(), seed=0, calibration=none)
    if plain.discussion.stages == STANDALONE_STAGES:
        plain = dataclasses.replace(plain, interaction=InteractionSettings(), difficulty=DifficultySettings())
    return plain


def _differing(frames: StudyFrames, row: TableRow, other: TableRow) -> tuple[int, int]:
    names = ["benchmark", "question", "seed", "sample"]
    left, right = (of_row(frames.samples, item).set_index(names)["completion"] for item in (row, other))
    both = pd.concat([left, right], axis=1, join="inner", keys=["left", "right"])
    return len(both), int((both["left"] != both["right"]).sum())


def of_row(frame: pd.DataFrame, row: TableRow) -> pd.DataFrame:
    """What a frame holds of the row's variant, models and agent."""
    return frame[(frame["models"] == row.models) & (frame["agent"] == row.agent) & (frame["variant"] == row.variant)]


def _mean(values: pd.Series, weights: np.ndarray) -> float | None:
    numbers = values.to_numpy(dtype=float)
    known = ~np.isnan(numbers)
    if not weights[known].sum():
        return None
    return float(np.average(numbers[known], weights=weights[known]))
