"""The trials of a search: one training per seed and point, without benchmarks, and their value by their records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna

from ilr_bench import ablations
from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.storage.files import digests, read_json, read_manifest
from ilr_bench.storage.records import StepRecord, read, read_result
from ilr_bench.storage.store import Artifacts, RecordFile, is_finished
from ilr_bench.study.inputs import InputReader, settle
from ilr_bench.study.jobs import measurement_jobs, model_jobs, trial_job, units
from ilr_bench.study.launch.progress import SweepProgress
from ilr_bench.study.launch.scheduler import Job
from ilr_bench.study.plan import PlannedTrial, plan_study, setting
from ilr_bench.study.search.space import Space, printed

PROBES = 32
"""Random points of a space that are tried on paper before the first one is trained."""
FORBIDDEN = {
    "evaluation": "a search runs no benchmark, so that none that is reported can be chosen for",
    "questions": "other questions would make the points' accuracies incomparable",
    "training.validate_every": "points are compared where all of them are validated",
    "profile": "choose it by --profile", "seed": "name the seeds by --seeds: a point's value is the mean over them",
    "pool": "set it by --set",
}  # fmt: skip
"""Settings, or groups of them, that no space may hold, and why."""


@dataclass(frozen=True)
class TrialPlanner:
    """Makes trials of a point's settings."""

    profile: str
    variant: str | None
    """Of every point; None where the space chooses it."""
    models: tuple[str, ...]
    """Empty: the profile's."""
    seeds: tuple[int, ...]
    fixed: Mapping[str, str]
    """Settings of every point."""
    start: RunConfig
    """The profile with the fixed settings."""

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """The trials of a point, one per seed, and those whose sampled tokens they match.

        Raises ConfigurationError for settings that are unknown, contradict each other, or that the variant fixes.
        """
        chosen = dict(settings)
        variant = chosen.pop("variant", self.variant)
        if not isinstance(variant, str):
            raise ConfigurationError("no variant: declare the dimension `variant`, or name one by --variants")
        _check_free(variant, change(self.start, chosen), chosen)
        overrides = {**self.fixed, **chosen, "evaluation.benchmarks": ()}
        groups = [self.models] if self.models else []
        trials, needed = [], []
        for seed in self.seeds:
            plan = plan_study(self.profile, [variant], groups, [seed], {key: (one,) for key, one in overrides.items()})
            trials.append(plan.by_hash(plan.entries[-1].hash))
            if trials[-1].dependency is not None:
                needed.append(plan.by_hash(trials[-1].dependency))
        return tuple(trials), tuple(needed)


def check_space(space: Space, planner: TrialPlanner) -> None:
    """Raises ConfigurationError for a space with a point that cannot be trained, as far as random points show it."""
    one_seed = replace(planner, seeds=planner.seeds[:1])
    probes = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(PROBES):
        settings = space.suggest(probes.ask())
        for key in settings:
            if reason := FORBIDDEN.get(key) or FORBIDDEN.get(key.split(".")[0]):
                raise ConfigurationError(f"--search {space.name}: {key} may not be searched: {reason}")
            if key in planner.fixed or (key == "variant" and planner.variant is not None):
                option = "--variants" if key == "variant" else "--set"
                raise ConfigurationError(f"--search {space.name}: {key} is searched; leave it out of {option}")
        try:
            trials, _ = one_seed.plan(settings)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"--search {space.name}: {printed(settings)} is no possible point: {error}; narrow the space, or ask "
                'for a setting only where it counts, by when = {variant = "..."}'
            ) from error
        config = trials[0].config
        if config.questions != planner.start.questions:
            raise ConfigurationError(
                f"--search {space.name}: the variant {config.variant} is trained and validated on other questions, "
                "which would make the points' accuracies incomparable; search it by itself"
            )
        if config.training.steps and not config.training.validate_every:
            raise ConfigurationError("training.validate_every: 0 leaves nothing to compare points by; set it above 0")


def _check_free(variant: str, bare: RunConfig, chosen: Mapping[str, Any]) -> None:
    made = ablations.get(variant)(bare)
    fixed: Sequence[str] = [key for key in chosen if setting(made, key) != setting(bare, key)]
    if fixed:
        raise ConfigurationError(f"the variant {variant} fixes {', '.join(fixed)}")


@dataclass(frozen=True)
class Target:
    """A trial that has to be trained to a step, or to its end where `until` is None."""

    trial: PlannedTrial
    until: int | None = None


@dataclass(frozen=True)
class Measurement:
    """The value of a trial that has reached its target."""

    accuracy: tuple[float, ...]
    """By agent, each alone on the validation questions."""
    tokens: int | None
    """Sampled while training, all agents together; None before the end."""


@dataclass
class Trials:
    """The trials of a search in their study's folder: what has to be run, and what their records hold.

    Nothing that has been trained is trained again to find its accuracy.
    """

    planner: TrialPlanner
    out: Path
    artifacts: Artifacts
    progress: SweepProgress
    check: Callable[[Sequence[PlannedTrial]], None]
    """Raises where trials do not fit this machine."""
    keep: int
    """Checkpoints of a trial that stay."""
    preparing: list[str] = field(default_factory=list)
    """Jobs of `prepare` so far: their time tells nothing of the trials'."""
    _finished: set[str] = field(default_factory=set)
    """Finished trials whose files were compared with their manifest, which takes a while where weights are large."""
    _needed: dict[str, PlannedTrial] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)
    _reader: InputReader = field(default_factory=InputReader)
    _measured: set[object] = field(default_factory=set)

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """The trials of a point and those they depend on; raises ConfigurationError for an impossible one."""
        trials, needed = self.planner.plan(settings)
        self._needed |= {trial.hash: trial for trial in needed}
        return trials, needed

    def prepare(self, trials: Sequence[PlannedTrial]) -> Iterator[list[Job]]:
        """Models, then what is to be known of them before training, where no earlier round has asked for the same."""
        self.check(trials)
        asked = {trial: _measurements(trial) for trial in trials}
        new = [trial for trial, what in asked.items() if what not in self._measured]
        self._measured |= set(asked.values())
        for jobs in (model_jobs(new), measurement_jobs(new, self.artifacts)[0]):
            self.progress.add({job.name: units(job) for job in jobs})
            self.preparing += [job.name for job in jobs]
            self.progress.ask_plan()
            yield jobs

    def job(self, target: Target) -> Job:
        """Trains a trial to its target."""
        trial = target.trial
        dependency = None if trial.dependency is None else self._needed[trial.dependency]
        job = trial_job(trial, self.out, self.artifacts, dependency, ())
        self.progress.add({job.name: units(job) if target.until is None else float(target.until)})
        return replace(job, arguments=(*job.arguments, target.until, self.keep))

    def measurement_at(self, target: Target) -> Measurement | None:
        """A trial's value at its target by its records; None where it has not got there, or was changed since its end.

        Raises StoreError where the records of an unfinished one are not those that its checkpoint was saved with.
        """
        folder = self.out / target.trial.folder
        key = target.trial.hash
        self._settle(target.trial)
        if key not in self._finished and is_finished(folder, key, self.artifacts):
            self._finished.add(key)
        finished = key in self._finished
        if target.until is None:
            return _at_end(folder) if finished else None
        if not finished and not _has_reached(folder, target.until):
            return None
        return _at_step(folder, target.until, target.trial.config.agents)

    def _settle(self, trial: PlannedTrial) -> None:
        """Sets aside what other inputs made, once for every trial."""
        if trial.hash not in self._settled:
            needed = None if trial.dependency is None else self._needed[trial.dependency]
            matched = None if needed is None else self._reader.of(needed.config)
            changed = settle(self.out / trial.folder, self._reader.of(trial.config, matched), self.artifacts)
            if changed:
                note(f"{trial.folder}: {changed}")
            self._settled.add(trial.hash)


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
    for checkpoint in sorted((folder / "checkpoints").glob("step-*"), reverse=True):
        if int(checkpoint.name.removeprefix("step-")) < until:
            return False
        state = _state(checkpoint)
        if state is not None:
            if RecordFile(folder / "train.jsonl").begins_with(state["records"]["steps"]):
                return True
            raise StoreError(
                f"{folder / 'train.jsonl'} is not what it was when {checkpoint.name} was saved; delete the trial's "
                "folder to run it again"
            )
    return False


def _state(folder: Path) -> Any:
    """A checkpoint's record of the run; None where it is damaged. The weights are not read."""
    name, manifest = "state.json", read_manifest(folder)
    if manifest is None or digests(folder, lambda other: other == name).get(name) != manifest[1].get(name, ""):
        return None
    return read_json(folder / name, "delete that folder to go on from an earlier step")


def _measurements(trial: PlannedTrial) -> object:
    config = trial.config
    return config.models, config.styles, config.questions, config.difficulty, config.warm_start
