"""How far the trials of a study are, read from its folder by anybody while it runs: no lock, nothing written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ilr_bench.errors import StoreError
from ilr_bench.following import Follower
from ilr_bench.records import TrialResult, read_result


@dataclass(frozen=True)
class Progress:
    """What a trial's folder says."""

    step: int = 0
    steps: int | None = None
    """None before the trial has begun."""
    validation: float | None = None
    """Mean over the agents of their last accuracy on validation questions; None before the first one."""
    sampled_tokens: int = 0
    """While training, by all agents."""
    finished: bool = False


class TrialWatch:
    """One trial, read again and again; each look reads what has been added only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._follower = Follower(folder / "train.jsonl")
        self._steps: int | None = None
        self._step = self._tokens = 0
        self._validated: dict[str, float] = {}

    def look(self) -> Progress:
        """How far it is now."""
        if self._steps is None:
            self._steps = _steps(self._folder)
        for record in self._follower.new():
            self._step = max(self._step, record.step)
            self._tokens += record.sampled_tokens
            if record.validation_accuracy is not None:
                self._validated[record.agent] = record.validation_accuracy
        result = _result(self._folder)
        known = ({} if result is None else dict(result.ability)) | self._validated
        return Progress(self._step, self._steps, fmean(known.values()) if known else None, self._tokens, bool(result))


def best(known: Iterable[tuple[str, Progress]]) -> tuple[str, float] | None:
    """Name and validation accuracy of the trial that is ahead; the first of equals."""
    values = [(name, progress.validation) for name, progress in known if progress.validation is not None]
    return max(values, key=lambda pair: pair[1], default=None)


def _steps(folder: Path) -> int | None:
    try:
        noted: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(noted["config"]["training"]["steps"])
    except (OSError, ValueError, KeyError):
        return None


def _result(folder: Path) -> TrialResult | None:
    try:
        return read_result(folder)
    except (StoreError, TypeError):  # not finished, or being written by another version
        return None
