"""What a stage's turns earn: verdicts, rewards, calibrated rewards, advantages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import AdvantageSettings, CalibrationSettings, RewardSettings, Stage
from ilr_bench.grading.math import Grader
from ilr_bench.method.advantages import changed, group_advantages
from ilr_bench.method.calibration import CALIBRATIONS
from ilr_bench.method.idea3 import StepBatch, Turns
from ilr_bench.method.rewards import Answer, Score, score
from ilr_bench.storage.records import Verdict

Scores = list[list[list[Score]]]
"""By agent, question and number, like the turns they belong to."""


@dataclass(frozen=True)
class Rollouts:
    """The turns of one step by stage, with the verdicts on those that end in an answer."""

    batch: StepBatch
    question_indices: NDArray[np.int64]
    """(questions,) places of the step's questions among the training questions."""
    turns: dict[Stage, Turns]
    scores: dict[Stage, Scores]


@dataclass(frozen=True)
class AdvantageBatch:
    """One agent's groups of one stage: a row per question, n answers in each."""

    rewards: NDArray[np.float64]
    """(questions, n)"""
    calibrated: NDArray[np.float64]
    """(questions, n)"""
    advantages: NDArray[np.float64]
    """(questions, n), from the calibrated rewards."""
    advantage_change: NDArray[np.float64]
    """(questions, n): how far calibration moved each advantage."""
    clipped: NDArray[np.bool_]
    """(terms,): was the term of equation (5) clipped; empty without calibration or peers."""
    flat_peers: NDArray[np.bool_]
    """(questions x peers,): had the peer one reward only."""

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(questions,): groups whose advantages calibration changed."""
        return changed(np.zeros_like(self.advantage_change), self.advantage_change)


def score_turns(batch: StepBatch, turns: Turns, settings: RewardSettings, grader: Grader) -> Scores:
    """Verdict and base reward of every answer of a stage."""
    scores: Scores = []
    for agent, by_question in zip(batch.agents, turns, strict=True):
        answers = [
            Answer(question, turn.text, turn.completion.finished)
            for question, group in zip(batch.questions, by_question, strict=True)
            for turn in group
        ]
        flat = iter(score(answers, agent.style, settings, grader))
        scores.append([[next(flat) for _ in group] for group in by_question])
    return scores


def rewards_of(scores: Scores) -> list[NDArray[np.float64]]:
    """(questions, n) of each agent."""
    return [np.array([[item.reward for item in group] for group in groups]) for groups in scores]


def analysis_rewards(fusion: Sequence[NDArray[np.float64]], dialogues: int) -> list[NDArray[np.float64]]:
    """An analysis earns the mean of its agent's fusion rewards in its dialogue: (questions, dialogues) each."""
    return [values.reshape(values.shape[0], dialogues, -1).mean(axis=-1) for values in fusion]


def accuracy(scores: Sequence[Sequence[Score]]) -> float:
    """Share of right answers of one agent."""
    return float(np.mean([item.verdict is Verdict.CORRECT for group in scores for item in group]))


def compute_advantages(
    rewards: Sequence[NDArray[np.float64]], calibration: CalibrationSettings, settings: AdvantageSettings
) -> list[AdvantageBatch]:
    """Calibrated rewards and advantages of all agents for one stage; `rewards[agent]` is (questions, n)."""
    calibrate = CALIBRATIONS[calibration.kind]
    calibrated, clips, flats = [], [], []
    for agent, own in enumerate(rewards):
        peers = [values for peer, values in enumerate(rewards) if peer != agent]
        groups = [calibrate(own[index], [peer[index] for peer in peers]) for index in range(len(own))]
        calibrated.append(np.stack([group.rewards for group in groups]))
        clips.append(np.concatenate([group.clipped[~group.flat_peers].ravel() for group in groups]))
        flats.append(np.concatenate([group.flat_peers for group in groups]))
    before, after = agent_advantages(rewards, settings), agent_advantages(calibrated, settings)
    return [
        AdvantageBatch(rewards[i], calibrated[i], after[i], after[i] - before[i], clips[i], flats[i])
        for i in range(len(rewards))
    ]


def agent_advantages(rewards: Sequence[NDArray[np.float64]], settings: AdvantageSettings) -> list[NDArray[np.float64]]:
    """Advantages of all agents; a baseline over agents needs groups of one size."""
    if settings.baseline == "agents":
        pooled = group_advantages(np.stack(rewards, axis=1), settings.scale, "agents")
        return [pooled[:, agent] for agent in range(len(rewards))]
    return [group_advantages(values, settings.scale, settings.baseline) for values in rewards]
