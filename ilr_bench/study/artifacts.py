"""Difficulty rankings, abilities and answers of untrained agents: artifacts, computed once for all trials.

The records of trials that train nothing are those of every other one that asks the same model the same, but for two
labels: the agent's name and the seed, which decides nothing where answers are greedy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.core.config import EvaluationSettings, RunConfig, content_hash
from ilr_bench.evaluation.runner import Answers, EvaluationProgress, RegisteredBenchmarkRun
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, Engine, SamplingOptions, SamplingRequest
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import LoadedAgent
from ilr_bench.method import difficulty, loop
from ilr_bench.method.difficulty import Rankings, self_rank
from ilr_bench.models.loading import computing_device
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.style import wording
from ilr_bench.storage.files import read_json, write_atomic
from ilr_bench.storage.provenance import ALWAYS, ENGINES, EVALUATING, HARNESS, MEASURING, numeric_versions
from ilr_bench.storage.records import SampleRecord, read, to_line
from ilr_bench.storage.store import Artifacts
from ilr_bench.tasks.benchmarks import get
from ilr_bench.tasks.types import Question

SEED = 0
"""Shuffles for ranking are the same for every trial: one difficulty serves all training seeds."""


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


def _measured(
    kind: str,
    loaded_agent: LoadedAgent,
    questions: Sequence[Question],
    config: RunConfig,
    artifacts: Artifacts,
    settings: dict[str, Any],
    measure: Callable[[Agent], dict[str, Any]],
) -> tuple[dict[str, Any], Path]:
    """What `measure` finds out about an agent, with the tokens sampled for it, from the artifact or computed now.

    The artifact depends on `settings` and on all else that could move one bit of any measurement on questions.
    """
    agent = loaded_agent.agent
    key = {
        "kind": kind,
        "model": loaded_agent.loaded.fingerprint,
        "device": computing_device(),
        "engine": agent.engine.name,
        "questions": content_hash([[question.text, question.answer, question.steps] for question in questions]),
        "style": agent.style.name,
        "wording": wording(agent.style, STYLES.plugin(agent.style.name)),
        "prompt_tokens": agent.max_prompt_tokens,
        "rows_per_call": config.sampling.rows_per_call,
        "versions": numeric_versions(MEASURING, (*ALWAYS, *ENGINES)),
    }

    def make(folder: Path) -> None:
        counter = CountingEngine(agent.engine)
        data = measure(replace(agent, engine=counter))
        (folder / f"{kind}.json").write_text(json.dumps(data | {"sampled_tokens": counter.tokens}))

    folder = artifacts.get(key | settings, make)
    return read_json(folder / f"{kind}.json", "delete its folder and run the same command again"), folder


def rankings(
    loaded_agent: LoadedAgent, questions: Sequence[Question], config: RunConfig, artifacts: Artifacts, grader: Grader
) -> tuple[Rankings, Path]:
    """One agent's self-ranking of the training questions before training, and the artifact's folder."""
    del grader
    sampling, wanted = config.sampling, config.difficulty

    def measure(agent: Agent) -> dict[str, Any]:
        options = SamplingOptions(sampling.max_ranking_tokens, 0.0, sampling.rows_per_call, agent.style.stop_strings())
        made = self_rank(agent, questions, wanted, options, SEED)
        ranks = [None if math.isnan(rank) else rank for rank in made.difficulty.tolist()]
        return {"difficulty": ranks, "valid": made.valid, "invalid": made.invalid}

    settings = {
        "settings": {"batch_size": wanted.batch_size, "shuffles": wanted.shuffles},
        "tokens": sampling.max_ranking_tokens,
    }
    data, folder = _measured("rankings", loaded_agent, questions, config, artifacts, settings, measure)
    return Rankings(np.array(data["difficulty"], dtype=np.float64), data["valid"], data["invalid"]), folder


def solve_rates(
    loaded_agent: LoadedAgent, questions: Sequence[Question], config: RunConfig, artifacts: Artifacts, grader: Grader
) -> tuple[Rankings, Path]:
    """1 - fraction of right answers that one agent samples alone before training, and the artifact's folder.

    Sampled as in training, `difficulty.samples` times for each training question.
    """
    sampling, samples = config.sampling, config.difficulty.samples

    def measure(agent: Agent) -> dict[str, Any]:
        options = SamplingOptions(
            sampling.max_new_tokens, sampling.temperature, sampling.rows_per_call, agent.style.stop_strings()
        )
        rates = difficulty.solve_rates(agent, questions, samples, options, grader, SEED)
        return {"difficulty": (1 - rates).tolist(), "samples": samples}

    settings = {"samples": samples, "temperature": sampling.temperature, "tokens": sampling.max_new_tokens}
    data, folder = _measured("solve_rates", loaded_agent, questions, config, artifacts, settings, measure)
    return Rankings(np.array(data["difficulty"], dtype=np.float64)), folder


DIFFICULTY = {"self_ranking": ("rankings", rankings), "solve_rate": ("solve_rates", solve_rates)}
"""`difficulty.source` -> name of its artifact, and how it is computed."""


def ability(
    loaded_agent: LoadedAgent, questions: Sequence[Question], config: RunConfig, artifacts: Artifacts, grader: Grader
) -> tuple[float, Path]:
    """gamma: one agent's accuracy on the validation questions before training, and the artifact's folder."""

    def measure(agent: Agent) -> dict[str, Any]:
        accuracy = loop.standalone_accuracy(agent, questions, config, grader)
        return {"accuracy": accuracy, "questions": len(questions)}

    settings = {"tokens": config.sampling.max_new_tokens}
    data, folder = _measured("ability", loaded_agent, questions, config, artifacts, settings, measure)
    return float(data["accuracy"]), folder


RECORDS, LOG = "records.jsonl", "samples.jsonl"
"""Our records, and lm-eval's log of the same samples."""
BASE_MODEL = "the base model"
"""The agent in an artifact's records."""


class CachedBenchmarkRun:
    """One benchmark whose records are an artifact, computed once per model and settings; see `BenchmarkRun`."""

    def __init__(
        self,
        name: str,
        loaded_agent: LoadedAgent,
        settings: EvaluationSettings,
        artifacts: Artifacts,
        seed: int,
        grader: Grader,
    ) -> None:
        """`seed` decides the answers where they are not greedy."""
        agent = loaded_agent.agent
        self._agent, self._seed, self._artifacts = agent.name, seed, artifacts
        drawn = seed if settings.temperature > 0 else 0
        self._run = RegisteredBenchmarkRun(get(name), replace(agent, name=BASE_MODEL), settings, drawn, grader)
        self.name = self._run.name
        self._key: dict[str, Any] = self._run.decided_by() | {
            "kind": "evaluation",
            "model": loaded_agent.loaded.fingerprint,
            "device": computing_device(),
            "engine": agent.engine.name,
            "versions": numeric_versions(EVALUATING, (*ALWAYS, *ENGINES, *HARNESS)),
        }

    def sample_ids(self) -> list[tuple[str, int]]:
        """See `BenchmarkRun`."""
        return self._run.sample_ids()

    def run(self, journal: Path, progress: EvaluationProgress) -> Answers:
        """See `BenchmarkRun`; the journal lies with the artifacts, so that any other trial goes on with it."""
        del journal
        shared = self.shared(progress)
        records = [replace(record, agent=self._agent, seed=self._seed) for record in shared.records]
        return Answers(records, shared.logs)

    def shared(self, progress: EvaluationProgress) -> Answers:
        """The artifact's answers, under the name `BASE_MODEL`. Raises what `evaluate` raises."""
        journal = self._artifacts.root / f".{content_hash(self._key)}.part.jsonl"
        answered = False

        def make(folder: Path) -> None:
            nonlocal answered
            answered = True
            answers = self._run.run(journal, progress)
            write_atomic(folder / RECORDS, "".join(f"{to_line(record)}\n" for record in answers.records))
            write_atomic(folder / LOG, answers.logs[self.name])

        folder = self._artifacts.get(self._key, make)
        if answered:
            journal.unlink(missing_ok=True)
        else:
            progress.answered(len(self.sample_ids()), 0)
        log = (folder / LOG).read_text(encoding="utf-8")
        return Answers(list(read(folder / RECORDS, SampleRecord)), {self.name: log})
