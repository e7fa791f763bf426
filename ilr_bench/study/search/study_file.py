"""What a search leaves beside its trials: `search.json` with every point, and `optuna.db` for Optuna's dashboard.

Both are made anew from the trials' records whenever the search's command runs. Of `search.json` only the rules are
ever read, to keep two searches out of one folder; `optuna.db` is never read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.storage.files import explained, write_atomic
from ilr_bench.storage.records import Study, TrialEntry, write_study
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.study.search.rounds import Search, SearchTrial

FILE, STORAGE = "search.json", "optuna.db"
NAME = "search"
"""Of the Optuna study; Hyperband chooses brackets by it."""


def claim(out: Path, rules: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where the folder holds another search, or a study that is no search."""
    path = out / FILE
    if not path.exists():
        if (out / "study.json").exists():
            raise ConfigurationError(f"{out} holds a study that is no search; choose another --out")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["rules"]
    except (ValueError, KeyError, TypeError):
        note(f"{path} is torn; it is made anew from the trials' records")
        return
    plain = json.loads(json.dumps(rules))
    other = sorted(key for key in plain.keys() | earlier.keys() if plain.get(key) != earlier.get(key))
    if other:
        raise ConfigurationError(f"{out} holds another search (other {', '.join(other)}); choose another --out")


def publish(out: Path, search: Search, rules: Mapping[str, Any], profile: str, command: str) -> None:
    """Writes `search.json`, and a `study.json` with the trials of all points that have not been given up."""
    best = [search_trial.number for search_trial in search.best()]
    text = json.dumps(
        {
            "rules": rules,
            "command": command,
            "objectives": search.rules.objectives,
            "points": [_row(search_trial) for search_trial in search.points],
            "best": best,
        },
        ensure_ascii=False,
        indent=1,
    )
    write_atomic(out / FILE, text + "\n")
    write_study(out, Study(profile, command, tuple(_entries(search.points))))


def write_storage(study: optuna.Study, out: Path) -> None:
    """Writes the Optuna study as an SQLite file; says so where that fails, since nothing depends on it.

    Says as well where the file of an earlier run was damaged.
    """
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


def _row(search_trial: SearchTrial) -> dict[str, Any]:
    return {
        "number": search_trial.number,
        "settings": search_trial.settings,
        "state": search_trial.state,
        "reason": search_trial.reason,
        "accuracy": search_trial.accuracy,
        "tokens": search_trial.tokens,
        "curve": [[step, value] for step, value in search_trial.curve.items()],
        "trials": [trial.folder for trial in search_trial.trials],
    }


def entry(trial: PlannedTrial, label: str) -> TrialEntry:
    """A trial of a point under the name `ilr #3`."""
    config = trial.config
    name = f"{config.variant} {label}"
    return TrialEntry(name, config.models, config.agents, config.seed, trial.hash, trial.folder)


def _entries(search_trials: Sequence[SearchTrial]) -> list[TrialEntry]:
    entries: dict[str, TrialEntry] = {}
    for search_trial in search_trials:
        if search_trial.state in ("running", "complete"):
            for trial in search_trial.trials:
                entries.setdefault(trial.hash, entry(trial, f"#{search_trial.number}"))
    return list(entries.values())
