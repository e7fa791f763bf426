"""What of a study is there already: finished trials, checkpoints, and what the studies beside it would give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.provenance import same_numbers, versions
from ilr_bench.storage.records import read_result
from ilr_bench.storage.store import Artifacts, is_finished
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import sibling_studies


@dataclass(frozen=True)
class State:
    """How far one trial is."""

    kind: Literal["new", "started", "finished", "taken over"]
    step: int = 0
    """Of the newest checkpoint of a trial that was started."""
    source: Path | None = None
    """Study that a trial would be taken over from."""

    @property
    def is_left(self) -> bool:
        """Whether anything remains to be run."""
        return self.kind in ("new", "started")

    def __str__(self) -> str:
        if self.kind == "started":
            return f"continues after step {self.step}"
        return f"taken over from {self.source}" if self.kind == "taken over" else self.kind


NEW = State("new")


def states(plan: Plan, out: Path | None, fresh: bool = False) -> dict[str, State]:
    """Hash -> state of every trial, as a sweep into `out` would find it; nothing is written."""
    if out is None:
        return {trial.hash: NEW for trial in plan.trials}
    siblings = () if fresh else sibling_studies(out)
    current = versions() if siblings else {}
    return {trial.hash: _state(trial, out, siblings, current) for trial in plan.trials}


def _state(trial: PlannedTrial, out: Path, siblings: tuple[Path, ...], current: dict[str, str]) -> State:
    folder = out / trial.folder
    if is_finished(folder, trial.hash, Artifacts(out / "artifacts")):
        return State("finished")
    for study in siblings:
        if _gives(study, trial.hash, current):
            return State("taken over", source=study)
    step = max(
        (
            int(match[1])
            for path in folder.glob("checkpoints/step-*")
            if (match := re.fullmatch(r"step-(\d+)", path.name))
        ),
        default=0,
    )
    return State("started", step) if step else NEW


def _gives(study: Path, key: str, current: dict[str, str]) -> bool:
    for path in sorted(study.glob(f"trials/*-{key}/result.json")):
        try:
            made_by = read_result(path.parent).versions
        except (StoreError, TypeError):  # torn, or written by a version with other fields
            return False
        return same_numbers(made_by, current) and is_finished(path.parent, key, Artifacts(study / "artifacts"))
    return False
