"""A planned search in a study's folder: run, continued, and concluded."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilr_bench.console import note, say
from ilr_bench.costs.pricing import check_and_keep
from ilr_bench.crew import hired
from ilr_bench.errors import IlrError
from ilr_bench.executor import Job
from ilr_bench.executors.choice import Execution
from ilr_bench.files import explained
from ilr_bench.plan import Plan, PlannedTrial
from ilr_bench.search import study_file
from ilr_bench.search.measuring import Records
from ilr_bench.search.planned import PlannedSearch, grid_command, optuna_study
from ilr_bench.search.points import Goal, Measurement, printed
from ilr_bench.search.rounds import Search
from ilr_bench.sharing import neighbours
from ilr_bench.store import Artifacts, lock_study
from ilr_bench.sweep_progress import SweepProgress
from ilr_bench.work import measurement_jobs, model_jobs, trial_job, units


class StudyWorld:
    """Trials in a study's folder."""

    def __init__(
        self,
        planned: PlannedSearch,
        out: Path,
        artifacts: Artifacts,
        progress: SweepProgress,
        check: Callable[[Sequence[PlannedTrial]], None],
        keep: int,
    ) -> None:
        """`check` raises where trials do not fit this machine; `keep` checkpoints of a trial stay."""
        self._planned, self._out, self._artifacts, self._progress = planned, out, artifacts, progress
        self._check, self._keep = check, keep
        self._records = Records(out, artifacts)
        self._needed: dict[str, PlannedTrial] = {}
        self._measured: set[object] = set()

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """See `World.plan`."""
        trials, needed = self._planned.planner.plan(settings)
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

    def job(self, goal: Goal) -> Job:
        """See `World.job`."""
        trial = goal.trial
        dependency = None if trial.dependency is None else self._needed[trial.dependency]
        job = trial_job(trial, self._out, self._artifacts, dependency, ())
        self._progress.add({job.name: units(job) if goal.until is None else float(goal.until)})
        return replace(job, arguments=(*job.arguments, goal.until, self._keep))

    def measure(self, goal: Goal) -> Measurement | None:
        """See `World.measure`."""
        return self._records.measure(goal)

    def publish(self, search: Search) -> None:
        """See `World.publish`."""
        planned = self._planned
        study_file.publish(self._out, search, planned.identity, planned.planner.profile, planned.command)


def run_search(
    planned: PlannedSearch, out: Path, execution: Execution, fresh: bool = False, force: bool = False, keep: int = 1
) -> Search:
    """Runs what is left of a search, from the trials' records on.

    Measurements of the studies beside this one are used, unless it is to start `fresh`; `keep` checkpoints of a trial
    stay. Raises Stopped where a signal has asked to stop, ConfigurationError where the folder holds another study, and,
    unless `force`, where a round of points does not fit this machine.
    """
    out = out.resolve()
    start = time.perf_counter()
    with lock_study(out):
        study_file.claim(out, planned.identity)
        beside = () if fresh else neighbours(out)
        artifacts = Artifacts(out / "artifacts", tuple(study / "artifacts" for study in beside))
        study = optuna_study(planned)

        def check(trials: Sequence[PlannedTrial]) -> None:
            anyhow = force or execution.executor != "local"
            check_and_keep(Plan(tuple(trials), ()), trials, execution.workers, out, anyhow)

        with hired(out, execution) as crew, SweepProgress("jobs", {}, out) as progress:
            world = StudyWorld(planned, out, artifacts, progress, check, keep)
            search = Search(study, planned.suggest, planned.rules, world, lambda: crew.stopped)
            try:
                crew.run(search, progress)
            finally:
                study_file.write_storage(study, out)
        seconds = time.perf_counter() - start
        with explained(out / "timing.jsonl"), (out / "timing.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"workers": execution.workers, "seconds": seconds}) + "\n")
    return search


def conclude(planned: PlannedSearch, search: Search, out: Path) -> None:
    """Says which points are best, and how they are trained with fresh seeds and scored on benchmarks.

    Points that failed are told of. Raises IlrError where no point has come to its end.
    """
    for job, failure in search.failed.items():
        note(f"{job}: {failure.message}")
    states = [point.state for point in search.points]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    note(f"{len(states)} points: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    best = search.best()
    if not best:
        error = IlrError("no point has come to its end; the same command again continues with what is left")
        statuses = {failure.status for failure in search.failed.values()} - {None}
        error.exit_status = (statuses.pop() if len(statuses) == 1 else None) or IlrError.exit_status
        raise error
    for point in best:
        tokens = f", {point.tokens:,.0f} sampled tokens" if "tokens" in planned.rules.objectives else ""
        say(f"best: point {point.number}, validation accuracy {point.accuracy:.3f}{tokens}: {printed(point.settings)}")
        say(f"  {grid_command(planned, point, out, several=len(best) > 1)}")
    note("these commands train with seeds and score on benchmarks that the search has not seen")
    say(f"all points: ilr-bench report {shlex.quote(str(out))} search")


def _measurements(trial: PlannedTrial) -> object:
    config = trial.config
    return config.models, config.styles, config.questions, config.difficulty, config.warm_start
