"""Difficulty rankings and abilities: artifacts, computed once per content hash and shared by every trial."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.core.config import RunConfig, content_hash
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, Engine, Request, SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.method import difficulty, loop
from ilr_bench.method.difficulty import Rankings, self_rank
from ilr_bench.models.loading import computing_device
from ilr_bench.storage.provenance import determinants
from ilr_bench.storage.store import Artifacts
from ilr_bench.tasks.types import Question

SEED = 0
"""Shuffles for ranking are the same for every trial, so that all seeds share one difficulty."""


class CountingEngine:
    """An engine that counts the tokens it samples."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.tokens = 0

    def sample(self, request: Request) -> list[list[Completion]]:
        """See `Engine.sample`."""
        completions = self._engine.sample(request)
        self.tokens += sum(len(one.token_ids) for group in completions for one in group)
        return completions

    def rest(self) -> None:
        """See `Engine.rest`."""
        self._engine.rest()


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
        accuracy = loop.solo_accuracy(replace(agent, engine=counter), questions, config, grader)
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
        "versions": determinants(),
    }
