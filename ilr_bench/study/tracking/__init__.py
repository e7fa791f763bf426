"""Where training curves are shown besides the terminal: TensorBoard, trackio, wandb (`--log`).

The process of the sweep writes them from the trials' records as these appear. So no trial's result can depend on
them, and a step that a resumed trial takes twice is shown once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ilr_bench.core.errors import ConfigurationError, MissingInputError


class TrackingRun(Protocol):
    """One trial as one logger shows it."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Tag -> value after a joint step."""
        ...

    def flush(self) -> None:
        """What was logged so far can be seen."""
        ...

    def close(self) -> None:
        """Nothing more will come from this process."""
        ...


class Logger(Protocol):
    """A destination of training curves."""

    name: str
    starts_anew: bool
    """Whether `open` drops what an earlier sweep left of an unfinished trial; else that stays and is added to."""

    def open(self, trial: str, settings: Mapping[str, Any], folder: Path) -> TrackingRun:
        """`folder`: where it may keep files, the same for all loggers of a study."""
        ...


INSTALL = {
    "tensorboard": "pip install 'ilr-bench[watch]'",
    "trackio": "pip install trackio",
    "wandb": "pip install wandb",
}
"""Logger -> how to get it."""


def make_loggers(names: Sequence[str]) -> list[Logger]:
    """The loggers that were asked for.

    Raises ConfigurationError for an unknown one, MissingInputError for one that is not installed.
    """
    loggers: list[Logger] = []
    for name in dict.fromkeys(names):
        if name not in INSTALL:
            close = get_close_matches(name, INSTALL, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(INSTALL)}"
            raise ConfigurationError(f"--log {name}: no such logger; {hint}")
        if find_spec(name) is None:
            raise MissingInputError(f"--log {name}: {name} is not installed; {INSTALL[name]}, or leave it out")
        loggers.append(_make(name))
    return loggers


def _make(name: str) -> Logger:
    from ilr_bench.study.tracking.loggers import TensorBoard, Trackio, Wandb

    made: dict[str, Logger] = {"tensorboard": TensorBoard(), "trackio": Trackio(), "wandb": Wandb()}
    return made[name]
