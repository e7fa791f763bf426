"""The base reward of one answer, before calibration.

The paper speaks of a reward model without naming it; here an answer is verified, and its form is worth a
little (our choice). The graded reward pays wrong answers for right intermediate steps, so that rewards have
more than two levels and calibration's clip can act.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ilr_bench.core.config import RewardSettings
from ilr_bench.grading.math import Grader, reject_question_echo
from ilr_bench.prompts import PromptStyle
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


@dataclass(frozen=True)
class Answer:
    """One completion as the reward sees it."""

    question: Question
    text: str
    finished: bool
    """False where the token limit cut it."""


@dataclass(frozen=True)
class Score:
    """A completion's verdict and what it earns."""

    verdict: Verdict
    reward: float


def score(answers: Sequence[Answer], style: PromptStyle, settings: RewardSettings, grader: Grader) -> list[Score]:
    """Verdict and reward of each answer."""
    finals = [reject_question_echo(style.extract_answer(answer.text), answer.question.text) for answer in answers]
    verdicts = grader.grade([(final, answer.question.answer) for final, answer in zip(finals, answers, strict=True)])
    return [
        Score(verdict, reward(verdict, answer, settings)) for verdict, answer in zip(verdicts, answers, strict=True)
    ]


def reward(verdict: Verdict, answer: Answer, settings: RewardSettings) -> float:
    """1 for a right answer, partial credit for right steps of another one (graded), and a term for the form."""
    value = 1.0 if verdict is Verdict.CORRECT else 0.0
    if settings.kind == "graded" and verdict is not Verdict.CORRECT:
        value = settings.step_weight * right_steps(answer.text, answer.question.steps)
    well_formed = answer.finished and verdict is not Verdict.MISSING
    return value + settings.format_weight * well_formed


def right_steps(text: str, steps: Sequence[str]) -> float:
    """Share of the gold steps that stand in a text in their order, however spaced; 0 without gold steps."""
    index, found = 0, 0
    for step in steps:
        match = _step_pattern(step).search(text, index)
        if match is not None:
            found, index = found + 1, match.end()
    return found / len(steps) if steps else 0.0


@cache
def _step_pattern(step: str) -> re.Pattern[str]:
    spaced = r"\s*".join(re.escape(part) for part in re.findall(r"[\d.]+|\S", step))
    return re.compile(rf"(?<![\d.]){spaced}(?!\d)")
