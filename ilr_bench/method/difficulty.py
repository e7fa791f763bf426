"""Question difficulty, by self-ranking (paper section 3.1) or by solve rate (ours).

Shuffle the questions into batches, have an agent order each batch from easy to hard, repeat, and average each
question's normalised rank (r - 1) / (size - 1). Which model ranks, and how often, the paper does not say: here
every agent ranks, and the mean over the agents is D_q. The solve rate replaces ranks by the fraction of sampled
answers that are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import DifficultySettings
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.grading.math import Grader
from ilr_bench.prompts.thoughts import without_thought
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question

UNKNOWN = 0.5
"""Difficulty of a question for which no agent gave a valid ranking."""


@dataclass(frozen=True)
class Rankings:
    """How hard one agent finds the questions."""

    difficulty: NDArray[np.float64]
    """(questions,) in [0, 1]: mean normalised rank, NaN without one valid ranking; or the fraction of wrong answers."""
    valid: int = 0
    """Answers that were permutations of their batch."""
    invalid: int = 0
    """Answers that were not; they are ignored."""


def ranking_batches(count: int, settings: DifficultySettings, seed: int) -> list[NDArray[np.int64]]:
    """Indices of the questions in every batch of every shuffle; sizes differ by at most one and are >= 2."""
    batches: list[NDArray[np.int64]] = []
    for shuffle in range(settings.shuffles):
        order = np.random.default_rng(derive_seed(seed, "ranking", shuffle)).permutation(count)
        batches += np.array_split(order, max(1, count // settings.batch_size))
    return batches


def mean_ranks(count: int, batches: Sequence[NDArray[np.int64]], orders: Sequence[tuple[int, ...] | None]) -> Rankings:
    """Averages the rankings; `orders[b]` holds indices within batch b from easiest to hardest, or None."""
    total, seen = np.zeros(count), np.zeros(count)
    for batch, order in zip(batches, orders, strict=True):
        if order is not None:
            total[batch[list(order)]] += np.arange(len(batch)) / (len(batch) - 1)
            seen[batch] += 1
    ranks = np.full(count, np.nan)
    np.divide(total, seen, out=ranks, where=seen > 0)
    valid = sum(order is not None for order in orders)
    return Rankings(ranks, valid, len(orders) - valid)


def self_rank(
    agent: Agent, questions: Sequence[Question], settings: DifficultySettings, options: SamplingOptions, seed: int
) -> Rankings:
    """One agent's rankings of all questions, greedily decoded unless `options` says otherwise."""
    batches = ranking_batches(len(questions), settings, seed)
    prompts = [agent.render(agent.style.rank([questions[index].text for index in batch])).ids for batch in batches]
    turns = agent.engine.sample(SamplingRequest(prompts, [1] * len(prompts), options, derive_seed(seed, "rank")))
    texts = [without_thought(agent.decode(turn[0].token_ids), agent.thoughts) for turn in turns]
    orders = [agent.style.parse_ranking(text, len(batch)) for text, batch in zip(texts, batches, strict=True)]
    return mean_ranks(len(questions), batches, orders)


def solve_rates(
    agent: Agent, questions: Sequence[Question], samples: int, options: SamplingOptions, grader: Grader, seed: int
) -> NDArray[np.float64]:
    """(questions,) fraction of right answers among an agent's samples, each given alone."""
    prompts = [agent.render(agent.style.solve(question.text)).ids for question in questions]
    sampled = agent.engine.sample(
        SamplingRequest(prompts, [samples] * len(prompts), options, derive_seed(seed, "solve"))
    )
    pairs = [
        (agent.style.extract_answer(without_thought(agent.decode(turn.token_ids), agent.thoughts)), question.answer)
        for question, turns in zip(questions, sampled, strict=True)
        for turn in turns
    ]
    right = np.array([verdict is Verdict.CORRECT for verdict in grader.grade(pairs)], dtype=np.float64)
    return np.asarray(right.reshape(len(questions), samples).mean(axis=1))


def joint_difficulty(rankings: Sequence[Rankings]) -> NDArray[np.float64]:
    """D_q, (questions,): the mean over the agents that ranked a question validly, else 0.5."""
    values = np.stack([ranking.difficulty for ranking in rankings])
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    joint = np.full(values.shape[1], UNKNOWN)
    np.divide(total, known.sum(axis=0), out=joint, where=known.any(axis=0))
    return joint
