"""What a trial needs to go on from a step with the same bits, and how it is saved and found again.

Records and checkpoints are written between steps, when no rollout waits for its update. Random choices are derived
from seeds (`seeds.py`), and no generator of Python, NumPy or torch carries a state from step to step, so the step's
number stands for all of them, and for the position in the data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.core.errors import StoreError
from ilr_bench.method.loop import TrainerState
from ilr_bench.storage.checkpoints import intact_checkpoints, save_checkpoint, torn_checkpoints
from ilr_bench.storage.files import read_json
from ilr_bench.storage.records import DialogueRecord, StepRecord
from ilr_bench.storage.store import RecordFile

STATE = "state.json"
CHECKPOINTS = "checkpoints"
_log = logging.getLogger(__name__)


class TrialCheckpointer:
    """The trainer's state with the records of its steps, in a trial's folder."""

    def __init__(self, folder: Path, state: TrainerState, fingerprints: Mapping[str, str]) -> None:
        """`fingerprints`: agent -> fingerprint of the model that it started from."""
        self.folder = folder
        self.trainer = state
        self.best: dict[str, Any] = {}
        """Step and mean validation accuracy of the best step so far, the first of equals; empty without any."""
        self._fingerprints = dict(fingerprints)
        self._steps, self._dialogues = RecordFile(folder / "train.jsonl"), RecordFile(folder / "dialogues.jsonl")
        self._checkpoints = folder / CHECKPOINTS

    def note(self, step: int, steps: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
        """Puts a step's records on the disk. Raises StoreError."""
        self._steps.append(steps)
        self._dialogues.append(dialogues)
        seen = [record.validation_accuracy for record in steps if record.validation_accuracy is not None]
        if seen and np.mean(seen) > self.best.get("validation_accuracy", -1.0):
            self.best = {"step": step, "validation_accuracy": float(np.mean(seen))}

    def save(self, step: int, keep: int, regular: Callable[[int], bool]) -> None:
        """Saves a joint checkpoint; see `save_checkpoint`."""
        save_checkpoint(self._checkpoints, step, self._write, keep, self.best.get("step"), regular)

    def restore(self) -> int:
        """Goes back to the newest state that is whole, and returns its step: 0 where there is none.

        A state is whole where its checkpoint matches its manifest and the records still begin as they did when it was
        saved. Records of later steps are dropped. Raises StoreError where an agent's model has changed, and where an
        earlier checkpoint that is to stay is torn: nothing but training anew would bring it back.
        """
        for step, source in intact_checkpoints(self._checkpoints):
            state = read_json(source / STATE, "delete that folder to go on from an earlier step")
            noted = state["records"]
            if self._steps.begins_with(noted["steps"]) and self._dialogues.begins_with(noted["dialogues"]):
                self._take_up(step, source, state)
                return step
            _log.warning("%s: the records changed since step %d; they are made anew", self.folder, step)
        self._steps.return_to(None)
        self._dialogues.return_to(None)
        return 0

    def _take_up(self, step: int, source: Path, state: dict[str, Any]) -> None:
        for path in torn_checkpoints(self._checkpoints, step):
            raise StoreError(
                f"{path} does not match its manifest, and nothing that follows needs it: delete that folder to go on "
                "without it, or the trial's folder to train it again"
            )
        for name, fingerprint in self._fingerprints.items():
            if state["models"][name] != fingerprint:
                raise StoreError(
                    f"{self.folder}: the model of {name} is not the one that step {step} was trained from; bring back "
                    "the model's files as they were, or delete the trial's folder to run it again"
                )
        load_agents(self.trainer, source)
        self.best = state["best"]
        self._steps.return_to(state["records"]["steps"])
        self._dialogues.return_to(state["records"]["dialogues"])

    def _write(self, target: Path) -> None:
        state = {
            "ability": self.trainer.ability.tolist(),
            "best": self.best,
            "models": self._fingerprints,
            "records": {"steps": self._steps.noted(), "dialogues": self._dialogues.noted()},
        }
        if self.trainer.memory:
            state["memory"] = self.trainer.memory
        (target / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        for agent, learner in zip(self.trainer.agents, self.trainer.learners, strict=True):
            folder = target / agent.name
            folder.mkdir()
            learner.save(folder)


def load_agents(state: TrainerState, source: Path) -> None:
    """Abilities, what the rule has learned, weights and optimizers of a checkpoint."""
    saved_state = read_json(source / STATE, "delete the trial's folder to run it again")
    state.ability, state.memory = np.array(saved_state["ability"]), saved_state.get("memory", {})
    for agent, learner in zip(state.agents, state.learners, strict=True):
        learner.load(source / agent.name)
