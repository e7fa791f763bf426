"""The grid as an Optuna study: one point per name in the plan, valued by accuracy on validation questions.

The storage is in memory and made anew from the records each time: the trials' folders are what lasts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from ilr_bench.plan import Plan
from ilr_bench.records import StepRecord, read, read_result


class GridSearch:
    """Asks Optuna for every point of a plan, and tells it the values once the trials have run."""

    def __init__(self, plan: Plan) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        self._entries = plan.entries
        points: list[dict[str, Any]] = [
            {"variant": entry.variant, "models": "+".join(entry.models), "seed": entry.seed} for entry in plan.entries
        ]
        choices = {key: list(dict.fromkeys(point[key] for point in points)) for key in ("variant", "models", "seed")}
        self._asked = []
        for point in points:
            self.study.enqueue_trial(point)
            trial = self.study.ask()
            for key, values in choices.items():
                trial.suggest_categorical(key, values)
            self._asked.append(trial)

    def conclude(self, out: Path) -> None:
        """Tells the value of every finished trial; the others count as failed."""
        for trial, entry in zip(self._asked, self._entries, strict=True):
            value = validation_accuracy(out / entry.folder)
            if value is None:
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self.study.tell(trial, value)


def validation_accuracy(folder: Path) -> float | None:
    """Mean over the agents of the last accuracy on validation questions; None if the trial has not finished."""
    if not (folder / "result.json").exists():
        return None
    result = read_result(folder)
    last = dict(result.ability)
    if result.steps:
        for record in read(folder / "train.jsonl", StepRecord):
            if record.validation_accuracy is not None:
                last[record.agent] = record.validation_accuracy
    return sum(last.values()) / len(last)
