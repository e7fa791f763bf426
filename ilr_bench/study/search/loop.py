"""The loop of a search: Optuna's `ask` and `tell` in rounds of a fixed size, whatever runs the trials.

Nothing depends on which trial ends first. All points of a round run to the same stage, then their values are reported
in their order, and Optuna decides which go on. The Optuna study is kept in memory: a search that starts again asks for
the same points, reports values from the trials' records, and continues without running anything twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.study.launch.scheduler import Failure, Job
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.study.search.plan import DIRECTIONS, SearchOptions, prune_steps
from ilr_bench.study.search.trials import Measurement, Target, Trials

State = Literal["running", "complete", "pruned", "failed", "impossible"]
_AGENTS = 1000
"""Numbers of Wilcoxon's instances kept for the agents of one seed."""


@dataclass
class SearchTrial:
    """One point that Optuna asked for, and what became of it."""

    number: int
    settings: dict[str, Any]
    asked: optuna.Trial
    trials: tuple[PlannedTrial, ...] = ()
    """One per seed."""
    needed: tuple[PlannedTrial, ...] = ()
    """Whose sampled tokens the trials match; run before them."""
    stages: list[list[Target]] = field(default_factory=list)
    state: State = "running"
    found: list[Measurement] = field(default_factory=list)
    """Of the last stage's trials, or of all stages' where each has trials of its own."""
    curve: dict[int, float] = field(default_factory=dict)
    """Training steps -> accuracy, where points are compared on the way."""
    reason: str = ""
    """Why it is failed or impossible, or when it was given up."""
    passed: int = 0
    """Stages whose trials have all come to their end, or failed."""

    def steps(self, stages: int | None = None) -> int:
        """Training steps of all its trials in so many of its stages, without them in all."""
        reached = {
            target.trial.hash: target.trial.config.training.steps if target.until is None else target.until
            for stage in self.stages[:stages]
            for target in stage
        }
        return sum(reached.values()) + sum(trial.config.training.steps for trial in self.needed)

    @property
    def accuracy(self) -> float | None:
        """Mean over the agents and seeds seen so far."""
        return mean_accuracy(self.found) if self.found else None

    @property
    def tokens(self) -> float | None:
        """Sampled while training; mean over the seeds."""
        counts = [one.tokens for one in self.found if one.tokens is not None]
        return sum(counts) / len(counts) if counts and len(counts) == len(self.found) else None

    def value(self, objective: str) -> float:
        """Of a complete point."""
        value = self.accuracy if objective == "accuracy" else self.tokens
        if value is None:
            raise ValueError(f"point {self.number} has no {objective}")
        return value


class Search:
    """A source of jobs for the scheduler (`ready`, `ended`)."""

    def __init__(
        self,
        study: optuna.Study,
        suggest: Callable[[optuna.Trial], dict[str, Any]],
        options: SearchOptions,
        trials: Trials,
        publish: Callable[[Search], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`study` is empty and has the sampler, the pruner and the directions of the `options`.

        `publish` is called after every stage, and at the end. Once `stopped` returns True no job is handed out, and
        what has ended since is not reported: it may be half done.
        """
        self.study, self.options = study, options
        self.objectives = tuple(objective for objective in DIRECTIONS if objective in options.objectives)
        self.points: list[SearchTrial] = []
        self.failed: dict[str, Failure] = {}
        """Job -> why; preparations among them."""
        self._suggest, self._trials, self._publish, self._stopped = suggest, trials, publish, stopped
        self._waiting: set[str] = set()
        self._prepared: set[str] = set()
        self._unprepared = False
        """Whether a preparation failed, which every further trial would need."""
        self._batches = self._rounds()

    def ready(self) -> list[Job]:
        """The next jobs once all earlier ones have ended; empty at the end of the search."""
        while not self._waiting and not self._stopped():
            batch = next(self._batches, None)
            if batch is None:
                return []
            self._waiting = {job.name for job in batch}
            if batch:
                return batch
        return []

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Takes note of a job that has ended."""
        self._waiting.discard(job.name)
        if failure is not None:
            self.failed[job.name] = failure

    def best(self) -> list[SearchTrial]:
        """The most accurate point, the first of equals; with two objectives all that no other point dominates."""
        complete = [search_trial for search_trial in self.points if search_trial.state == "complete"]
        if len(self.objectives) > 1:
            front = {trial.number for trial in self.study.best_trials} if complete else set()
            return [search_trial for search_trial in complete if search_trial.number in front]
        return [max(complete, key=lambda search_trial: search_trial.value("accuracy"))] if complete else []

    def steps_to_come(self) -> float:
        """Training steps that no job stands for yet: of points not asked for, and of later stages.

        Points are taken to be as long as those known, and to be given up as early as those that have ended.
        """
        known = [point for point in self.points if point.stages]
        if not known:
            return 0.0
        whole = sum(point.steps() for point in known)
        ended = [point for point in known if point.state != "running"]
        share = sum(point.steps(point.passed) for point in ended) / max(sum(point.steps() for point in ended), 1)
        share = share if ended else 1.0
        going = [point for point in known if point.state == "running"]
        later = sum(max(share * point.steps() - point.steps(point.passed + 1), 0.0) for point in going)
        return (self.options.trials - len(self.points)) * share * whole / len(known) + later

    def _rounds(self) -> Iterator[list[Job]]:
        while len(self.points) < self.options.trials:
            left = self.options.trials - len(self.points)
            search_trials = [self._ask() for _ in range(min(self.options.round, left))]
            possible = [search_trial for search_trial in search_trials if search_trial.state == "running"]
            yield from self._run([Target(trial) for search_trial in possible for trial in search_trial.needed])
            for index in range(max((len(search_trial.stages) for search_trial in possible), default=0)):
                going = [search_trial for search_trial in possible if search_trial.state == "running"]
                if not self._unprepared:
                    yield from self._run([target for search_trial in going for target in search_trial.stages[index]])
                if self._unprepared:
                    return
                for search_trial in going:
                    self._report(search_trial, index)
                self._publish(self)
        self._publish(self)

    def _ask(self) -> SearchTrial:
        asked = self.study.ask()
        search_trial = SearchTrial(asked.number, self._suggest(asked), asked)
        try:
            search_trial.trials, search_trial.needed = self._trials.plan(search_trial.settings)
        except ConfigurationError as error:
            search_trial.state, search_trial.reason = "impossible", str(error)
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            search_trial.stages = stages(self.options.pruner, search_trial.trials)
        self.points.append(search_trial)
        return search_trial

    def _run(self, targets: Sequence[Target]) -> Iterator[list[Job]]:
        """A job for each target that is not reached yet; equal points have the same trials, which run once."""
        missing = {
            (target.trial.hash, target.until): target
            for target in targets
            if target.trial.folder not in self.failed and self._trials.measurement_at(target) is None
        }
        new = {key: target.trial for (key, _), target in missing.items() if key not in self._prepared}
        for batch in self._trials.prepare(list(new.values())) if new else ():
            yield batch
            if any(job.name in self.failed for job in batch):
                self._unprepared = True
                return
        self._prepared |= new.keys()
        # Trials that match the tokens of another one cannot run where that one has failed.
        lost = {one.hash for point in self.points for one in point.needed if one.folder in self.failed}
        if missing:
            yield [self._trials.job(target) for target in missing.values() if target.trial.dependency not in lost]

    def _report(self, search_trial: SearchTrial, index: int) -> None:
        """Reports a point to Optuna after one of its stages."""
        search_trial.passed = index + 1
        targets = search_trial.stages[index]
        found = [one for one in map(self._trials.measurement_at, targets) if one is not None]
        if len(found) < len(targets):
            search_trial.state, search_trial.reason = "failed", self._why(search_trial)
            self.study.tell(search_trial.asked, state=TrialState.FAIL)
            return
        separate = self.options.pruner == "wilcoxon"
        search_trial.found = [*search_trial.found, *found] if separate else found
        last = index == len(search_trial.stages) - 1
        if len(self.objectives) == 1:
            for step, value in reports(self.options.pruner, index, found).items():
                search_trial.asked.report(value, step)
        if not last and targets[0].until is not None:
            search_trial.curve[targets[0].until] = mean_accuracy(found)
        if last:
            search_trial.state = "complete"
            self.study.tell(search_trial.asked, [search_trial.value(objective) for objective in self.objectives])
        elif search_trial.asked.should_prune():
            search_trial.state = "pruned"
            if separate:
                # What Optuna's documentation of this pruner asks for: the mean of what was seen estimates the value.
                search_trial.reason = f"after {index + 1} of {len(search_trial.stages)} seeds"
                self.study.tell(search_trial.asked, mean_accuracy(search_trial.found))
            else:
                search_trial.reason = f"after {targets[0].until} steps"
                self.study.tell(search_trial.asked, state=TrialState.PRUNED)

    def _why(self, search_trial: SearchTrial) -> str:
        folders = [trial.folder for trial in (*search_trial.needed, *search_trial.trials)]
        messages = [failure.message for job, failure in self.failed.items() if job in folders]
        return messages[0].strip().splitlines()[0] if messages else "its trial has not run"


def stages(pruner: str, trials: Sequence[PlannedTrial]) -> list[list[Target]]:
    """Targets of a point that are run together; it may be pruned after each stage but the last."""
    end = [Target(trial) for trial in trials]
    if pruner == "wilcoxon":
        return [[target] for target in end]
    between = [] if pruner == "none" else prune_steps(trials[0].config)
    return [*([Target(trial, step) for trial in trials] for step in between), end]


def reports(pruner: str, stage: int, found: Sequence[Measurement]) -> dict[int, float]:
    """Accuracies for Optuna after a stage: by prune step, or by instance."""
    if pruner == "wilcoxon":
        return {stage * _AGENTS + agent: value for agent, value in enumerate(found[0].accuracy)}
    return {stage + 1: mean_accuracy(found)}


def mean_accuracy(found: Sequence[Measurement]) -> float:
    """Over agents, then over seeds."""
    each = [sum(one.accuracy) / len(one.accuracy) for one in found]
    return sum(each) / len(each)
