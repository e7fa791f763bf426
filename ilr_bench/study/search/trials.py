"""The trials of a search: jobs that take them to a step, and what they are worth there by their records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import digests, read_manifest
from ilr_bench.storage.records import StepRecord, read, read_result
from ilr_bench.storage.store import Artifacts, RecordFile, is_finished
from ilr_bench.study.jobs import measurement_jobs, model_jobs, trial_job, units
from ilr_bench.study.launch.progress import SweepProgress
from ilr_bench.study.launch.scheduler import Job
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.study.search.points import TrialPlanner

STATE = "state.json"


@dataclass(frozen=True)
class Target:
    """A trial that has to be trained to a step, or to its end where `until` is None."""

    trial: PlannedTrial
    until: int | None = None


@dataclass(frozen=True)
class Measurement:
    """What a trial that has reached its goal is worth."""

    accuracy: tuple[float, ...]
    """By agent, each alone on the validation questions."""
    tokens: int | None
    """Sampled while training, all agents together; None before the end."""


class Trials:
    """The trials of a search in their study's folder: what has to be run, and what their records say.

    Nothing that has been trained is trained again to find out what it is worth.
    """

    def __init__(
        self,
        planner: TrialPlanner,
        out: Path,
        artifacts: Artifacts,
        progress: SweepProgress,
        check: Callable[[Sequence[PlannedTrial]], None],
        keep: int,
    ) -> None:
        """`check` raises where trials do not fit this machine; `keep` checkpoints of a trial stay."""
        self._planner, self._out, self._artifacts, self._progress = planner, out, artifacts, progress
        self._check, self._keep = check, keep
        self._sealed: set[str] = set()
        """Finished trials that have been held against their seal, which takes a while where weights are large."""
        self._needed: dict[str, PlannedTrial] = {}
        self._measured: set[object] = set()

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """The trials of a point and those they depend on; raises ConfigurationError for an impossible one."""
        trials, needed = self._planner.plan(settings)
        self._needed |= {trial.hash: trial for trial in needed}
        return trials, needed

    def prepare(self, trials: Sequence[PlannedTrial]) -> Iterator[list[Job]]:
        """Models, then what is to be known of them before training, where no earlier round has asked for the same."""
        self._check(trials)
        asked = {trial: _measurements(trial) for trial in trials}
        new = [trial for trial, what in asked.items() if what not in self._measured]
        self._measured |= set(asked.values())
        for jobs in (model_jobs(new), measurement_jobs(new, self._artifacts)[0]):
            self._progress.add({job.name: units(job) for job in jobs})
            yield jobs

    def job(self, target: Target) -> Job:
        """Takes a trial to its goal."""
        trial = target.trial
        dependency = None if trial.dependency is None else self._needed[trial.dependency]
        job = trial_job(trial, self._out, self._artifacts, dependency, ())
        self._progress.add({job.name: units(job) if target.until is None else float(target.until)})
        return replace(job, arguments=(*job.arguments, target.until, self._keep))

    def measure(self, target: Target) -> Measurement | None:
        """What a trial's records say of it at its goal, or None where it has not got there.

        A finished trial that was changed since is an unfinished one, which its next run mends. Raises StoreError where
        the records of an unfinished one are not those that its checkpoint was saved with.
        """
        folder = self._out / target.trial.folder
        finished = self._is_finished(folder, target.trial.hash)
        if target.until is None:
            return _at_end(folder) if finished else None
        if not finished and not _has_reached(folder, target.until):
            return None
        return _at_step(folder, target.until, target.trial.config.agents)

    def _is_finished(self, folder: Path, key: str) -> bool:
        if key not in self._sealed and is_finished(folder, key, self._artifacts):
            self._sealed.add(key)
        return key in self._sealed


def _at_end(folder: Path) -> Measurement:
    """Each agent's last validation accuracy; of an untrained one, its ability."""
    result = read_result(folder)
    last = dict(result.ability)
    if result.steps:
        for record in read(folder / "train.jsonl", StepRecord):
            if record.validation_accuracy is not None:
                last[record.agent] = record.validation_accuracy
    return Measurement(tuple(last[agent] for agent in result.agents), sum(result.sampled_tokens.values()))


def _at_step(folder: Path, step: int, agents: tuple[str, ...]) -> Measurement:
    at: dict[str, float] = {}
    for record in read(folder / "train.jsonl", StepRecord):
        if record.step == step and record.validation_accuracy is not None:
            at[record.agent] = record.validation_accuracy
        if len(at) == len(agents):  # what follows may have been cut short by a kill
            return Measurement(tuple(at[agent] for agent in agents), None)
    raise StoreError(f"{folder}: no validation at step {step}; delete the trial's folder to run it again")


def _has_reached(folder: Path, until: int) -> bool:
    """Whether there is a checkpoint of that step or a later one, and the records are those it was saved with."""
    for place in sorted((folder / "checkpoints").glob("step-*"), reverse=True):
        if int(place.name.removeprefix("step-")) < until:
            return False
        state = _state(place)
        if state is not None:
            if RecordFile(folder / "train.jsonl").begins_with(state["records"]["steps"]):
                return True
            raise StoreError(
                f"{folder / 'train.jsonl'} is not what it was when {place.name} was saved; delete the trial's folder "
                "to run it again"
            )
    return False


def _state(folder: Path) -> Any:
    """What a checkpoint says of the run; None where it is torn. The weights are not looked at."""
    manifest = read_manifest(folder)
    if manifest is None or digests(folder, lambda name: name == STATE).get(STATE) != manifest[1].get(STATE, ""):
        return None
    return json.loads((folder / STATE).read_text(encoding="utf-8"))


def _measurements(trial: PlannedTrial) -> object:
    config = trial.config
    return config.models, config.styles, config.questions, config.difficulty, config.warm_start
