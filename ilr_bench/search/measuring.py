"""What a trial is worth, read from its records: nothing that has been trained is trained again to find out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilr_bench.errors import StoreError
from ilr_bench.folders import digests, read_manifest
from ilr_bench.records import StepRecord, read, read_result
from ilr_bench.search.points import Goal, Measurement
from ilr_bench.store import Artifacts, RecordFile, is_finished

STATE = "state.json"


class Records:
    """The trials of one study."""

    def __init__(self, study: Path, artifacts: Artifacts) -> None:
        self._study, self._artifacts = study, artifacts
        self._sealed: set[str] = set()
        """Finished trials that have been held against their seal, which takes a while where weights are large."""

    def measure(self, goal: Goal) -> Measurement | None:
        """What a trial's records say of it at its goal, or None where it has not got there.

        A finished trial that was changed since is an unfinished one, which its next run mends. Raises StoreError where
        the records of an unfinished one are not those that its checkpoint was saved with.
        """
        folder = self._study / goal.trial.folder
        finished = self._is_finished(folder, goal.trial.hash)
        if goal.until is None:
            return _at_end(folder) if finished else None
        if not finished and not _has_reached(folder, goal.until):
            return None
        return _at_step(folder, goal.until, goal.trial.config.agents)

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


def _state(place: Path) -> Any:
    """What a checkpoint says of the run; None where it is torn. The weights are not looked at."""
    manifest = read_manifest(place)
    if manifest is None or digests(place, lambda name: name == STATE).get(STATE) != manifest[1].get(STATE, ""):
        return None
    return json.loads((place / STATE).read_text(encoding="utf-8"))
