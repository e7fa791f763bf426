"""What sampled answers earn: verdicts and base rewards, before calibration.

The paper speaks of a reward model without naming it; here an answer is verified, and its form is worth a
little (our choice). The graded reward pays wrong answers for right intermediate steps, so that rewards have
more than two levels and calibration's clip can act.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RewardSettings, Stage
from ilr_bench.grading.math import Grader, reject_question_echo
from ilr_bench.method.idea3 import StepBatch, Turn, Turns
from ilr_bench.prompts import PromptStyle
from ilr_bench.prompts.thoughts import ANY, Thoughts, without_thought
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


@dataclass(frozen=True)
class Score:
    """A turn's verdict and base reward."""

    verdict: Verdict
    reward: float


Scores = list[list[list[Score]]]
"""By agent, question and number, like the turns they belong to."""


@dataclass(frozen=True)
class Rollouts:
    """The turns of one step by stage, with the scores of those that end in an answer."""

    batch: StepBatch
    question_indices: NDArray[np.int64]
    """(questions,) indices of the step's questions among the training questions."""
    turns: dict[Stage, Turns]
    scores: dict[Stage, Scores]


def score_turns(batch: StepBatch, turns: Turns, settings: RewardSettings, grader: Grader) -> Scores:
    """Verdict and base reward of every turn of a stage."""
    scores: Scores = []
    for agent, groups in zip(batch.agents, turns, strict=True):
        questions = [question for question, group in zip(batch.questions, groups, strict=True) for _ in group]
        flat = iter(
            score(
                questions, [turn for group in groups for turn in group], agent.style, settings, grader, agent.thoughts
            )
        )
        scores.append([[next(flat) for _ in group] for group in groups])
    return scores


def score(
    questions: Sequence[Question],
    turns: Sequence[Turn],
    style: PromptStyle,
    settings: RewardSettings,
    grader: Grader,
    thoughts: Thoughts = ANY,
) -> list[Score]:
    """Verdict and base reward of each turn as an answer to the question at its index."""
    finals = [
        reject_question_echo(style.extract_answer(without_thought(turn.text, thoughts)), question.text)
        for question, turn in zip(questions, turns, strict=True)
    ]
    verdicts = grader.grade([(final, question.answer) for final, question in zip(finals, questions, strict=True)])
    return [
        Score(verdict, reward(verdict, question, turn, settings))
        for verdict, question, turn in zip(verdicts, questions, turns, strict=True)
    ]


def reward(verdict: Verdict, question: Question, turn: Turn, settings: RewardSettings) -> float:
    """1 for a right answer, partial credit for right steps of another one (graded), and a term for the form."""
    value = 1.0 if verdict is Verdict.CORRECT else 0.0
    if settings.kind == "graded" and verdict is not Verdict.CORRECT:
        value = settings.step_weight * right_steps(turn.text, question.steps)
    well_formed = turn.completion.finished and verdict is not Verdict.MISSING
    return value + settings.format_weight * well_formed


def right_steps(text: str, steps: Sequence[str]) -> float:
    """Fraction of the gold steps found in a text in their order, however spaced; 0 without gold steps."""
    index, found = 0, 0
    for step in steps:
        match = _step_pattern(step).search(text, index)
        if match is not None:
            found, index = found + 1, match.end()
    return found / len(steps) if steps else 0.0


def rewards_of(scores: Scores) -> list[NDArray[np.float64]]:
    """(questions, n) base rewards of each agent."""
    return [np.array([[item.reward for item in group] for group in groups]) for groups in scores]


def analysis_rewards(fusion: Sequence[NDArray[np.float64]], dialogues: int) -> list[NDArray[np.float64]]:
    """An analysis earns the mean of its agent's fusion rewards in its dialogue: (questions, dialogues) each."""
    return [values.reshape(values.shape[0], dialogues, -1).mean(axis=-1) for values in fusion]


def accuracy(scores: Sequence[Sequence[Score]]) -> float:
    """Fraction of right answers of one agent."""
    return float(np.mean([item.verdict is Verdict.CORRECT for group in scores for item in group]))


@cache
def _step_pattern(step: str) -> re.Pattern[str]:
    spaced = r"\s*".join(re.escape(part) for part in re.findall(r"[\d.]+|\S", step))
    return re.compile(rf"(?<![\d.]){spaced}(?!\d)")
