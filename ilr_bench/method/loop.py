"""Interactive Learning for LLM Reasoning (arXiv 2509.26306): the training loop, in the paper's order.

Each joint step: select the questions and every agent's mode, share, analyse, fuse, score, calibrate, update.
Nothing here knows which variant it runs, how models are stored, or who reads the records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.swapper import DeviceSwapper
from ilr_bench.grading.math import Grader
from ilr_bench.learner.distributed import SINGLE, DistContext
from ilr_bench.learner.samples import Learner, StepMetrics, TrainingSample
from ilr_bench.method.advantages import ESTIMATORS, StageAdvantages, compute_advantages
from ilr_bench.method.calibration import CALIBRATIONS, uncalibrated
from ilr_bench.method.idea3 import StepBatch, Turn, Turns, fuse, remark, sampled_tokens, share
from ilr_bench.method.interaction import RULES, LearningRule, Outcome, Situation, cooperation
from ilr_bench.method.metrics import dialogue_records, step_record
from ilr_bench.method.pooling import pool_successes
from ilr_bench.method.rewards import (
    ANSWERS,
    REWARDS,
    Rollouts,
    Scores,
    accuracy,
    accuracy_by_question,
    remark_rewards,
    rewards_of,
    score_turns,
    verdicts_of,
)
from ilr_bench.method.stages import remark_stages
from ilr_bench.storage.records import DialogueRecord, StepRecord, Verdict
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.types import Question


@dataclass
class TrainerState:
    """Everything a run trains on and with."""

    agents: Sequence[Agent]
    learners: Sequence[Learner]
    questions: Sequence[Question]
    validation: Sequence[Question]
    difficulty: NDArray[np.float64]
    """(questions,) D_q in [0, 1]."""
    ability: NDArray[np.float64]
    """(agents,) gamma, replaced in every step where ability is estimated online."""
    grader: Grader
    stopwatch: Stopwatch
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the interaction rule has learned, where it learns; replaced in every step."""
    dist: DistContext = SINGLE
    """The ranks that train together."""
    swapper: DeviceSwapper | None = None
    """What loads and offloads agents that do not fit on the device together."""


def train(
    config: RunConfig,
    state: TrainerState,
    first_step: int,
    finished: Callable[[int, list[StepRecord], list[DialogueRecord]], None],
    last_step: int | None = None,
) -> None:
    """Runs the steps `first_step` .. `last_step` (counted from 1) and calls `finished(step, records...)` after each.

    `last_step` is `training.steps` unless it is given.
    """
    for step in range(first_step, (config.training.steps if last_step is None else last_step) + 1):
        batch, indices = select(config, state, step)
        rollouts = generate_rollouts(config, state, batch, indices)
        advantages = calibrate(config, rollouts)
        advantages, borrowed = pool(config, rollouts, advantages)
        metrics = update(config, state, rollouts, advantages, borrowed, step)
        ability = state.ability
        estimate_ability(config, state, rollouts)
        learn_rule(config, state, rollouts, ability)
        validated = validate(config, state, step)
        records = [
            step_record(config, rollouts, advantages, metrics[i], i, step, ability, validated, len(borrowed[i]))
            for i in range(len(state.agents))
        ]
        finished(step, records, dialogue_records(rollouts, advantages, state.difficulty, step))


def select(config: RunConfig, state: TrainerState, step: int) -> tuple[StepBatch, NDArray[np.int64]]:
    """The step's questions with every agent's mode on each (Dynamic Interaction), and their indices."""
    indices = step_questions(len(state.questions), config.training.questions_per_step, step, config.seed)
    rng = np.random.default_rng(derive_seed(config.seed, "modes", step))
    situation = Situation(state.ability, state.difficulty[indices], state.difficulty, rng, state.memory)
    modes = cooperation(RULES.of(config), situation)
    questions = [state.questions[index] for index in indices]
    seed = derive_seed(config.seed, "turns", step)
    return StepBatch(state.agents, questions, modes, config.sampling, seed, config.discussion.hears), indices


def generate_rollouts(config: RunConfig, state: TrainerState, batch: StepBatch, indices: NDArray[np.int64]) -> Rollouts:
    """Share, analyse, fuse, and score what ends in an answer; each rank does it for its own questions."""
    own = batch.slice(state.dist.own_range(len(indices)))
    dialogues = config.discussion.dialogues_per_question
    samples = [config.samples_of(agent) for agent in range(len(batch.agents))]
    trained = config.discussion.trained
    ideas = [n if "sharing" in trained else dialogues for n in samples]
    answers = [n // dialogues if "fusion" in trained else 1 for n in samples]
    turns: dict[str, Turns] = {}
    with state.stopwatch.watch("sharing"):
        turns["sharing"] = share(own, ideas)
    if config.discussion.discusses:
        remarks: dict[str, Turns] = {}
        for stage, prompt in remark_stages(config).items():  # the paper's only one is `analysis`
            with state.stopwatch.watch(stage):
                remarks[stage] = remark(own, stage, prompt, turns["sharing"], list(remarks.values()), dialogues)
        with state.stopwatch.watch("fusion"):
            turns |= remarks | {"fusion": fuse(own, turns["sharing"], list(remarks.values()), answers)}
    with state.stopwatch.watch("grading"):
        scores: dict[str, Scores] = {
            stage: score_turns(own, turns[stage], REWARDS.of(config), state.grader)
            for stage in ANSWERS
            if stage in turns
        }
    rollouts = Rollouts(batch, indices, state.dist.all_gather(turns), state.dist.all_gather(scores))
    for stage, by_agent in rollouts.turns.items():
        prompts = [len(turn.prompt.ids) for groups in by_agent for group in groups for turn in group]
        state.stopwatch.count(stage, sampled_tokens(by_agent), max(prompts))
    return rollouts


def calibrate(config: RunConfig, rollouts: Rollouts) -> StageAdvantages:
    """Calibrated rewards (Perception Calibration) and advantages (GRPO) of every trained stage, for each agent."""
    advantages: StageAdvantages = {}
    for stage in config.discussion.trained:
        if stage in ANSWERS:
            rewards, calibration = rewards_of(rollouts.scores[stage]), CALIBRATIONS.of(config)
        else:
            # Equation (5) is about answers; an analysis earns what the answers after it earn.
            fusion = rewards_of(rollouts.scores["fusion"])
            rewards = remark_rewards(fusion, config.discussion.dialogues_per_question)
            calibration = uncalibrated
        advantages[stage] = compute_advantages(rewards, calibration, ESTIMATORS.of(config))
    return advantages


def pool(
    config: RunConfig, rollouts: Rollouts, advantages: StageAdvantages
) -> tuple[StageAdvantages, list[list[TrainingSample]]]:
    """Adds the peers' solutions to each agent's groups, where rollouts are pooled; and by agent, what was added."""
    if config.pooling.kind == "none":
        return advantages, [[] for _ in rollouts.batch.agents]
    pooled = pool_successes(config, rollouts, advantages["sharing"])
    return advantages | {"sharing": pooled.advantage_batches}, pooled.borrowed


def update(
    config: RunConfig,
    state: TrainerState,
    rollouts: Rollouts,
    advantages: StageAdvantages,
    borrowed: list[list[TrainingSample]],
    step: int,
) -> list[StepMetrics]:
    """One update of every agent on its own turns of the trained stages, and on those it borrows."""
    for agent in state.agents:
        agent.engine.release()
    pending = []
    for number, learner in enumerate(state.learners):
        samples = [
            TrainingSample(
                turn.prompt.ids, turn.completion.token_ids, turn.completion.logprobs, float(credit), question.id, stage
            )
            for stage, by_agent in advantages.items()
            for question, group, credits in zip(
                rollouts.batch.questions, rollouts.turns[stage][number], by_agent[number].advantages, strict=True
            )
            for turn, credit in zip(group, credits, strict=True)
        ]
        with state.stopwatch.watch("update"):
            if state.swapper is not None:
                state.swapper.onload(state.agents[number].model)
            pending.append(learner.submit(samples + borrowed[number], step))
    with state.stopwatch.watch("update"):
        metrics = [one.result() for one in pending]
    for one in metrics:
        state.stopwatch.count("update", one.trained_tokens)
    return metrics


def estimate_ability(config: RunConfig, state: TrainerState, rollouts: Rollouts) -> None:
    """Moves gamma towards the fraction of right ideas, where ability is estimated online (ours)."""
    if config.interaction.ability == "online":
        seen = np.array([accuracy(scores) for scores in rollouts.scores["sharing"]])
        state.ability = (1 - config.interaction.online_rate) * state.ability + config.interaction.online_rate * seen


def learn_rule(config: RunConfig, state: TrainerState, rollouts: Rollouts, ability: NDArray[np.float64]) -> None:
    """What the interaction rule learns from a step, where it is one that learns; `ability`: that chose the modes."""
    rule = RULES.of(config)
    if isinstance(rule, LearningRule):
        ideas = accuracy_by_question(rollouts.scores["sharing"])
        fused = accuracy_by_question(rollouts.scores["fusion"]) if "fusion" in rollouts.scores else ideas
        difficulty = state.difficulty[rollouts.question_indices]
        learned = rule.remember(state.memory, Outcome(rollouts.batch.cooperation, difficulty, ability, ideas, fused))
        state.memory = json.loads(json.dumps(learned))  # as a checkpoint brings it back


def validate(config: RunConfig, state: TrainerState, step: int) -> list[float | None]:
    """Standalone accuracy of each agent on held-out questions, every few steps and after the last; else None."""
    due = config.training.validate_every and (
        step % config.training.validate_every == 0 or step == config.training.steps
    )
    if not due:
        return [None] * len(state.agents)
    questions = state.dist.own_part(state.validation)
    with state.stopwatch.watch("validation"):
        right = [standalone_answers(agent, questions, config, state.grader) for agent in state.agents]
        by_agent = zip(*state.dist.gather(right), strict=True)
        return [float(np.mean([item for part in parts for item in part])) for parts in by_agent]


def standalone_accuracy(agent: Agent, questions: Sequence[Question], config: RunConfig, grader: Grader) -> float:
    """Fraction of questions that an agent answers rightly, alone and greedily; gamma when taken before training."""
    return float(np.mean(standalone_answers(agent, questions, config, grader)))


def standalone_answers(agent: Agent, questions: Sequence[Question], config: RunConfig, grader: Grader) -> list[bool]:
    """Which questions an agent answers rightly, alone and greedily."""
    options = SamplingOptions(
        config.sampling.max_new_tokens, 0.0, config.sampling.rows_per_call, agent.style.stop_strings()
    )
    prompts = [agent.render(agent.style.solve(question.text)) for question in questions]
    request = SamplingRequest([prompt.ids for prompt in prompts], [1] * len(prompts), options, seed=0)
    turns = [
        Turn(prompt, completion, agent.decode(completion.token_ids))
        for prompt, (completion,) in zip(prompts, agent.engine.sample(request), strict=True)
    ]
    verdicts = verdicts_of(questions, turns, agent.style, grader, agent.thoughts)
    return [verdict is Verdict.CORRECT for verdict in verdicts]


def step_questions(count: int, per_step: int, step: int, seed: int) -> NDArray[np.int64]:
    """(per_step,) indices of a step's questions: epochs shuffled by the seed, in order, the same for every variant."""
    wanted = np.arange((step - 1) * per_step, step * per_step)
    epochs = {
        int(e): np.random.default_rng(derive_seed(seed, "epoch", int(e))).permutation(count)
        for e in set(wanted // count)
    }
    return np.array([epochs[int(index // count)][index % count] for index in wanted], dtype=np.int64)
