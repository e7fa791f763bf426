"""TensorBoard event files, by torch's own writer: `tensorboard --logdir DIR/events`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
    """The event file of one trial; see `Curves`."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Curves.log`."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """See `Curves.flush`."""
        self._writer.flush()

    def close(self) -> None:
        """See `Curves.close`."""
        self._writer.close()
