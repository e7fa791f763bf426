"""A planned search in a study's folder: run, continued, and concluded.

Beside its trials a search leaves `search.json` with every point, and `optuna.db` for Optuna's dashboard. Both are made
anew from the trials' records whenever the search's command runs. Of `search.json` only the rules are ever read, to keep
two searches out of one folder; `optuna.db` is never read.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from ilr_bench.core.console import note, say
from ilr_bench.core.errors import ConfigurationError, IlrError, StoreError
from ilr_bench.core.hardware import cores
from ilr_bench.storage.files import explained, read_json, write_atomic
from ilr_bench.storage.records import Study, TrialEntry, write_study
from ilr_bench.storage.store import lock_study
from ilr_bench.study.cost.fits import check_and_keep, seconds_left
from ilr_bench.study.launch.pool import Execution, note_time, open_worker_pool
from ilr_bench.study.launch.progress import Expected, SweepProgress
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import with_artifacts
from ilr_bench.study.search.loop import Search, SearchTrial
from ilr_bench.study.search.plan import NAME, PlannedSearch, optuna_study, search_entry, sweep_command
from ilr_bench.study.search.space import printed
from ilr_bench.study.search.trials import Trials

FILE, STORAGE = "search.json", "optuna.db"
FRESH_SEEDS = 3
"""Fewest seeds that the best point is trained with again."""


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
        claim(out, planned.identity)
        artifacts, _ = with_artifacts(out, fresh)
        study = optuna_study(planned)

        asked: list[PlannedTrial] = []

        def check(trials: Sequence[PlannedTrial]) -> None:
            anyhow = force or execution.executor != "local"
            check_and_keep(Plan(tuple(trials), ()), trials, execution.workers, out, anyhow)
            asked.extend(trials)

        def expect() -> Expected:
            seconds = seconds_left(Plan(tuple(asked), ()), asked, execution.workers, out)
            steps = {trial.folder: max(trial.config.training.steps, 1) for trial in asked}
            each = {folder: whole / steps[folder] for folder, whole in seconds.items()}
            preparing = dict.fromkeys(trials.preparing, 0.0)
            return Expected(preparing | each, min(execution.workers, cores()), is_timed=bool(each))

        def written(search: Search) -> None:
            publish(out, search, planned.identity, planned.planner.profile, planned.command)

        progress = SweepProgress("jobs", {}, out, expect=expect)
        trials = Trials(planned.planner, out, artifacts, progress, check, keep)
        with open_worker_pool(out, execution) as pool, progress:
            search = Search(study, planned.space.suggest, planned.options, trials, written, lambda: pool.stopped)
            progress.to_come = search.steps_to_come
            try:
                pool.run(search, progress)
            finally:
                write_storage(study, out)
        note_time(out, workers=execution.workers, seconds=time.perf_counter() - start)
    return search


def conclude(planned: PlannedSearch, search: Search, out: Path) -> None:
    """Prints the failures, the best points, and the commands that train those with fresh seeds and score them.

    Raises IlrError where no point has come to its end.
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
        tokens = f", {search_trial.tokens:,.0f} sampled tokens" if "tokens" in planned.objectives else ""
        say(
            f"best: point {search_trial.number}, validation accuracy {search_trial.accuracy:.3f}{tokens}: "
            f"{printed(search_trial.settings)}"
        )
        say(f"  {grid_command(planned, search_trial, out, several=len(best) > 1)}")
    note("these commands train with seeds and score on benchmarks that the search has not seen")
    say(f"all points: ilr-bench report {shlex.quote(str(out))} search")


def grid_command(planned: PlannedSearch, search_trial: SearchTrial, out: Path, several: bool) -> str:
    """The sweep that trains a point with seeds that the search has not used, and scores it on the benchmarks."""
    planner = planned.planner
    settings = {key: str(value) for key, value in {**planner.fixed, **search_trial.settings}.items()}
    variant = settings.pop("variant", planner.variant)
    first = max(planner.seeds) + 1
    seeds = range(first, first + max(FRESH_SEEDS, len(planner.seeds)))
    target = f"{out}-best-{search_trial.number}" if several else f"{out}-best"
    return sweep_command(planner, variant, seeds, settings, ["--out", target])


def claim(out: Path, rules: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where the folder holds another search, or a study that is no search."""
    path = out / FILE
    if not path.exists():
        if (out / "study.json").exists():
            raise ConfigurationError(f"{out} holds a study that is no search; choose another --out")
        return
    try:
        earlier = dict(read_json(path, "")["rules"])
    except (StoreError, ValueError, KeyError, TypeError):
        note(f"{path} is torn; it is made anew from the trials' records")
        return
    plain = json.loads(json.dumps(rules))
    other = sorted(key for key in plain.keys() | earlier.keys() if plain.get(key) != earlier.get(key))
    if other:
        raise ConfigurationError(f"{out} holds another search (other {', '.join(other)}); choose another --out")


def publish(out: Path, search: Search, rules: Mapping[str, Any], profile: str, command: str) -> None:
    """Writes `search.json`, and a `study.json` with the trials of all points that have not been given up."""
    data = {
        "rules": rules,
        "command": command,
        "objectives": search.objectives,
        "points": [_as_json(search_trial) for search_trial in search.points],
        "best": [search_trial.number for search_trial in search.best()],
    }
    write_atomic(out / FILE, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    entries: dict[str, TrialEntry] = {}
    for search_trial in search.points:
        if search_trial.state in ("running", "complete"):
            for trial in search_trial.trials:
                entries.setdefault(trial.hash, search_entry(trial, search_trial.number))
    write_study(out, Study(profile, command, tuple(entries.values())))


def write_storage(study: optuna.Study, out: Path) -> None:
    """Writes the Optuna study as an SQLite file; only prints a note where that fails or an earlier file is damaged."""
    target = out / STORAGE
    if _is_damaged(target):
        note(f"{target} is damaged; it is made anew from the trials' records, and nothing is lost")
    temporary = out / f".{STORAGE}.tmp"
    try:
        with explained(target):
            temporary.unlink(missing_ok=True)
            # Trial by trial on the disk, Optuna's copy would wait for it several times each.
            storage = RDBStorage("sqlite://")
            copy = optuna.create_study(study_name=NAME, storage=storage, directions=list(study.directions))
            copy.add_trials(study.trials)
            memory: Any = storage.engine.raw_connection().driver_connection
            with closing(sqlite3.connect(temporary)) as file:
                memory.backup(file)
            temporary.replace(target)
    except (StoreError, sqlite3.Error) as error:
        note(f"{target} is left out ({str(error).splitlines()[0]}); nothing depends on it")


def _is_damaged(path: Path) -> bool:
    """Whether something else than a whole database of Optuna's lies there."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            file.execute("SELECT trial_id FROM trials LIMIT 1")  # an empty file is a database too
            return bool(file.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",))
    except sqlite3.Error:
        return True


def _as_json(search_trial: SearchTrial) -> dict[str, Any]:
    names = ("number", "settings", "state", "reason", "accuracy", "tokens")
    return {name: getattr(search_trial, name) for name in names} | {
        "curve": list(search_trial.curve.items()),
        "trials": [trial.folder for trial in search_trial.trials],
    }
