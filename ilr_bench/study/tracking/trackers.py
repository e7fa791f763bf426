"""Experiment trackers with runs that are named, logged to and finished: trackio and wandb.

Where and how they send what they are told (offline, to a server) is decided by their own environment variables.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROJECT = "ilr_bench"


class TrackerRun:
    """One trial as a tracker's run; see `Curves`."""

    def __init__(self, run: Any) -> None:
        """`run` has `log(values, step=...)` and `finish()`."""
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Curves.log`."""
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """Trackers send by themselves."""

    def close(self) -> None:
        """See `Curves.close`."""
        self._run.finish()


class Trackio:
    """https://github.com/gradio-app/trackio: a run per trial in the project `ilr_bench`."""

    name = "trackio"
    starts_anew = False

    def open(self, trial: str, settings: Mapping[str, Any], folder: Path) -> TrackerRun:
        """See `Logger.open`."""
        del folder
        init: Callable[..., Any] = importlib.import_module("trackio").init
        return TrackerRun(init(project=PROJECT, name=trial, config=dict(settings), resume="allow", embed=False))


class Wandb:
    """Weights & Biases: a run per trial in the project `ilr_bench`, its files in the study's folder."""

    name = "wandb"
    starts_anew = False

    def open(self, trial: str, settings: Mapping[str, Any], folder: Path) -> TrackerRun:
        """See `Logger.open`."""
        folder.mkdir(parents=True, exist_ok=True)
        wandb = importlib.import_module("wandb")
        return TrackerRun(
            wandb.init(
                project=PROJECT,
                name=trial,
                id=trial.rsplit("-", 1)[-1],
                config=dict(settings),
                dir=str(folder),
                resume="allow",
                reinit="create_new",
            )
        )
