"""Where the seconds, tokens and memory of a training step of the micro profile go.

The real loop with the models of the profile, from optimizer step to optimizer step; the first step warms up and is
left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.clock import MemoryWatch
from bench.results import BenchRow
from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.profiles import profile
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import build_agents
from ilr_bench.method import loop
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.records import DialogueRecord, StepRecord
from ilr_bench.storage.store import Artifacts, append_records
from ilr_bench.study.trial import build_trainer

STEPS = 5


def time_micro_profile(models: tuple[str, ...], steps: int = STEPS) -> list[BenchRow]:
    """Reading the models, what is measured before the first step, and the stages of a step; two steps or more."""
    for model in models:
        MODELS.get(model).prepare()
    config = configuration(models, steps)
    name = f"{len(models)} agent{'s' if len(models) > 1 else ''}"
    with tempfile.TemporaryDirectory() as index, Grader() as grader:
        folder = Path(index)
        watch = MemoryWatch(folder / "timing.jsonl")
        begun = 0.0

        def finished(step: int, records: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
            nonlocal begun
            append_records(folder / "train.jsonl", records)
            append_records(folder / "dialogues.jsonl", dialogues)
            if step == 1:
                watch.clear()
                begun = watch.clock()

        start = watch.clock()
        loaded_agents = build_agents(config)
        built = watch.clock()
        state, _ = build_trainer(config, loaded_agents, Artifacts(folder / "artifacts"), grader, watch)
        before = {"reading the models": built - start, "difficulty and ability, once a study": watch.clock() - built}
        loop.train(config, state, 1, finished)
        found = watch.rows("micro profile", name, watch.clock() - begun, steps - 1)
    first: list[BenchRow] = [
        {"group": "micro profile", "what": f"{name}: {what}", "ours": seconds} for what, seconds in before.items()
    ]
    return [*first, *found]


def configuration(models: tuple[str, ...], steps: int) -> RunConfig:
    """The micro profile with these models; one agent answers alone."""
    changes: dict[str, Any] = {"models": list(models), "training.steps": steps, "training.validate_every": 0}
    if len(models) == 1:
        changes |= {"discussion.stages": ["sharing"], "discussion.trained_turns": "sharing", "calibration.kind": "none"}
    return change(profile("micro"), changes)
