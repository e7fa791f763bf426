"""Difficulty rankings and abilities: artifacts, computed once per content hash and shared by every trial.

Solo evaluations of untrained agents: artifacts, since trials that train nothing answer alike.

The records of such a trial are those of every other one that asks the same model the same, but for two labels: the
agent's name and the seed, which decides nothing where answers are greedy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.core.config import EvaluationSettings, RunConfig, content_hash
from ilr_bench.evaluation.runner import (
    Answers,
    EvaluationProgress,
    RegisteredBenchmarkRun,
    run_benchmarks,
)
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, Engine, SamplingOptions, SamplingRequest
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import build_agents
from ilr_bench.method import difficulty, loop
from ilr_bench.method.difficulty import Rankings, self_rank
from ilr_bench.models.loading import computing_device
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.provenance import numeric_versions
from ilr_bench.storage.records import SampleRecord, read, to_line
from ilr_bench.storage.store import Artifacts
from ilr_bench.tasks.benchmarks import expand, get
from ilr_bench.tasks.types import Question

SEED = 0
"""Shuffles for ranking are the same for every trial, so that all seeds share one difficulty."""


class CountingEngine:
    """An engine that counts the tokens it samples."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.tokens = 0

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """See `Engine.sample`."""
        completions = self._engine.sample(request)
        self.tokens += sum(len(one.token_ids) for group in completions for one in group)
        return completions

    def release(self) -> None:
        """See `Engine.release`."""
        self._engine.release()


def rankings(
    agent: Agent,
    fingerprint: str,
    questions: Sequence[Question],
    config: RunConfig,
    artifacts: Artifacts,
    grader: Grader,
) -> tuple[Rankings, Path]:
    """One agent's self-ranking of the training questions before training, and the artifact's folder."""
    del grader
    key = _key("rankings", agent, fingerprint, questions, config) | {
        "settings": {"batch_size": config.difficulty.batch_size, "shuffles": config.difficulty.shuffles},
        "tokens": config.sampling.max_ranking_tokens,
    }

    def make(folder: Path) -> None:
        options = SamplingOptions(
            config.sampling.max_ranking_tokens, 0.0, config.sampling.rows_per_call, agent.style.stop_strings()
        )
        counter = CountingEngine(agent.engine)
        made = self_rank(replace(agent, engine=counter), questions, config.difficulty, options, SEED)
        ranks = [None if math.isnan(rank) else rank for rank in made.difficulty.tolist()]
        data = {"difficulty": ranks, "valid": made.valid, "invalid": made.invalid}
        data["sampled_tokens"] = counter.tokens
        (folder / "rankings.json").write_text(json.dumps(data))

    folder = artifacts.get(key, make)
    data = json.loads((folder / "rankings.json").read_text())
    return Rankings(np.array(data["difficulty"], dtype=np.float64), data["valid"], data["invalid"]), folder


def solve_rates(
    agent: Agent,
    fingerprint: str,
    questions: Sequence[Question],
    config: RunConfig,
    artifacts: Artifacts,
    grader: Grader,
) -> tuple[Rankings, Path]:
    """1 - share of right answers that one agent samples alone before training, and the artifact's folder.

    Sampled as in training, `difficulty.samples` times for each training question.
    """
    sampling, samples = config.sampling, config.difficulty.samples
    key = _key("solve_rates", agent, fingerprint, questions, config) | {
        "samples": samples,
        "temperature": sampling.temperature,
        "tokens": sampling.max_new_tokens,
    }

    def make(folder: Path) -> None:
        options = SamplingOptions(
            sampling.max_new_tokens, sampling.temperature, sampling.rows_per_call, agent.style.stop_strings()
        )
        counter = CountingEngine(agent.engine)
        rates = difficulty.solve_rates(replace(agent, engine=counter), questions, samples, options, grader, SEED)
        data = {"difficulty": (1 - rates).tolist(), "samples": samples, "sampled_tokens": counter.tokens}
        (folder / "solve_rates.json").write_text(json.dumps(data))

    folder = artifacts.get(key, make)
    data = json.loads((folder / "solve_rates.json").read_text())
    return Rankings(np.array(data["difficulty"], dtype=np.float64)), folder


DIFFICULTY = {"self_ranking": ("rankings", rankings), "solve_rate": ("solve_rates", solve_rates)}
"""`difficulty.source` -> name of its artifact, and how it is measured."""


def ability(
    agent: Agent,
    fingerprint: str,
    questions: Sequence[Question],
    config: RunConfig,
    artifacts: Artifacts,
    grader: Grader,
) -> tuple[float, Path]:
    """gamma: one agent's accuracy on the validation questions before training, and the artifact's folder."""
    key = _key("ability", agent, fingerprint, questions, config) | {"tokens": config.sampling.max_new_tokens}

    def make(folder: Path) -> None:
        counter = CountingEngine(agent.engine)
        accuracy = loop.standalone_accuracy(replace(agent, engine=counter), questions, config, grader)
        data = {"accuracy": accuracy, "questions": len(questions), "sampled_tokens": counter.tokens}
        (folder / "ability.json").write_text(json.dumps(data))

    folder = artifacts.get(key, make)
    return float(json.loads((folder / "ability.json").read_text())["accuracy"]), folder


def _key(kind: str, agent: Agent, fingerprint: str, questions: Sequence[Question], config: RunConfig) -> dict[str, Any]:
    """What every measurement of an agent on questions depends on: whatever could move one bit of it."""
    return {
        "kind": kind,
        "model": fingerprint,
        "device": computing_device(),
        "engine": agent.engine.name,
        "questions": content_hash([[question.text, question.answer, question.steps] for question in questions]),
        "style": agent.style.name,
        "prompt_tokens": agent.max_prompt_tokens,
        "rows_per_call": config.sampling.rows_per_call,
        "versions": numeric_versions(),
    }


RECORDS, LOG = "records.jsonl", "samples.jsonl"
"""Our records, and lm-eval's log of the same samples."""
BASE_MODEL = "the base model"
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
    runs = [CachedBenchmarkRun(name, agent, fingerprint, settings, artifacts, seed, grader) for name in names]
    run_benchmarks(runs, agent, folder, seed)


def evaluate_base_model(model: str, config: RunConfig, artifacts: Artifacts) -> None:
    """Makes the artifacts of one model's greedy answers, for the trials that leave it untrained."""
    alone = replace(config, models=(model,), update=replace(config.update, adapter="full"))
    (loaded_agent,) = build_agents(alone)
    with Grader() as grader:
        for name in expand(config.evaluation.benchmarks):
            run = CachedBenchmarkRun(
                name, loaded_agent.agent, loaded_agent.loaded.fingerprint, config.evaluation, artifacts, 0, grader
            )
            run.shared(EvaluationProgress())


class CachedBenchmarkRun:
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
        self._exam = RegisteredBenchmarkRun(get(name), replace(agent, name=BASE_MODEL), settings, drawn, grader)
        self._key: dict[str, Any] = self._exam.decided_by() | {
            "kind": "evaluation",
            "model": fingerprint,
            "device": computing_device(),
            "engine": agent.engine.name,
            "versions": numeric_versions(),
        }

    def sample_ids(self) -> list[tuple[str, int]]:
        """See `Exam.sample_ids`."""
        return self._exam.sample_ids()

    def run(self, journal: Path, progress: EvaluationProgress) -> Answers:
        """See `Exam.run`; the journal lies with the artifacts, so that whoever comes next goes on with it."""
        del journal
        shared = self.shared(progress)
        records = [replace(record, agent=self._agent, seed=self._seed) for record in shared.records]
        return Answers(records, shared.logs)

    def shared(self, progress: EvaluationProgress) -> Answers:
        """The artifact's answers, of nobody in particular."""
        shared = self._artifacts.root / f".{content_hash(self._key)}.part.jsonl"
        sat = False

        def make(folder: Path) -> None:
            nonlocal sat
            sat = True
            answers = self._exam.run(shared, progress)
            write_atomic(folder / RECORDS, "".join(f"{to_line(record)}\n" for record in answers.records))
            write_atomic(folder / LOG, answers.logs[self.name])

        folder = self._artifacts.get(self._key, make)
        if sat:
            shared.unlink(missing_ok=True)
        else:
            progress.answered(len(self.sample_ids()), 0)
        log = (folder / LOG).read_text(encoding="utf-8")
        return Answers(list(read(folder / RECORDS, SampleRecord)), {self.name: log})
