"""Studies of reports from answers that are written out, without a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ilr_bench.storage.records import JOINT, Study
from reports.frames import StudyFrames
from reports.rows import TableRow

Told = Mapping[tuple[str, str, str, int], Mapping[str, Sequence[float]]]
"""(variant, group, agent, seed) -> benchmark -> whether each question was answered rightly."""


def told(answers: Told, models: Mapping[str, str] | None = None) -> StudyFrames:
    """A study of these answers; `models` are those behind agents of another name."""
    samples, trials = [], []
    for (variant, group, agent, seed), by_benchmark in answers.items():
        keys = {"variant": variant, "models": group, "agent": agent, "seed": seed}
        folder = f"trials/{variant}-{group}-{seed}"
        if agent != JOINT:
            trials.append({**keys, "model": (models or {}).get(agent, agent), "folder": folder})
        for name, right in by_benchmark.items():
            samples += [
                {
                    **keys, "benchmark": name, "question": f"q{index}", "sample": 0, "correct": float(value),
                    "completion": f"{variant} {group} {agent} {seed} {value}" if variant != "base" else f"{value}",
                    "file": f"{folder}/{name}.jsonl", "cut": False,
                }
                for index, value in enumerate(right)
            ]  # fmt: skip
    nothing = pd.DataFrame()
    study = Study("micro", "command", ())
    frame = pd.DataFrame(samples)
    return StudyFrames(Path(), study, pd.DataFrame(trials), nothing, frame, frame, {}, {}, {}, ())


def row_of(rows: Sequence[TableRow], label: str, section: str = "A") -> TableRow:
    (found,) = [row for row in rows if (row.section, row.label) == (section, label)]
    return found


def runs(rates: Sequence[float], seed: int, questions: int = 30) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [(rng.random(questions) < rate).astype(float).tolist() for rate in rates]


def trained(variant: str, rates: Sequence[float], seed: int, agent: str = "A", group: str = "A+B") -> Told:
    return {(variant, group, agent, index): {"x": right} for index, right in enumerate(runs(rates, seed))}
