"""Solo evaluations of untrained agents: artifacts, since trials that train nothing answer alike.

The records of such a trial are those of every other one that asks the same model the same, but for two labels: the
agent's name and the seed, which decides nothing where answers are greedy.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ilr_bench.core.config import EvaluationSettings, RunConfig, content_hash
from ilr_bench.evaluation.progress import Nobody, Watcher
from ilr_bench.evaluation.runner import Answers, BenchmarkExam, run_exams
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import seat_agents
from ilr_bench.models.loading import computing_device
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.provenance import determinants
from ilr_bench.storage.records import SampleRecord, read, to_line
from ilr_bench.storage.store import Artifacts
from ilr_bench.tasks.benchmarks import expand, get

RECORDS, LOG = "records.jsonl", "samples.jsonl"
"""Our records, and lm-eval's log of the same samples."""
NOBODY = "the base model"
"""The agent in an artifact's records."""


def evaluate_untrained(
    agent: Agent,
    fingerprint: str,
    settings: EvaluationSettings,
    artifacts: Artifacts,
    folder: Path,
    seed: int,
    grader: Grader,
) -> None:
    """Leaves the records that `benchmarks.evaluate` would, computed once per model and settings.

    `fingerprint` is the model's. Raises what `evaluate` raises.
    """
    names = expand(settings.benchmarks)
    exams = [SharedExam(name, agent, fingerprint, settings, artifacts, seed, grader) for name in names]
    run_exams(exams, agent, folder, seed)


def evaluate_alone(model: str, config: RunConfig, artifacts: Artifacts) -> None:
    """Makes the artifacts of one model's greedy answers, for the trials that leave it untrained."""
    alone = replace(config, models=(model,), update=replace(config.update, adapter="full"))
    (seat,) = seat_agents(alone)
    with Grader() as grader:
        for name in expand(config.evaluation.benchmarks):
            exam = SharedExam(name, seat.agent, seat.loaded.fingerprint, config.evaluation, artifacts, 0, grader)
            exam.shared(Nobody())


class SharedExam:
    """One benchmark whose records are an artifact; see `benchmarks.evaluation.Exam`."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        fingerprint: str,
        settings: EvaluationSettings,
        artifacts: Artifacts,
        seed: int,
        grader: Grader,
    ) -> None:
        self.name = name
        self._agent, self._seed, self._artifacts = agent.name, seed, artifacts
        drawn = seed if settings.temperature > 0 else 0
        self._exam = BenchmarkExam(get(name), replace(agent, name=NOBODY), settings, drawn, grader)
        self._key: dict[str, Any] = self._exam.decided_by() | {
            "kind": "evaluation",
            "model": fingerprint,
            "device": computing_device(),
            "engine": agent.engine.name,
            "versions": determinants(),
        }

    def wanted(self) -> list[tuple[str, int]]:
        """See `Exam.wanted`."""
        return self._exam.wanted()

    def sit(self, journal: Path, watcher: Watcher) -> Answers:
        """See `Exam.sit`; the journal lies with the artifacts, so that whoever comes next goes on with it."""
        del journal
        shared = self.shared(watcher)
        records = [replace(record, agent=self._agent, seed=self._seed) for record in shared.records]
        return Answers(records, shared.logs)

    def shared(self, watcher: Watcher) -> Answers:
        """The artifact's answers, of nobody in particular."""
        shared = self._artifacts.root / f".{content_hash(self._key)}.part.jsonl"
        sat = False

        def make(folder: Path) -> None:
            nonlocal sat
            sat = True
            answers = self._exam.sit(shared, watcher)
            write_atomic(folder / RECORDS, "".join(f"{to_line(record)}\n" for record in answers.records))
            write_atomic(folder / LOG, answers.logs[self.name])

        folder = self._artifacts.get(self._key, make)
        if sat:
            shared.unlink(missing_ok=True)
        else:
            watcher.answered(len(self.wanted()), 0)
        log = (folder / LOG).read_text(encoding="utf-8")
        return Answers(list(read(folder / RECORDS, SampleRecord)), {self.name: log})
