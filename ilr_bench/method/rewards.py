"""What sampled answers earn: verdicts and base rewards, before calibration.

The paper speaks of a reward model without naming it; here an answer is verified, and its form is worth a
little (our choice). The graded reward pays wrong answers for right intermediate steps, so that rewards have
more than two levels and calibration's clip can act.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Mechanisms
from ilr_bench.grading.math import Grader, reject_question_echo
from ilr_bench.prompts import PromptStyle
from ilr_bench.prompts.thoughts import ANY, Thoughts, without_thought
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question

if TYPE_CHECKING:  # brings torch, and a plan is made without
    from ilr_bench.method.idea3 import StepBatch, Turn, Turns

ANSWERS = ("sharing", "fusion")
"""Stages whose turns end in an answer."""


@dataclass(frozen=True)
class Answer:
    """A turn that ends in an answer, as a reward sees it."""

    question: Question
    """With its gold answer and steps."""
    text: str
    """Of the whole turn."""
    tokens: int
    finished: bool
    """False where the limit of tokens cut the turn."""
    verdict: Verdict


Reward = Callable[[Sequence[Answer]], Sequence[float]]
"""Answers of one agent in one stage -> a base reward of each."""
REWARDS: Mechanisms[Reward] = Mechanisms(
    "reward", "reward.kind", ("ilr_bench.method.rewards", "ilr_bench.method.judge"), "ilr_bench.rewards"
)
"""By `reward.kind`."""


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
    turns: dict[str, Turns]
    scores: dict[str, Scores]


def score_turns(batch: StepBatch, turns: Turns, reward: Reward, grader: Grader) -> Scores:
    """Verdict and base reward of every turn of a stage."""
    scores: Scores = []
    for agent, groups in zip(batch.agents, turns, strict=True):
        questions = [question for question, group in zip(batch.questions, groups, strict=True) for _ in group]
        flat = iter(
            score(questions, [turn for group in groups for turn in group], agent.style, reward, grader, agent.thoughts)
        )
        scores.append([[next(flat) for _ in group] for group in groups])
    return scores


def score(
    questions: Sequence[Question],
    turns: Sequence[Turn],
    style: PromptStyle,
    reward: Reward,
    grader: Grader,
    thoughts: Thoughts = ANY,
) -> list[Score]:
    """Verdict and base reward of each turn as an answer to the question at its index.

    Raises ConfigurationError where a reward is no finite number, or there are not as many as answers.
    """
    verdicts = verdicts_of(questions, turns, style, grader, thoughts)
    answers = [
        Answer(question, turn.text, len(turn.completion.token_ids), turn.completion.finished, verdict)
        for question, turn, verdict in zip(questions, turns, verdicts, strict=True)
    ]
    rewards = np.asarray(reward(answers), dtype=np.float64)
    if rewards.shape != (len(answers),) or not np.isfinite(rewards).all():
        raise ConfigurationError(
            f"reward.kind: rewards of shape {rewards.shape} came back for {len(answers)} answers, or numbers that are "
            "not finite; a reward returns a number for each answer"
        )
    return [Score(verdict, float(value)) for verdict, value in zip(verdicts, rewards, strict=True)]


def verdicts_of(
    questions: Sequence[Question],
    turns: Sequence[Turn],
    style: PromptStyle,
    grader: Grader,
    thoughts: Thoughts = ANY,
) -> list[Verdict]:
    """Whether each turn ends in the right answer to the question at its index."""
    finals = [
        reject_question_echo(style.extract_answer(without_thought(turn.text, thoughts)), question.text)
        for question, turn in zip(questions, turns, strict=True)
    ]
    return grader.grade([(final, question.answer) for final, question in zip(finals, questions, strict=True)])


def reward(answer: Answer, format_weight: float, step_weight: float = 0.0) -> float:
    """1 for a right answer, partial credit for right steps of another one, and a term for the form."""
    value = 1.0 if answer.verdict is Verdict.CORRECT else 0.0
    if step_weight and answer.verdict is not Verdict.CORRECT:
        value = step_weight * right_steps(answer.text, answer.question.steps)
    well_formed = answer.finished and answer.verdict is not Verdict.MISSING
    return value + format_weight * well_formed


@dataclass(frozen=True)
class Verified:
    """Right or wrong, and a term for the form."""

    format_weight: float = 0.1

    def __call__(self, answers: Sequence[Answer]) -> list[float]:
        """A reward for each answer."""
        return [reward(answer, self.format_weight) for answer in answers]


@dataclass(frozen=True)
class Graded:
    """Partial credit for right intermediate steps as well."""

    format_weight: float = 0.1
    step_weight: float = 0.5
    """Largest partial credit."""

    def __call__(self, answers: Sequence[Answer]) -> list[float]:
        """A reward for each answer."""
        return [reward(answer, self.format_weight, self.step_weight) for answer in answers]


REWARDS.register("verified", Verified)
REWARDS.register("graded", Graded)


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


def remark_rewards(fusion: Sequence[NDArray[np.float64]], dialogues: int) -> list[NDArray[np.float64]]:
    """A remark, such as an analysis, earns the mean of its agent's fusion rewards in its dialogue.

    (questions, dialogues) each.
    """
    return [values.reshape(values.shape[0], dialogues, -1).mean(axis=-1) for values in fusion]


def accuracy(scores: Sequence[Sequence[Score]]) -> float:
    """Fraction of right answers of one agent."""
    return float(np.mean([item.verdict is Verdict.CORRECT for group in scores for item in group]))


def accuracy_by_question(scores: Scores) -> NDArray[np.float64]:
    """(agents, questions) fraction of right answers."""
    return np.array(
        [[np.mean([item.verdict is Verdict.CORRECT for item in group]) for group in groups] for groups in scores]
    )


@cache
def _step_pattern(step: str) -> re.Pattern[str]:
    spaced = r"\s*".join(re.escape(part) for part in re.findall(r"[\d.]+|\S", step))
    return re.compile(rf"(?<![\d.]){spaced}(?!\d)")
