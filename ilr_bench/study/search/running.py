"""A planned search in a study's folder: run, continued, and concluded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from ilr_bench.core.console import note, say
from ilr_bench.core.errors import IlrError
from ilr_bench.storage.store import lock_study
from ilr_bench.study.cost.fits import check_and_keep
from ilr_bench.study.launch.pool import Execution, note_time, open_worker_pool
from ilr_bench.study.launch.progress import SweepProgress
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import with_artifacts
from ilr_bench.study.search import study_file
from ilr_bench.study.search.planned import PlannedSearch, grid_command, optuna_study
from ilr_bench.study.search.points import printed
from ilr_bench.study.search.rounds import Search
from ilr_bench.study.search.trials import Trials


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
        artifacts, _ = with_artifacts(out, fresh)
        study = optuna_study(planned)

        def check(trials: Sequence[PlannedTrial]) -> None:
            anyhow = force or execution.executor != "local"
            check_and_keep(Plan(tuple(trials), ()), trials, execution.workers, out, anyhow)

        def publish(search: Search) -> None:
            study_file.publish(out, search, planned.identity, planned.planner.profile, planned.command)

        with open_worker_pool(out, execution) as pool, SweepProgress("jobs", {}, out) as progress:
            trials = Trials(planned.planner, out, artifacts, progress, check, keep)
            search = Search(study, planned.suggest, planned.rules, trials, publish, lambda: pool.stopped)
            try:
                pool.run(search, progress)
            finally:
                study_file.write_storage(study, out)
        note_time(out, workers=execution.workers, seconds=time.perf_counter() - start)
    return search


def conclude(planned: PlannedSearch, search: Search, out: Path) -> None:
    """Says which points are best, and how they are trained with fresh seeds and scored on benchmarks.

    Points that failed are told of. Raises IlrError where no point has come to its end.
    """
    for job, failure in search.failed.items():
        note(f"{job}: {failure.message}")
    states = [search_trial.state for search_trial in search.points]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    note(f"{len(states)} points: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    best = search.best()
    if not best:
        error = IlrError("no point has come to its end; the same command again continues with what is left")
        statuses = {failure.status for failure in search.failed.values()} - {None}
        error.exit_status = (statuses.pop() if len(statuses) == 1 else None) or IlrError.exit_status
        raise error
    for search_trial in best:
        tokens = f", {search_trial.tokens:,.0f} sampled tokens" if "tokens" in planned.rules.objectives else ""
        say(
            f"best: point {search_trial.number}, validation accuracy {search_trial.accuracy:.3f}{tokens}: "
            f"{printed(search_trial.settings)}"
        )
        say(f"  {grid_command(planned, search_trial, out, several=len(best) > 1)}")
    note("these commands train with seeds and score on benchmarks that the search has not seen")
    say(f"all points: ilr-bench report {shlex.quote(str(out))} search")
