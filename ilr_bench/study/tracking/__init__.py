"""Where training curves are shown besides the terminal (`--log`), through the trackers of Hugging Face's accelerate.

The process of the sweep writes them from the trials' records as these appear. So no trial's result can depend on
them, and a step that a resumed trial takes twice is shown once. Where and how a tracker sends its data (offline, to a
server) is decided by its own environment variables.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import ConfigurationError, MissingInputError, did_you_mean

PROJECT = "ilr_bench"
"""In which trackers show the runs."""


@dataclass(frozen=True)
class TrackedTrial:
    """A trial as it is shown to a logger."""

    name: str
    settings: Mapping[str, Any]
    """Dotted key -> value."""
    folder: Path
    """Where files may be kept: one folder for all loggers of a study."""
    earlier: str | None = None
    """What the tracker called the run of an earlier sweep, to be continued."""

    @property
    def key(self) -> str:
        """The trial's hash."""
        return self.name.rsplit("-", 1)[-1]


@dataclass(frozen=True)
class TrackingRun:
    """One trial as one logger shows it."""

    log: Callable[[Mapping[str, float], int], None]
    """Takes tag -> value after a joint step, and the step."""
    close: Callable[[], None]
    """Nothing more will come from this process."""
    id: str | None = None
    """What the tracker calls the run, where it chooses that itself."""


@dataclass(frozen=True)
class Logger:
    """A destination of training curves: one of accelerate's trackers."""

    name: str
    """Of the tracker, and of its package."""
    arguments: Callable[[TrackedTrial], dict[str, Any]]
    """What the tracker's class is called with."""
    install: str = ""
    """What pip installs; empty: the package of that name."""
    takes_settings: bool = True
    """Whether it is told the settings once it is open; else they are among the arguments, or not shown."""
    id_of: Callable[[Any], str | None] = lambda run: None
    """What the tracker calls a run, where it chooses that itself."""
    starts_anew: bool = False
    """Whether `open` drops what an earlier sweep left of an unfinished trial; else that stays and is added to."""
    one_at_a_time: bool = False
    """Whether a process has one run of it at most; then trials that run beside each other come one after the other."""

    def open(self, trial: TrackedTrial) -> TrackingRun:
        """The run of a trial: a new one, or the one of an earlier sweep."""
        # Both take seconds to import, and the process of a sweep needs them for nothing else.
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState(cpu=True)  # which accelerate's own messages ask for; under a launch the one that is there
        trial.folder.mkdir(parents=True, exist_ok=True)
        if self.starts_anew:
            shutil.rmtree(trial.folder / trial.name, ignore_errors=True)
        tracker = LOGGER_TYPE_TO_CLASS[self.name](**self.arguments(trial))
        tracker.start()
        if self.takes_settings:
            tracker.store_init_configuration(dict(trial.settings))
        return TrackingRun(
            lambda values, step: tracker.log(dict(values), step=step), tracker.finish, self.id_of(tracker.tracker)
        )


def make_loggers(names: Sequence[str]) -> list[Logger]:
    """The loggers that were asked for.

    Raises ConfigurationError for an unknown one, MissingInputError for one that is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            hint = did_you_mean(name, LOGGERS, f"choose from {', '.join(LOGGERS)}")
            raise ConfigurationError(f"--log {name}: no such logger; {hint}")
        if find_spec(name) is None:
            install = LOGGERS[name].install or name
            raise MissingInputError(f"--log {name}: {name} is not installed; pip install {install}, or leave it out")
    return [LOGGERS[name] for name in dict.fromkeys(names)]


def _tensorboard(trial: TrackedTrial) -> dict[str, Any]:
    return {"run_name": trial.name, "logging_dir": str(trial.folder)}


def _trackio(trial: TrackedTrial) -> dict[str, Any]:
    return {"run_name": PROJECT, "name": trial.name, "config": dict(trial.settings), "resume": "allow", "embed": False}


def _wandb(trial: TrackedTrial) -> dict[str, Any]:
    named = {"name": trial.name, "id": trial.key, "config": dict(trial.settings), "dir": str(trial.folder)}
    return {"run_name": PROJECT, "resume": "allow", "reinit": "create_new", **named}


def _swanlab(trial: TrackedTrial) -> dict[str, Any]:
    named = {"name": trial.name, "id": trial.key, "config": dict(trial.settings), "log_dir": str(trial.folder)}
    return {"run_name": PROJECT, "resume": "allow", **named}


def _mlflow(trial: TrackedTrial) -> dict[str, Any]:
    return {"experiment_name": PROJECT, "run_name": trial.name, "run_id": trial.earlier}


def _comet(trial: TrackedTrial) -> dict[str, Any]:
    config = importlib.import_module("comet_ml").ExperimentConfig(name=trial.name)
    key = hashlib.sha256(trial.name.encode()).hexdigest()[:32]  # Comet's have at least that many characters
    return {"run_name": PROJECT, "experiment_key": key, "experiment_config": config}


def _aim(trial: TrackedTrial) -> dict[str, Any]:
    places = {"run_name": trial.name, "logging_dir": str(trial.folder)}
    return {**places, "experiment": PROJECT, "run_hash": trial.earlier, "system_tracking_interval": None}


LOGGERS = {
    logger.name: logger
    for logger in (
        Logger("tensorboard", _tensorboard, "'ilr-bench[watch]'", takes_settings=False, starts_anew=True),
        Logger("trackio", _trackio, takes_settings=False),
        Logger("wandb", _wandb, takes_settings=False),
        Logger("mlflow", _mlflow, id_of=lambda run: str(run.info.run_id), one_at_a_time=True),
        Logger("comet_ml", _comet, "comet-ml", one_at_a_time=True),
        Logger("swanlab", _swanlab, takes_settings=False, one_at_a_time=True),
        Logger("aim", _aim, id_of=lambda run: str(run.hash)),
    )
}
