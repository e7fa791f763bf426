"""What one training step leaves in the records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig
from ilr_bench.learner.samples import StepMetrics
from ilr_bench.method.advantages import StageAdvantages
from ilr_bench.method.idea3 import Turn, sampled_tokens
from ilr_bench.method.rewards import ANSWERS, Rollouts, accuracy
from ilr_bench.storage.records import DialogueRecord, StepRecord, TurnRecord


def step_record(
    config: RunConfig,
    rollouts: Rollouts,
    advantages: StageAdvantages,
    metrics: StepMetrics,
    agent: int,
    step: int,
    ability: NDArray[np.float64],
    validated: Sequence[float | None],
    borrowed: int,
) -> StepRecord:
    """One agent's line in `train.jsonl`.

    ability: (agents,) that chose the step's modes; validated: by agent; borrowed: turns of peers in its update.
    """
    trained = [by_agent[agent] for by_agent in advantages.values()]
    answers = [by_agent[agent] for stage, by_agent in advantages.items() if stage in ANSWERS]
    turns = [turn for by_agent in rollouts.turns.values() for group in by_agent[agent] for turn in group]
    ideas = rollouts.turns["sharing"][agent]
    calibrated = config.calibration.kind != "none" and len(rollouts.batch.agents) > 1
    has_fusion = "fusion" in rollouts.turns
    has_modes = has_fusion and rollouts.batch.peer_context == "peers"
    return StepRecord(
        step=step,
        agent=rollouts.batch.agents[agent].name,
        loss=metrics.loss,
        gradient_norm=metrics.gradient_norm,
        learning_rate=metrics.learning_rate,
        kl=metrics.kl,
        sharing_accuracy=accuracy(rollouts.scores["sharing"][agent]),
        fusion_accuracy=accuracy(rollouts.scores["fusion"][agent]) if has_fusion else None,
        mean_reward=_mean([batch.rewards for batch in trained]),
        mean_calibrated_reward=_mean([batch.calibrated for batch in trained]),
        cooperation_share=float(rollouts.batch.cooperation[agent].mean()) if has_modes else None,
        clipped_share=_mean([batch.clipped for batch in answers]) if calibrated else None,
        flat_peer_share=_mean([batch.flat_peers for batch in answers]) if calibrated else None,
        changed_group_share=_mean([batch.changed for batch in answers]) if calibrated else None,
        mean_advantage_change=_mean([np.abs(batch.advantage_change) for batch in answers]) if calibrated else None,
        groups=sum(len(batch.rewards) for batch in trained),
        flat_groups=sum(int((batch.advantages == 0).all(axis=-1).sum()) for batch in trained),
        trained_tokens=metrics.trained_tokens,
        sampled_tokens=sum(len(turn.completion.token_ids) for turn in turns),
        sharing_tokens=sampled_tokens([ideas]),
        sharing_samples=len(ideas[0]),
        cut_prompts=sum(turn.prompt.cut_tokens > 0 for turn in turns),
        unfinished_turns=sum(not turn.completion.finished for turn in turns),
        ability=float(ability[agent]),
        validation_accuracy=validated[agent],
        value_loss=metrics.value_loss,
        borrowed_turns=borrowed,
    )


def dialogue_records(
    rollouts: Rollouts, advantages: StageAdvantages, difficulty: NDArray[np.float64], step: int
) -> list[DialogueRecord]:
    """Every dialogue of a step; without remarks on ideas, all answers to a question are one dialogue.

    difficulty: (training questions,).
    """
    batch = rollouts.batch
    dialogues = next((len(turns[0][0]) for stage, turns in rollouts.turns.items() if stage not in ANSWERS), 1)
    return [
        DialogueRecord(
            step=step,
            question_id=question.id,
            question=question.text,
            gold=question.answer,
            difficulty=float(difficulty[rollouts.question_indices[index]]),
            dialogue=dialogue,
            turns=tuple(
                _turn_record(rollouts, advantages, stage, agent, index, number)
                for stage in rollouts.turns
                for agent in range(len(batch.agents))
                for number in _numbers(rollouts.turns[stage][agent][index], dialogue, dialogues)
            ),
        )
        for index, question in enumerate(batch.questions)
        for dialogue in range(dialogues)
    ]


def _numbers(group: Sequence[Turn], dialogue: int, dialogues: int) -> range:
    each = len(group) // dialogues
    return range(dialogue * each, (dialogue + 1) * each)


def _turn_record(
    rollouts: Rollouts, advantages: StageAdvantages, stage: str, agent: int, index: int, number: int
) -> TurnRecord:
    graded = rollouts.scores[stage][agent][index][number] if stage in rollouts.scores else None
    batch = advantages[stage][agent] if stage in advantages else None
    return TurnRecord(
        agent=rollouts.batch.agents[agent].name,
        stage=stage,
        mode=rollouts.batch.mode(agent, index).value,
        text=rollouts.turns[stage][agent][index][number].text,
        verdict=graded.verdict.value if graded else None,
        reward=graded.reward if graded else None,
        calibrated_reward=float(batch.calibrated[index, number]) if batch else None,
        advantage=float(batch.advantages[index, number]) if batch else None,
    )


def _mean(arrays: Sequence[NDArray[np.generic]]) -> float:
    values = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])
    return float(values.mean()) if values.size else 0.0
