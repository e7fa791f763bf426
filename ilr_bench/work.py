"""What a worker process does: make a model, measure an agent, run a trial.

The process that schedules imports this module to name the functions; torch is only loaded inside them.
"""

from __future__ import annotations

from pathlib import Path

from ilr_bench.config import RunConfig
from ilr_bench.executor import Event, tell
from ilr_bench.models.base import MODELS
from ilr_bench.plan import PlannedTrial
from ilr_bench.store import Artifacts

EVALUATION_UNITS = 10.0
"""Progress that the solo evaluation of all agents counts for, in training steps."""


def make_model(name: str) -> None:
    """Prepares a model's folder in the cache."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    MODELS.get(name).prepare()


def measure_agent(model: str, config: RunConfig, artifacts: Artifacts) -> None:
    """Difficulty and ability as one model sees and has them, as artifacts that its trials will find."""
    from ilr_bench.trial import measure_model

    measure_model(model, config, artifacts)


def run_planned(trial: PlannedTrial, study: Path, artifacts: Artifacts, dependency: Path | None) -> None:
    """Runs one trial of a study to its end."""
    from ilr_bench.trial import run_trial

    def watch(step: int, evaluated: float) -> None:
        tell(Event(trial.folder, done=step + EVALUATION_UNITS * evaluated))

    run_trial(trial.config, trial.hash, study / trial.folder, artifacts, dependency, watch)


def units(trial: PlannedTrial) -> float:
    """Units of progress that a trial counts for."""
    return trial.config.training.steps + EVALUATION_UNITS
