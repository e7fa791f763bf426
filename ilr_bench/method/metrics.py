"""What one training step leaves in the records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig, Stage
from ilr_bench.learner.grpo import StepMetrics
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.outcomes import AdvantageBatch, Rollouts, accuracy
from ilr_bench.storage.records import DialogueRecord, StepRecord, TurnRecord

AdvantageBatches = dict[Stage, list[AdvantageBatch]]


def step_record(
    config: RunConfig,
    rollouts: Rollouts,
    advantage_batches: AdvantageBatches,
    metrics: StepMetrics,
    agent: int,
    step: int,
    ability: NDArray[np.float64],
    validated: Sequence[float | None],
    borrowed: int,
) -> StepRecord:
    """One agent's line in `train.jsonl`."""
    own = [by_agent[agent] for by_agent in advantage_batches.values()]
    coupled = [by_agent[agent] for stage, by_agent in advantage_batches.items() if stage != "analysis"]
    turns = [turn for by_agent in rollouts.turns.values() for group in by_agent[agent] for turn in group]
    calibrated = config.calibration.kind != "none" and len(rollouts.batch.agents) > 1
    discusses = "fusion" in rollouts.turns
    has_modes = discusses and rollouts.batch.peer_context == "peers"
    return StepRecord(
        step=step,
        agent=rollouts.batch.agents[agent].name,
        loss=metrics.loss,
        gradient_norm=metrics.gradient_norm,
        learning_rate=metrics.learning_rate,
        kl=metrics.kl,
        sharing_accuracy=accuracy(rollouts.scores["sharing"][agent]),
        fusion_accuracy=accuracy(rollouts.scores["fusion"][agent]) if discusses else None,
        mean_reward=_mean([advantage_batch.rewards for advantage_batch in own]),
        mean_calibrated_reward=_mean([advantage_batch.calibrated for advantage_batch in own]),
        cooperation_share=float(rollouts.batch.cooperation[agent].mean()) if has_modes else None,
        clipped_share=_mean([advantage_batch.clipped for advantage_batch in coupled]) if calibrated else None,
        flat_peer_share=_mean([advantage_batch.flat_peers for advantage_batch in coupled]) if calibrated else None,
        changed_group_share=_mean([advantage_batch.changed for advantage_batch in coupled]) if calibrated else None,
        mean_advantage_change=_mean([np.abs(advantage_batch.advantage_change) for advantage_batch in coupled])
        if calibrated
        else None,
        groups=sum(len(advantage_batch.rewards) for advantage_batch in own),
        flat_groups=sum(int((advantage_batch.advantages == 0).all(axis=-1).sum()) for advantage_batch in own),
        trained_tokens=metrics.trained_tokens,
        sampled_tokens=sum(len(turn.completion.token_ids) for turn in turns),
        sharing_tokens=sum(
            len(turn.completion.token_ids) for group in rollouts.turns["sharing"][agent] for turn in group
        ),
        sharing_samples=len(rollouts.turns["sharing"][agent][0]),
        cut_prompts=sum(turn.prompt.cut_tokens > 0 for turn in turns),
        unfinished_turns=sum(not turn.completion.finished for turn in turns),
        ability=float(ability[agent]),
        validation_accuracy=validated[agent],
        value_loss=metrics.value_loss,
        borrowed_turns=borrowed,
    )


def dialogue_records(
    rollouts: Rollouts, advantage_batches: AdvantageBatches, difficulty: NDArray[np.float64], step: int
) -> list[DialogueRecord]:
    """Every dialogue of a step; without a discussion, each agent's answers to a question stand together."""
    batch = rollouts.batch
    dialogues = len(rollouts.turns["analysis"][0][0]) if "analysis" in rollouts.turns else 1
    return [
        DialogueRecord(
            step=step,
            question_id=question.id,
            question=question.text,
            gold=question.answer,
            difficulty=float(difficulty[rollouts.question_indices[index]]),
            dialogue=dialogue,
            turns=tuple(
                _turn_record(rollouts, advantage_batches, stage, agent, index, number)
                for stage in rollouts.turns
                for agent in range(len(batch.agents))
                for number in _numbers(rollouts.turns[stage][agent][index], dialogue, dialogues)
            ),
        )
        for index, question in enumerate(batch.questions)
        for dialogue in range(dialogues)
    ]


def _numbers(group: Sequence[Turn], dialogue: int, dialogues: int) -> range:
    each = max(1, len(group) // dialogues)
    return range(dialogue * each, (dialogue + 1) * each)


def _turn_record(
    rollouts: Rollouts, advantage_batches: AdvantageBatches, stage: Stage, agent: int, index: int, number: int
) -> TurnRecord:
    graded = rollouts.scores[stage][agent][index][number] if stage in rollouts.scores else None
    advantage_batch = advantage_batches[stage][agent] if stage in advantage_batches else None
    return TurnRecord(
        agent=rollouts.batch.agents[agent].name,
        stage=stage,
        mode=rollouts.batch.mode(agent, index).value,
        text=rollouts.turns[stage][agent][index][number].text,
        verdict=graded.verdict.value if graded else None,
        reward=graded.reward if graded else None,
        calibrated_reward=float(advantage_batch.calibrated[index, number]) if advantage_batch else None,
        advantage=float(advantage_batch.advantages[index, number]) if advantage_batch else None,
    )


def _mean(arrays: Sequence[NDArray[np.generic]]) -> float:
    values = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])
    return float(values.mean()) if values.size else 0.0
