"""Peer Rollout Pooling: what a peer solved joins an agent's own group (Mutual Reinforcement Learning, 2605.07244).

A peer's right idea is encoded anew in the agent's own tokens, as an answer to the agent's own prompt, and joins
the agent's group with the reward it earned. Advantages are taken over the joined group. The text was not sampled
from the agent's policy and the density ratio of the two policies is not corrected (between tokenizers it has no
meaning token by token): its importance ratio starts at 1 from the agent's own log-probabilities before the update,
so the update is that of a text which the agent sampled itself, and the clip bounds how far it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilr_bench.core.config import RunConfig
from ilr_bench.generation.agent import Agent
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.method.advantages import AdvantageBatch, group_advantages
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.rewards import Rollouts
from ilr_bench.storage.records import Verdict


@dataclass(frozen=True)
class Pooled:
    """Advantages over joined groups, and the samples that joined them, by agent."""

    advantage_batches: list[AdvantageBatch]
    """With the advantages of the agent's own turns."""
    borrowed: list[list[TrainingSample]]


def pool_successes(config: RunConfig, rollouts: Rollouts, own: list[AdvantageBatch]) -> Pooled:
    """Joins every finished right idea of the peers to each agent's group of ideas on the same question.

    own: by agent, of the sharing stage before pooling. A text that is longer in the agent's own tokens than
    `sampling.max_new_tokens` is left out.
    """
    pooled, borrowed = [], []
    for number, batch in enumerate(own):
        advantages, samples = batch.advantages.copy(), []
        for index, question in enumerate(rollouts.batch.questions):
            found = _successes(config, rollouts, number, index)
            rewards = np.concatenate([batch.calibrated[index], [reward for _, reward in found]])
            joined = group_advantages(rewards, config.advantages.scale)
            n = batch.advantages.shape[1]
            advantages[index] = joined[:n]
            prompt = rollouts.turns["sharing"][number][index][0].prompt.ids
            samples += [
                TrainingSample(prompt, ids, None, float(advantage), question.id, "sharing")
                for (ids, _), advantage in zip(found, joined[n:], strict=True)
            ]
        pooled.append(replace(batch, advantages=advantages))
        borrowed.append(samples)
    return Pooled(pooled, borrowed)


def _successes(config: RunConfig, rollouts: Rollouts, number: int, index: int) -> list[tuple[tuple[int, ...], float]]:
    """What the peers of an agent solved of one question: the agent's own tokens for it, and its reward."""
    agents, turns, scores = rollouts.batch.agents, rollouts.turns["sharing"], rollouts.scores["sharing"]
    found = []
    for peer in range(len(agents)):
        if peer == number:
            continue
        for turn, scored in zip(turns[peer][index], scores[peer][index], strict=True):
            if scored.verdict is Verdict.CORRECT and turn.completion.finished:
                ids = agents[number].encode(decode_untrimmed(agents[peer], turn))
                if len(ids) <= config.sampling.max_new_tokens:
                    found.append((ids, scored.reward))
    return found


def decode_untrimmed(agent: Agent, turn: Turn) -> str:
    """The text of a turn, spaces at both ends kept, up to the agent's stop string."""
    text: str = agent.tokenizer.decode(list(turn.completion.token_ids), skip_special_tokens=True)
    for stop in agent.style.stop_strings():
        text = text.split(stop, 1)[0]
    return text
