"""Passes the records of a study's trials on to loggers, each step once."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any, Self

from ilr_bench.core.config import to_dict
from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import read_json, write_atomic
from ilr_bench.storage.records import RecordTail, SampleRecord, StepRecord, Verdict, read, read_config
from ilr_bench.study.spec import flat
from ilr_bench.study.tracking import Logger, TrackedTrial, TrackingRun

SECONDS_BETWEEN_LOOKS = 2.0
NOTHING = {"step": 0, "finished": False, "run": None}
"""What is noted of a trial of which nothing has been logged."""


class StudyLog:
    """All trials in a study's folder, those of earlier sweeps too; use it in a `with`, and call it with every news.

    What has been logged of which trial stands in `events/<logger>.json`. A sweep that is killed between logging and
    noting may repeat a step in a tracker's run; TensorBoard's files are begun anew and hold each step once. Of a
    tracker that has one run at a time, trials that run beside each other get theirs one after the other.
    """

    def __init__(self, out: Path, loggers: Sequence[Logger]) -> None:
        self._out, self._loggers = out, loggers
        self._trials: dict[str, _Trial] = {}
        self._looked = 0.0
        self._noted = {logger.name: _read_note(self._note(logger)) for logger in loggers}
        self._taken: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()
        for trial in self._trials.values():
            trial.close()
        for trial in self._trials.values():  # those that waited for another one's end
            trial.look(self._out / "events")
            trial.close()
        self._write_notes()

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
                self._trials[name] = _Trial(config.parent, self._loggers, self._noted, self._taken)
            self._trials[name].look(self._out / "events")
        self._write_notes()
        self._looked = time.monotonic()

    def _write_notes(self) -> None:
        for logger in self._loggers:
            if _read_note(self._note(logger)) != self._noted[logger.name]:
                write_atomic(self._note(logger), json.dumps(self._noted[logger.name], indent=1) + "\n")

    def _note(self, logger: Logger) -> Path:
        return self._out / "events" / f"{logger.name}.json"


class _Trial:
    """One trial and where it is logged."""

    def __init__(
        self, folder: Path, loggers: Sequence[Logger], noted: dict[str, dict[str, Any]], taken: dict[str, str]
    ) -> None:
        """`taken`: logger -> the trial that has its only run, shared by all trials."""
        self._folder, self._taken = folder, taken
        self._settings = to_dict(read_config(folder))
        self._tail = RecordTail(folder / "train.jsonl")
        self._waiting: dict[int, list[StepRecord]] = defaultdict(list)
        self._open: dict[str, TrackingRun] = {}
        self._states = {name: states.setdefault(folder.name, dict(NOTHING)) for name, states in noted.items()}
        self._due = [logger for logger in loggers if not self._states[logger.name]["finished"]]
        self._steps: dict[str, dict[int, dict[str, float]]] = {logger.name: {} for logger in self._due}
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
        for logger in list(self._due):
            self._steps[logger.name] |= steps
            if not (self._steps[logger.name] or finished) or not self._may_log(logger):
                continue
            state, run = self._states[logger.name], self._run(logger, events)
            for step, values in self._steps[logger.name].items():
                if step > state["step"]:
                    run.log(values, step)
                    state["step"] = step
            self._steps[logger.name].clear()
            if finished:
                if standalone:
                    run.log(standalone, self._settings["training"]["steps"])
                state["finished"] = True
                self._close(logger.name)
                self._due.remove(logger)

    def close(self) -> None:
        """Ends what is open."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        self._open.pop(name).close()
        self._taken.pop(name, None)

    def _may_log(self, logger: Logger) -> bool:
        if not logger.one_at_a_time:
            return True
        return self._taken.setdefault(logger.name, self._folder.name) == self._folder.name

    def _whole_steps(self) -> dict[int, dict[str, float]]:
        """Step -> values, for new steps of which every agent's record is there."""
        for record in self._tail.new():
            self._waiting[record.step].append(record)
        questions = self._settings["training"]["questions_per_step"]
        whole = [step for step, records in self._waiting.items() if len(records) == len(self._settings["models"])]
        return {
            step: {tag: value for record in records for tag, value in step_scalars(record, questions).items()}
            for step, records in ((step, self._waiting.pop(step)) for step in whole)
        }

    def _run(self, logger: Logger, events: Path) -> TrackingRun:
        if logger.name not in self._open:
            state = self._states[logger.name]
            shown = TrackedTrial(self._folder.name, flat(self._settings), events, state["run"])
            self._open[logger.name] = logger.open(shown)
            state["run"] = self._open[logger.name].id
        return self._open[logger.name]


def _read_note(path: Path) -> dict[str, Any]:
    try:
        found = {name: NOTHING | state for name, state in read_json(path, "").items()}
        return {name: state for name, state in found.items() if set(state) == set(NOTHING)}
    except (StoreError, TypeError):
        return {}


def step_scalars(record: StepRecord, questions: int) -> dict[str, float]:
    """`agent/field` -> value of every number in one agent's record of one step, under the record's own names.

    `questions`: of a step; they give `sharing_length` and `sampled_length`, mean tokens of a sharing turn and tokens
    sampled per question.
    """
    fields = {key: value for key, value in dataclasses.asdict(record).items() if key not in ("step", "agent")}
    fields["sharing_length"] = record.sharing_tokens / (record.sharing_samples * questions)
    fields["sampled_length"] = record.sampled_tokens / questions
    return {f"{record.agent}/{key}": float(value) for key, value in fields.items() if value is not None}


def standalone_scalars(folder: Path) -> dict[str, float]:
    """`agent/solo/benchmark` -> accuracy in a trial's folder, over all samples."""
    found = {}
    for path in sorted(folder.glob("eval/*/*.jsonl")):
        correct = [record.verdict is Verdict.CORRECT for record in read(path, SampleRecord)]
        if correct:
            found[f"{path.parent.name}/solo/{path.stem}"] = fmean(correct)
    return found
