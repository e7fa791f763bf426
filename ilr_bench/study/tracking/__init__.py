"""Where training curves are shown besides the terminal: TensorBoard, trackio, wandb (`--log`).

The process of the sweep writes them from the trials' records as these appear. So no trial's result can depend on
them, and a step that a resumed trial takes twice is shown once. Where and how a tracker sends its data (offline, to a
server) is decided by its own environment variables.
"""

from __future__ import annotations

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
class TrackingRun:
    """One trial as one logger shows it."""

    log: Callable[[Mapping[str, float], int], None]
    """Takes tag -> value after a joint step, and the step."""
    flush: Callable[[], None]
    """From here on what was logged can be seen."""
    close: Callable[[], None]
    """Nothing more will come from this process."""


@dataclass(frozen=True)
class Logger:
    """A destination of training curves."""

    name: str
    """Of its package, too."""
    install: str
    """The command that does."""
    open: Callable[[str, Mapping[str, Any], Path], TrackingRun]
    """Takes a trial's name, its settings, and where files may be kept: a folder for all loggers of a study."""
    starts_anew: bool = False
    """Whether `open` drops what an earlier sweep left of an unfinished trial; else that stays and is added to."""


def make_loggers(names: Sequence[str]) -> list[Logger]:
    """The loggers that were asked for.

    Raises ConfigurationError for an unknown one, MissingInputError for one that is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            hint = did_you_mean(name, LOGGERS, f"choose from {', '.join(LOGGERS)}")
            raise ConfigurationError(f"--log {name}: no such logger; {hint}")
        if find_spec(name) is None:
            raise MissingInputError(f"--log {name}: {name} is not installed; {LOGGERS[name].install}, or leave it out")
    return [LOGGERS[name] for name in dict.fromkeys(names)]


def _open_tensorboard(trial: str, settings: Mapping[str, Any], folder: Path) -> TrackingRun:
    """An event file; a killed sweep may leave a torn one, and begun anew each step is there once."""
    # torch takes seconds to import, and the process of a sweep needs it for nothing else.
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder / trial, ignore_errors=True)
    writer: Any = SummaryWriter(str(folder / trial))

    def log(values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            writer.add_scalar(tag, value, step)

    return TrackingRun(log, writer.flush, writer.close)


def _open_trackio(trial: str, settings: Mapping[str, Any], folder: Path) -> TrackingRun:
    """A run of https://github.com/gradio-app/trackio."""
    return _tracker_run("trackio", name=trial, config=dict(settings), resume="allow", embed=False)


def _open_wandb(trial: str, settings: Mapping[str, Any], folder: Path) -> TrackingRun:
    """A run of Weights & Biases, its files in the study's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    key = trial.rsplit("-", 1)[-1]
    options = {"dir": str(folder), "resume": "allow", "reinit": "create_new"}
    return _tracker_run("wandb", name=trial, id=key, config=dict(settings), **options)


def _tracker_run(package: str, **options: Any) -> TrackingRun:
    """Trackers send by themselves, so there is nothing to flush."""
    run = importlib.import_module(package).init(project=PROJECT, **options)
    return TrackingRun(lambda values, step: run.log(dict(values), step=step), lambda: None, run.finish)


LOGGERS = {
    logger.name: logger
    for logger in (
        Logger("tensorboard", "pip install 'ilr-bench[watch]'", _open_tensorboard, starts_anew=True),
        Logger("trackio", "pip install trackio", _open_trackio),
        Logger("wandb", "pip install wandb", _open_wandb),
    )
}
