"""Passes the records of a study's trials on to loggers, each step once."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.records import RecordTail, StepRecord
from ilr_bench.study.tracking import Logger, TrackingRun
from ilr_bench.study.tracking.scalars import standalone_scalars, step_scalars

SECONDS_BETWEEN_LOOKS = 2.0
NOTHING = {"step": 0, "finished": False}
"""What is noted of a trial of which nothing has been logged."""


class StudyLog:
    """All trials in a study's folder, those of earlier sweeps too; use it in a `with`, and call it with every news.

    What has been logged of which trial stands in `events/<logger>.json`. A sweep that is killed between logging and
    noting may repeat a step in a tracker's run; TensorBoard's files are begun anew and hold each step once.
    """

    def __init__(self, out: Path, loggers: Sequence[Logger]) -> None:
        self._out, self._loggers = out, loggers
        self._trials: dict[str, _Trial] = {}
        self._looked = 0.0
        self._noted = {logger.name: _read_note(self._note(logger)) for logger in loggers}

    def __enter__(self) -> Self:
        self.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()
        for trial in self._trials.values():
            trial.close()

    def __call__(self, event: object) -> None:
        """Something has happened; looks for new records now and then."""
        del event
        if time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self.look()

    def look(self) -> None:
        """Logs what is new."""
        if not self._loggers:
            return
        for config in sorted(self._out.glob("trials/*/config.json")):
            name = config.parent.name
            if name not in self._trials:
                self._trials[name] = _Trial(config.parent, self._loggers, self._noted)
            self._trials[name].look(self._out / "events")
        for logger in self._loggers:
            text = json.dumps(self._noted[logger.name], indent=1) + "\n"
            if _read_note(self._note(logger)) != self._noted[logger.name]:
                write_atomic(self._note(logger), text)
        self._looked = time.monotonic()

    def _note(self, logger: Logger) -> Path:
        return self._out / "events" / f"{logger.name}.json"


class _Trial:
    """One trial and where it is logged."""

    def __init__(self, folder: Path, loggers: Sequence[Logger], noted: dict[str, dict[str, Any]]) -> None:
        self._folder = folder
        self._settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
        self._follower = RecordTail(folder / "train.jsonl")
        self._waiting: dict[int, list[StepRecord]] = defaultdict(list)
        self._open: dict[str, TrackingRun] = {}
        self._states = {name: states.setdefault(folder.name, dict(NOTHING)) for name, states in noted.items()}
        self._due = [logger for logger in loggers if not self._states[logger.name]["finished"]]
        for logger in self._due:
            if logger.starts_anew:
                self._states[logger.name]["step"] = 0

    def look(self, events: Path) -> None:
        """Passes on what is new, and at the end what only a finished trial has."""
        if not self._due:
            return
        finished = (self._folder / "result.json").exists()
        steps = self._whole_steps()
        standalone = standalone_scalars(self._folder) if finished else {}
        for logger in self._due if steps or finished else ():
            state, curves = self._states[logger.name], self._curves(logger, events)
            for step, values in steps.items():
                if step > state["step"]:
                    curves.log(values, step)
                    state["step"] = step
            if finished:
                curves.log(standalone, self._settings["training"]["steps"])
                state["finished"] = True
            curves.flush()
        if finished:
            self.close()
            self._due = []

    def close(self) -> None:
        """Ends what is open."""
        for curves in self._open.values():
            curves.close()
        self._open.clear()

    def _whole_steps(self) -> dict[int, dict[str, float]]:
        """Step -> values, for new steps of which every agent's record is there."""
        for record in self._follower.new():
            self._waiting[record.step].append(record)
        questions = self._settings["training"]["questions_per_step"]
        whole = [step for step, records in self._waiting.items() if len(records) == len(self._settings["models"])]
        return {
            step: {tag: value for record in records for tag, value in step_scalars(record, questions).items()}
            for step, records in ((step, self._waiting.pop(step)) for step in whole)
        }

    def _curves(self, logger: Logger, events: Path) -> TrackingRun:
        if logger.name not in self._open:
            self._open[logger.name] = logger.open(self._folder.name, self._settings, events)
        return self._open[logger.name]


def _read_note(path: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted
