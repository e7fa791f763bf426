"""How far the trials of a study are, read from its folder by anybody while it runs: no lock, nothing written."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from ilr_bench import ablations
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.core.profiles import profile
from ilr_bench.storage.files import read_json, readable_lines
from ilr_bench.storage.records import RecordTail, Study, TrialEntry, TrialResult, read_result, read_study


@dataclass(frozen=True)
class Progress:
    """What a trial's folder shows."""

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
        self._follower = RecordTail(folder / "train.jsonl")
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
        return int(read_json(folder / "config.json", "")["config"]["training"]["steps"])
    except (StoreError, ValueError, KeyError, TypeError):
        return None


def _result(folder: Path) -> TrialResult | None:
    try:
        return read_result(folder)
    except (StoreError, TypeError):  # not finished, or being written by another version
        return None


@dataclass(frozen=True)
class TrialState:
    """One line of a study: a name, and how far its trial is."""

    entry: TrialEntry
    state: str
    """`finished`, `running`, `stopped`, `failed`, `waiting`, `pruned`."""
    detail: str
    """At which step, for what, or why; empty where there is nothing to add."""
    progress: Progress

    @property
    def models(self) -> str:
        """The agents, such as `A+B`."""
        return "+".join(self.entry.agents)

    def flat(self) -> dict[str, Any]:
        """For JSON: who, how far, and what has been seen."""
        entry, seen = self.entry, asdict(self.progress)
        del seen["finished"]
        named = {"variant": entry.variant, "models": self.models, "seed": entry.seed, "folder": entry.folder}
        return named | {"state": self.state, "detail": self.detail} | seen


@dataclass(frozen=True)
class StudyState:
    """A whole study."""

    profile: str
    holder: str | None
    """The process that works on it, as it named itself; None where there is none."""
    trials: tuple[TrialState, ...]
    best: TrialState | None
    """By validation accuracy, of the trials that were not given up; the first of equals."""

    @property
    def counts(self) -> dict[str, int]:
        """State -> trials; a trial under two names counts once."""
        return dict(Counter(trial.state for trial in {trial.entry.folder: trial for trial in self.trials}.values()))


def read_state(folder: Path) -> StudyState:
    """Reads a study's folder, on whatever machine; raises StoreError where there is no study."""
    study = read_study(folder)
    holder = _holder(folder)
    failures = _failures(folder)
    pruned = _given_up(folder)
    entries = [*study.trials, *(_entry(path) for path in pruned if path not in {one.folder for one in study.trials})]
    progress = {entry.folder: TrialWatch(folder / entry.folder).look() for entry in entries}
    trials = []
    for entry in entries:
        now = progress[entry.folder]
        state, detail = _state(folder / entry.folder, now, holder, failures.get(entry.folder), pruned.get(entry.folder))
        needed = needed_trial(entry, study) if state == "waiting" else None
        if needed is not None and not progress[needed.folder].finished:
            detail = f"for {needed.variant}"
        trials.append(TrialState(entry, state, detail, now))
    ahead = best((trial.entry.folder, trial.progress) for trial in trials if trial.state not in ("pruned", "failed"))
    leader = None if ahead is None else next(trial for trial in trials if trial.entry.folder == ahead[0])
    return StudyState(study.profile, holder, tuple(trials), leader)


def needed_trial(entry: TrialEntry, study: Study) -> TrialEntry | None:
    """The trial of the same study whose sampled tokens this one matches, if there is one."""
    name, space, suffix = entry.variant.partition(" ")
    try:
        made = ablations.get(name)(replace(profile(study.profile), models=entry.models, seed=entry.seed))
    except ConfigurationError:  # a variant that is not installed here
        return None
    wanted = f"{made.sampling.match_tokens_of}{space}{suffix}"
    same = (other for other in study.trials if (other.models, other.seed) == (entry.models, entry.seed))
    return next((other for other in same if other.variant == wanted), None)


def _state(
    folder: Path, now: Progress, holder: str | None, failure: dict[str, Any] | None, given_up: str | None
) -> tuple[str, str]:
    if now.finished:
        return "finished", ""
    if given_up is not None:
        return "pruned", given_up
    if failure is not None and not _begun_after(folder, failure["time"]):
        return "failed", (str(failure["message"]).strip().splitlines() or [""])[-1]
    if now.steps is None:
        return "waiting", ""
    index = "in the evaluation" if now.step >= now.steps else f"at step {now.step} of {now.steps}"
    return ("stopped" if holder is None else "running"), index


def _begun_after(folder: Path, time: str) -> bool:
    """Whether a trial was started again after a failure (its configuration is written at every start)."""
    try:
        return (folder / "config.json").stat().st_mtime > datetime.fromisoformat(time).timestamp() + 1
    except (OSError, ValueError, TypeError):
        return False


def _failures(folder: Path) -> dict[str, dict[str, Any]]:
    """Job -> its last failure that was not followed by another attempt."""
    found: dict[str, dict[str, Any]] = {}
    for failure in readable_lines(folder / "failures.jsonl"):
        if not {"job", "outcome", "time", "message"} <= failure.keys():
            continue
        if failure["outcome"] == "retried":
            found.pop(str(failure["job"]), None)
        else:
            found[str(failure["job"])] = failure
    return found


def _given_up(folder: Path) -> dict[str, str]:
    """Folder of a trial -> why a search gave it up."""
    try:
        points = read_json(folder / "search.json", "")["points"]
        found = {trial: point["reason"] for point in points if point["state"] == "pruned" for trial in point["trials"]}
        return {path: str(reason) for path, reason in found.items() if _entry(path)}
    except (StoreError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _entry(folder: str) -> TrialEntry:
    variant, models, seed, key = folder.removeprefix("trials/").rsplit("-", 3)
    agents = tuple(models.split("+"))
    return TrialEntry(variant, agents, agents, int(seed), key, folder)


def _holder(folder: Path) -> str | None:
    try:
        noted = (folder / ".lock.pid").read_text(encoding="utf-8")
        number, _, machine = noted.partition(" on ")
        gone = machine in ("", platform.node()) and not _alive(int(number))
    except (OSError, ValueError):
        return None
    return None if gone else f"process {noted}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
