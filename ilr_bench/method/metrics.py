"""What one training step leaves in the records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig, Stage
from ilr_bench.learner.grpo import UpdateReport
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.outcomes import Discussion, Lesson, accuracy
from ilr_bench.storage.records import DialogueRecord, StepRecord, TurnRecord

Lessons = dict[Stage, list[Lesson]]


def step_record(
    config: RunConfig,
    talk: Discussion,
    lessons: Lessons,
    report: UpdateReport,
    agent: int,
    step: int,
    ability: NDArray[np.float64],
    validated: Sequence[float | None],
    borrowed: int,
) -> StepRecord:
    """One agent's line in `train.jsonl`."""
    own = [by_agent[agent] for by_agent in lessons.values()]
    coupled = [by_agent[agent] for stage, by_agent in lessons.items() if stage != "analysis"]
    turns = [turn for by_agent in talk.turns.values() for group in by_agent[agent] for turn in group]
    calibrated = config.calibration.kind != "none" and len(talk.table.agents) > 1
    discusses = "fusion" in talk.turns
    has_modes = discusses and talk.table.hears == "peers"
    return StepRecord(
        step=step,
        agent=talk.table.agents[agent].name,
        loss=report.loss,
        gradient_norm=report.gradient_norm,
        learning_rate=report.learning_rate,
        kl=report.kl,
        sharing_accuracy=accuracy(talk.scores["sharing"][agent]),
        fusion_accuracy=accuracy(talk.scores["fusion"][agent]) if discusses else None,
        mean_reward=_mean([lesson.rewards for lesson in own]),
        mean_calibrated_reward=_mean([lesson.calibrated for lesson in own]),
        cooperation_share=float(talk.table.cooperation[agent].mean()) if has_modes else None,
        clipped_share=_mean([lesson.clipped for lesson in coupled]) if calibrated else None,
        flat_peer_share=_mean([lesson.flat_peers for lesson in coupled]) if calibrated else None,
        changed_group_share=_mean([lesson.changed for lesson in coupled]) if calibrated else None,
        mean_advantage_change=_mean([np.abs(lesson.advantage_change) for lesson in coupled]) if calibrated else None,
        groups=sum(len(lesson.rewards) for lesson in own),
        flat_groups=sum(int((lesson.advantages == 0).all(axis=-1).sum()) for lesson in own),
        trained_tokens=report.trained_tokens,
        sampled_tokens=sum(len(turn.completion.token_ids) for turn in turns),
        sharing_tokens=sum(len(turn.completion.token_ids) for group in talk.turns["sharing"][agent] for turn in group),
        sharing_samples=len(talk.turns["sharing"][agent][0]),
        cut_prompts=sum(turn.prompt.cut_tokens > 0 for turn in turns),
        unfinished_turns=sum(not turn.completion.finished for turn in turns),
        ability=float(ability[agent]),
        validation_accuracy=validated[agent],
        value_loss=report.value_loss,
        borrowed_turns=borrowed,
    )


def dialogue_records(
    talk: Discussion, lessons: Lessons, difficulty: NDArray[np.float64], step: int
) -> list[DialogueRecord]:
    """Every dialogue of a step; without a discussion, each agent's answers to a question stand together."""
    table = talk.table
    dialogues = len(talk.turns["analysis"][0][0]) if "analysis" in talk.turns else 1
    return [
        DialogueRecord(
            step=step,
            question_id=question.id,
            question=question.text,
            gold=question.answer,
            difficulty=float(difficulty[talk.places[place]]),
            dialogue=dialogue,
            turns=tuple(
                _turn_record(talk, lessons, stage, agent, place, number)
                for stage in talk.turns
                for agent in range(len(table.agents))
                for number in _numbers(talk.turns[stage][agent][place], dialogue, dialogues)
            ),
        )
        for place, question in enumerate(table.questions)
        for dialogue in range(dialogues)
    ]


def _numbers(group: Sequence[Turn], dialogue: int, dialogues: int) -> range:
    each = max(1, len(group) // dialogues)
    return range(dialogue * each, (dialogue + 1) * each)


def _turn_record(talk: Discussion, lessons: Lessons, stage: Stage, agent: int, place: int, number: int) -> TurnRecord:
    graded = talk.scores[stage][agent][place][number] if stage in talk.scores else None
    lesson = lessons[stage][agent] if stage in lessons else None
    return TurnRecord(
        agent=talk.table.agents[agent].name,
        stage=stage,
        mode=talk.table.mode(agent, place).value,
        text=talk.turns[stage][agent][place][number].text,
        verdict=graded.verdict.value if graded else None,
        reward=graded.reward if graded else None,
        calibrated_reward=float(lesson.calibrated[place, number]) if lesson else None,
        advantage=float(lesson.advantages[place, number]) if lesson else None,
    )


def _mean(arrays: Sequence[NDArray[np.generic]]) -> float:
    values = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])
    return float(values.mean()) if values.size else 0.0
