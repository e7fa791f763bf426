"""The search itself: Optuna is asked and told in rounds of a fixed size, whatever runs the trials.

Nothing depends on which trial ends first. All points of a round run to the same stage, then Optuna hears of them in
their order and decides who goes on. The Optuna study lives in memory: a search that starts again asks the same
questions, tells what the trials' records say, and arrives where it was without running anything twice.
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
from ilr_bench.study.search.pruning import Pruning, mean_accuracy, reports, stages
from ilr_bench.study.search.trials import Goal, Measurement, Trials

State = Literal["running", "complete", "pruned", "failed", "impossible"]
Objective = Literal["accuracy", "tokens"]
DIRECTIONS: dict[Objective, Literal["maximize", "minimize"]] = {"accuracy": "maximize", "tokens": "minimize"}


@dataclass(frozen=True)
class Rules:
    """What makes a search the same search."""

    trials: int
    """Points in all."""
    round: int
    """Points that are asked for before any of them is told."""
    objectives: tuple[Objective, ...]
    pruning: Pruning


@dataclass
class Point:
    """One point that Optuna asked for, and what became of it."""

    number: int
    settings: dict[str, Any]
    asked: optuna.Trial
    trials: tuple[PlannedTrial, ...] = ()
    """One per seed."""
    needed: tuple[PlannedTrial, ...] = ()
    """Whose sampled tokens the trials match; run before them."""
    stages: list[list[Goal]] = field(default_factory=list)
    state: State = "running"
    found: list[Measurement] = field(default_factory=list)
    """Of the trials that count: those of the last stage, or of all stages where each has its own."""
    curve: dict[int, float] = field(default_factory=dict)
    """Training steps -> accuracy, where points are compared on the way."""
    reason: str = ""
    """Why it is failed or impossible, or when it was given up."""

    @property
    def accuracy(self) -> float | None:
        """Mean over the agents and seeds seen so far."""
        return mean_accuracy(self.found) if self.found else None

    @property
    def tokens(self) -> float | None:
        """Sampled while training; mean over the seeds."""
        counts = [one.tokens for one in self.found if one.tokens is not None]
        return sum(counts) / len(counts) if counts and len(counts) == len(self.found) else None

    def value(self, objective: Objective) -> float:
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
        rules: Rules,
        trials: Trials,
        publish: Callable[[Search], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`study` is empty and has the sampler, the pruner and the directions.

        `publish` is called whenever Optuna has heard something, and at the end. Once `stopped` says so no job is
        handed out, and what has ended since is not judged: it may be half done.
        """
        self.study, self.rules = study, rules
        self.points: list[Point] = []
        self.failed: dict[str, Failure] = {}
        """Job -> why; preparations among them."""
        self._suggest, self._trials, self._publish, self._stopped = suggest, trials, publish, stopped
        self._waiting: set[str] = set()
        self._prepared: set[str] = set()
        self._hopeless = False
        """Whether a preparation failed, which every further trial would need."""
        self._script = self._rounds()

    def ready(self) -> list[Job]:
        """The next jobs once all earlier ones have ended; empty at the end of the search."""
        while not self._waiting and not self._stopped():
            batch = next(self._script, None)
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

    def best(self) -> list[Point]:
        """The most accurate point, the first of equals; with two objectives all that no other point dominates."""
        complete = [point for point in self.points if point.state == "complete"]
        if len(self.rules.objectives) > 1:
            front = {trial.number for trial in self.study.best_trials} if complete else set()
            return [point for point in complete if point.asked.number in front]
        [objective] = self.rules.objectives
        sign = 1 if DIRECTIONS[objective] == "maximize" else -1
        return [max(complete, key=lambda point: sign * point.value(objective))] if complete else []

    def _rounds(self) -> Iterator[list[Job]]:
        while len(self.points) < self.rules.trials:
            left = self.rules.trials - len(self.points)
            points = [self._ask() for _ in range(min(self.rules.round, left))]
            possible = [point for point in points if point.state == "running"]
            yield from self._run([Goal(trial) for point in possible for trial in point.needed])
            for place in range(max((len(point.stages) for point in possible), default=0)):
                going = [point for point in possible if point.state == "running"]
                if not self._hopeless:
                    yield from self._run([goal for point in going for goal in point.stages[place]])
                if self._hopeless:
                    return
                for point in going:
                    self._judge(point, place)
                self._publish(self)
        self._publish(self)

    def _ask(self) -> Point:
        asked = self.study.ask()
        point = Point(asked.number, self._suggest(asked), asked)
        try:
            point.trials, point.needed = self._trials.plan(point.settings)
        except ConfigurationError as error:
            point.state, point.reason = "impossible", str(error)
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            point.stages = stages(self.rules.pruning, point.trials)
        self.points.append(point)
        return point

    def _run(self, goals: Sequence[Goal]) -> Iterator[list[Job]]:
        """Jobs for the goals that are not reached yet, a job for each: equal points share their trials."""
        missing = {
            (goal.trial.hash, goal.until): goal
            for goal in goals
            if goal.trial.folder not in self.failed and self._trials.measure(goal) is None
        }
        new = {goal.trial.hash: goal.trial for goal in missing.values() if goal.trial.hash not in self._prepared}
        for batch in self._trials.prepare(list(new.values())) if new else ():
            yield batch
            if any(job.name in self.failed for job in batch):
                self._hopeless = True
                return
        self._prepared |= new.keys()
        if missing:
            yield [self._trials.job(goal) for goal in missing.values() if self._possible(goal)]

    def _possible(self, goal: Goal) -> bool:
        """Whether the trial whose tokens this one matches has been run."""
        needed = {trial.hash: trial for point in self.points for trial in point.needed}
        dependency = goal.trial.dependency
        return dependency is None or needed[dependency].folder not in self.failed

    def _judge(self, point: Point, place: int) -> None:
        """Tells Optuna of a point after one of its stages."""
        goals = point.stages[place]
        found = [one for one in map(self._trials.measure, goals) if one is not None]
        if len(found) < len(goals):
            point.state, point.reason = "failed", self._why(point)
            self.study.tell(point.asked, state=TrialState.FAIL)
            return
        separate = self.rules.pruning == "wilcoxon"
        point.found = [*point.found, *found] if separate else found
        last = place == len(point.stages) - 1
        if len(self.rules.objectives) == 1:
            for step, value in reports(self.rules.pruning, place, found).items():
                point.asked.report(value, step)
        if not last and goals[0].until is not None:
            point.curve[goals[0].until] = mean_accuracy(found)
        if last:
            point.state = "complete"
            self.study.tell(point.asked, [point.value(objective) for objective in self.rules.objectives])
        elif point.asked.should_prune():
            point.state = "pruned"
            if separate:
                # What Optuna's documentation of this pruner asks for: the mean of what was seen estimates the value.
                point.reason = f"after {place + 1} of {len(point.stages)} seeds"
                self.study.tell(point.asked, mean_accuracy(point.found))
            else:
                point.reason = f"after {goals[0].until} steps"
                self.study.tell(point.asked, state=TrialState.PRUNED)

    def _why(self, point: Point) -> str:
        folders = [trial.folder for trial in (*point.needed, *point.trials)]
        messages = [failure.message for job, failure in self.failed.items() if job in folders]
        return messages[0].strip().splitlines()[0] if messages else "its trial has not run"
