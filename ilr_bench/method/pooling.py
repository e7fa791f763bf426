"""Peer Rollout Pooling: what a peer solved joins an agent's own group (Mutual Reinforcement Learning, 2605.07244).

A peer's right idea is encoded anew in the agent's own tokens, as an answer to the agent's own prompt, and stands in
the agent's group with the reward it earned. Advantages are taken over the joined group. The text was not sampled
from the agent's policy and the density ratio of the two policies is not corrected (between tokenizers it has no
meaning token by token): its importance ratio starts at 1 from the agent's own log-probabilities before the update,
so the update is the one of an agent that had said it, and the clip bounds how far it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilr_bench.core.config import RunConfig
from ilr_bench.generation.agent import Agent
from ilr_bench.learner.grpo import TrainingSample
from ilr_bench.method.advantages import group_advantages
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.outcomes import AdvantageBatch, Rollouts
from ilr_bench.storage.records import Verdict


@dataclass(frozen=True)
class Pooled:
    """Lessons over joined groups, and what was borrowed for them."""

    advantage_batches: list[AdvantageBatch]
    """By agent; the advantages of its own turns among the borrowed ones."""
    borrowed: list[list[TrainingSample]]
    """By agent."""


def pool_successes(config: RunConfig, rollouts: Rollouts, advantage_batches: list[AdvantageBatch]) -> Pooled:
    """Joins every finished right idea of the peers to each agent's group of ideas on the same question.

    A text that is longer in the agent's own tokens than a turn may be is left out.
    """
    pooled, borrowed = [], []
    for number, advantage_batch in enumerate(advantage_batches):
        advantages, samples = advantage_batch.advantages.copy(), []
        for index in range(len(rollouts.batch.questions)):
            texts = _successes(config, rollouts, number, index)
            joined = np.concatenate([advantage_batch.calibrated[index], [reward for _, reward in texts]])
            joined_advantages = group_advantages(joined, config.advantages.scale)
            own_count = advantage_batch.advantages.shape[1]
            advantages[index] = joined_advantages[:own_count]
            prompt, question = (
                rollouts.turns["sharing"][number][index][0].prompt.ids,
                rollouts.batch.questions[index].id,
            )
            samples += [
                TrainingSample(prompt, ids, None, float(advantage), question, "sharing")
                for (ids, _), advantage in zip(texts, joined_advantages[own_count:], strict=True)
            ]
        pooled.append(replace(advantage_batch, advantages=advantages))
        borrowed.append(samples)
    return Pooled(pooled, borrowed)


def _successes(config: RunConfig, rollouts: Rollouts, number: int, index: int) -> list[tuple[tuple[int, ...], float]]:
    """What the peers of an agent solved of one question: the agent's own tokens for it, and its reward."""
    agents = rollouts.batch.agents
    found = []
    for peer in range(len(agents)):
        if peer == number:
            continue
        for turn, scored in zip(
            rollouts.turns["sharing"][peer][index], rollouts.scores["sharing"][peer][index], strict=True
        ):
            if scored.verdict is Verdict.CORRECT and turn.completion.finished:
                ids = agents[number].encode(decode_untrimmed(agents[peer], turn))
                if len(ids) <= config.sampling.max_new_tokens:
                    found.append((ids, scored.reward))
    return found


def decode_untrimmed(agent: Agent, turn: Turn) -> str:
    """What an agent said, spaces at both ends kept, up to where its turn ended."""
    text: str = agent.tokenizer.decode(list(turn.completion.token_ids), skip_special_tokens=True)
    for stop in agent.style.stop_strings():
        text = text.split(stop, 1)[0]
    return text
