"""Interactive Learning for LLM Reasoning (arXiv 2509.26306): the training loop, in the paper's order.

Each joint step: select the questions and every agent's mode, share, analyse, fuse, score, calibrate, update.
Left out on purpose: nothing here knows which variant it runs, how models are stored, or who watches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig, Stage
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.dispatch import DeviceSwapper
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.grading.math import Grader
from ilr_bench.learner.distributed import SINGLE, DistContext
from ilr_bench.learner.grpo import GRPOLearner, StepMetrics, TrainingSample
from ilr_bench.method.idea3 import StepBatch, Turns, analyse, fuse, share
from ilr_bench.method.interaction import cooperates, cooperation
from ilr_bench.method.metrics import dialogue_records, step_record
from ilr_bench.method.outcomes import (
    AdvantageBatch,
    Rollouts,
    Scores,
    accuracy,
    analysis_rewards,
    compute_advantages,
    rewards_of,
    score_turns,
)
from ilr_bench.method.pooling import pool_successes
from ilr_bench.method.rewards import Answer, score
from ilr_bench.storage.records import DialogueRecord, StepRecord, Verdict
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.types import Question

TRAINED_STAGES: dict[str, tuple[Stage, ...]] = {
    "fusion": ("fusion",),
    "sharing": ("sharing",),
    "both": ("sharing", "fusion"),
    "all": ("sharing", "analysis", "fusion"),
}


@dataclass
class TrainerState:
    """Everything a run trains on and with."""

    agents: Sequence[Agent]
    learners: Sequence[GRPOLearner]
    questions: Sequence[Question]
    validation: Sequence[Question]
    difficulty: NDArray[np.float64]
    """(questions,) D_q in [0, 1]."""
    ability: NDArray[np.float64]
    """(agents,) gamma, replaced in every step where ability is estimated online."""
    grader: Grader
    stopwatch: Stopwatch
    dist: DistContext = SINGLE
    """The processes that share this run's work."""
    swapper: DeviceSwapper | None = None
    """Where agents take turns on the device that computes."""


def train(
    config: RunConfig,
    state: TrainerState,
    first_step: int,
    finished: Callable[[int, list[StepRecord], list[DialogueRecord]], None],
    last_step: int | None = None,
) -> None:
    """Runs the steps `first_step` .. `last_step` (counted from 1); `finished` is told after each of them.

    `last_step` is `training.steps` unless it is given.
    """
    for step in range(first_step, (config.training.steps if last_step is None else last_step) + 1):
        batch, indices = select(config, state, step)
        rollouts = generate_rollouts(config, state, batch, indices)
        advantage_batches = calibrate(config, rollouts)
        advantage_batches, borrowed = pool(config, rollouts, advantage_batches)
        metrics = update(config, state, rollouts, advantage_batches, borrowed, step)
        ability = state.ability
        estimate_ability(config, state, rollouts)
        validated = validate(config, state, step)
        records = [
            step_record(
                config,
                rollouts,
                advantage_batches,
                metrics[agent],
                agent,
                step,
                ability,
                validated,
                len(borrowed[agent]),
            )
            for agent in range(len(state.agents))
        ]
        finished(step, records, dialogue_records(rollouts, advantage_batches, state.difficulty, step))


def select(config: RunConfig, state: TrainerState, step: int) -> tuple[StepBatch, NDArray[np.int64]]:
    """The step's questions, and who cooperates on which (Dynamic Interaction)."""
    indices = step_questions(len(state.questions), config.training.questions_per_step, step, config.seed)
    cooperation_rates = cooperates(state.ability[:, None], state.difficulty[None, :]).mean(axis=1)
    rng = np.random.default_rng(derive_seed(config.seed, "modes", step))
    modes = cooperation(config.interaction, state.ability, state.difficulty[indices], cooperation_rates, rng)
    questions = [state.questions[index] for index in indices]
    seed = derive_seed(config.seed, "turns", step)
    return StepBatch(state.agents, questions, modes, config.sampling, seed, config.discussion.hears), indices


def generate_rollouts(config: RunConfig, state: TrainerState, batch: StepBatch, indices: NDArray[np.int64]) -> Rollouts:
    """Share, analyse, fuse, and score what ends in an answer; of several processes, each on its own questions."""
    own = batch.slice(state.dist.own_range(len(indices)))
    dialogues, stages = config.discussion.dialogues_per_question, config.discussion.stages
    samples = [config.samples_of(agent) for agent in range(len(batch.agents))]
    trained = TRAINED_STAGES[config.discussion.trained_turns]
    ideas = [n if "sharing" in trained else dialogues for n in samples]
    answers = [n // dialogues if "fusion" in trained else 1 for n in samples]
    turns: dict[Stage, Turns] = {}
    with state.stopwatch.watch("sharing"):
        turns["sharing"] = share(own, ideas)
    if "fusion" in stages:
        with state.stopwatch.watch("analysis"):
            turns["analysis"] = analyse(own, turns["sharing"], dialogues)
        with state.stopwatch.watch("fusion"):
            turns["fusion"] = fuse(own, turns["sharing"], turns["analysis"], answers)
    with state.stopwatch.watch("grading"):
        scores: dict[Stage, Scores] = {
            stage: score_turns(own, turns_of_stage, config.reward, state.grader)
            for stage, turns_of_stage in turns.items()
            if stage != "analysis"
        }
    rollouts = Rollouts(batch, indices, state.dist.all_gather(turns), state.dist.all_gather(scores))
    for stage, turns_of_stage in rollouts.turns.items():
        prompts = [len(turn.prompt.ids) for groups in turns_of_stage for group in groups for turn in group]
        state.stopwatch.count(stage, sampled_tokens(turns_of_stage), max(prompts, default=0))
    return rollouts


def calibrate(config: RunConfig, rollouts: Rollouts) -> dict[Stage, list[AdvantageBatch]]:
    """Calibrated rewards and advantages of every trained stage, for each agent (Perception Calibration, GRPO)."""
    advantage_batches: dict[Stage, list[AdvantageBatch]] = {}
    for stage in TRAINED_STAGES[config.discussion.trained_turns]:
        if stage == "analysis":
            # Equation (5) speaks of answers; an analysis is paid by the answers that followed it.
            fusion = rewards_of(rollouts.scores["fusion"])
            rewards = analysis_rewards(fusion, config.discussion.dialogues_per_question)
            advantage_batches[stage] = compute_advantages(
                rewards, replace(config.calibration, kind="none"), config.advantages
            )
        else:
            advantage_batches[stage] = compute_advantages(
                rewards_of(rollouts.scores[stage]), config.calibration, config.advantages
            )
    return advantage_batches


def pool(
    config: RunConfig, rollouts: Rollouts, advantage_batches: dict[Stage, list[AdvantageBatch]]
) -> tuple[dict[Stage, list[AdvantageBatch]], list[list[TrainingSample]]]:
    """Lets each agent learn from what its peers solved, where rollouts are pooled; by agent, what it borrows."""
    if config.pooling.kind == "none":
        return advantage_batches, [[] for _ in rollouts.batch.agents]
    pooled = pool_successes(config, rollouts, advantage_batches["sharing"])
    return advantage_batches | {"sharing": pooled.advantage_batches}, pooled.borrowed


def update(
    config: RunConfig,
    state: TrainerState,
    rollouts: Rollouts,
    advantage_batches: dict[Stage, list[AdvantageBatch]],
    borrowed: list[list[TrainingSample]],
    step: int,
) -> list[StepMetrics]:
    """One update of every agent on its own turns, and on those it borrows."""
    for agent in state.agents:
        agent.engine.release()
    metrics = []
    for number, learner in enumerate(state.learners):
        samples = [
            TrainingSample(
                turn.prompt.ids,
                turn.completion.token_ids,
                turn.completion.logprobs,
                float(advantage),
                question.id,
                stage,
            )
            for stage, by_agent in advantage_batches.items()
            for question, group, advantages in zip(
                rollouts.batch.questions, rollouts.turns[stage][number], by_agent[number].advantages, strict=True
            )
            for turn, advantage in zip(group, advantages, strict=True)
        ]
        with state.stopwatch.watch("update"):
            if state.swapper is not None:
                state.swapper.onload(state.agents[number].model)
            metrics.append(learner.update(samples + borrowed[number], step))
        state.stopwatch.count("update", metrics[-1].trained_tokens)
    return metrics


def estimate_ability(config: RunConfig, state: TrainerState, rollouts: Rollouts) -> None:
    """Moves gamma towards the share of right ideas, where ability is estimated online (ours)."""
    if config.interaction.ability == "online":
        seen = np.array([accuracy(scores) for scores in rollouts.scores["sharing"]])
        state.ability = (1 - config.interaction.online_rate) * state.ability + config.interaction.online_rate * seen


def validate(config: RunConfig, state: TrainerState, step: int) -> list[float | None]:
    """Solo accuracy on held-out questions, every few steps and after the last; the processes share them."""
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
    """Share of questions that an agent answers rightly, alone and greedily; gamma when taken before training."""
    return float(np.mean(standalone_answers(agent, questions, config, grader)))


def standalone_answers(agent: Agent, questions: Sequence[Question], config: RunConfig, grader: Grader) -> list[bool]:
    """Which questions an agent answers rightly, alone and greedily."""
    options = SamplingOptions(
        config.sampling.max_new_tokens, 0.0, config.sampling.rows_per_call, agent.style.stop_strings()
    )
    prompts = [agent.render(agent.style.solve(question.text)).ids for question in questions]
    turns = [turn[0] for turn in agent.engine.sample(SamplingRequest(prompts, [1] * len(prompts), options, seed=0))]
    answers = [
        Answer(question, agent.decode(turn.token_ids), turn.finished)
        for question, turn in zip(questions, turns, strict=True)
    ]
    scores = score(answers, agent.style, config.reward, grader)
    return [item.verdict is Verdict.CORRECT for item in scores]


def step_questions(count: int, per_step: int, step: int, seed: int) -> NDArray[np.int64]:
    """Places of a step's questions: epochs shuffled by the seed, read in order, the same for every variant."""
    wanted = np.arange((step - 1) * per_step, step * per_step)
    epochs = {
        int(e): np.random.default_rng(derive_seed(seed, "epoch", int(e))).permutation(count)
        for e in set(wanted // count)
    }
    return np.array([epochs[int(index // count)][index % count] for index in wanted], dtype=np.int64)


def sampled_tokens(turns: Turns) -> int:
    """Completion tokens of a stage, over all agents."""
    return sum(len(turn.completion.token_ids) for groups in turns for group in groups for turn in group)
