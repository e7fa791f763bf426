"""TensorBoard event files, and the trackers trackio and wandb.

Where and how a tracker sends its data (offline, to a server) is decided by its own environment variables.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PROJECT = "ilr_bench"


class TensorBoard:
    """One run per trial, written from its first step by every sweep that works on the trial.

    A killed sweep may leave a torn event file; begun anew, each step is there once.
    """

    name = "tensorboard"
    starts_anew = True

    def open(self, trial: str, settings: Mapping[str, Any], folder: Path) -> EventFile:
        """See `Logger.open`."""
        # torch takes seconds to import, and the process of a sweep needs it for nothing else.
        from torch.utils.tensorboard import SummaryWriter

        del settings
        shutil.rmtree(folder / trial, ignore_errors=True)
        return EventFile(SummaryWriter(str(folder / trial)))


class EventFile:
    """The event file of one trial; see `TrackingRun`."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrackingRun.log`."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """See `TrackingRun.flush`."""
        self._writer.flush()

    def close(self) -> None:
        """See `TrackingRun.close`."""
        self._writer.close()


class TrackerRun:
    """One trial as a tracker's run; see `TrackingRun`."""

    def __init__(self, run: Any) -> None:
        """`run` has `log(values, step=...)` and `finish()`."""
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrackingRun.log`."""
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """Trackers send by themselves."""

    def close(self) -> None:
        """See `TrackingRun.close`."""
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
