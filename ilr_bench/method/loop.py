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
from ilr_bench.generation.dispatch import Residence
from ilr_bench.generation.engine import Request, SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.learner.distributed import ALONE, Ranks
from ilr_bench.learner.grpo import PolicyUpdater, TrainedTurn, UpdateReport
from ilr_bench.method.idea3 import Table, Turns, analyse, fuse, share
from ilr_bench.method.interaction import cooperates, cooperation
from ilr_bench.method.metrics import dialogue_records, step_record
from ilr_bench.method.outcomes import (
    Discussion,
    Lesson,
    Scores,
    accuracy,
    analysis_rewards,
    learn,
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
class Classroom:
    """Everything a run trains on and with."""

    agents: Sequence[Agent]
    updaters: Sequence[PolicyUpdater]
    questions: Sequence[Question]
    validation: Sequence[Question]
    difficulty: NDArray[np.float64]
    """(questions,) D_q in [0, 1]."""
    ability: NDArray[np.float64]
    """(agents,) gamma, replaced in every step where ability is estimated online."""
    grader: Grader
    stopwatch: Stopwatch
    ranks: Ranks = ALONE
    """The processes that share this run's work."""
    residence: Residence | None = None
    """Where agents take turns on the device that computes."""


def train(
    config: RunConfig,
    room: Classroom,
    first_step: int,
    finished: Callable[[int, list[StepRecord], list[DialogueRecord]], None],
    last_step: int | None = None,
) -> None:
    """Runs the steps `first_step` .. `last_step` (counted from 1); `finished` is told after each of them.

    `last_step` is `training.steps` unless it is given.
    """
    for step in range(first_step, (config.training.steps if last_step is None else last_step) + 1):
        table, places = select(config, room, step)
        talk = discuss(config, room, table, places)
        lessons = calibrate(config, talk)
        lessons, borrowed = pool(config, talk, lessons)
        reports = update(config, room, talk, lessons, borrowed, step)
        ability = room.ability
        estimate_ability(config, room, talk)
        validated = validate(config, room, step)
        records = [
            step_record(config, talk, lessons, reports[agent], agent, step, ability, validated, len(borrowed[agent]))
            for agent in range(len(room.agents))
        ]
        finished(step, records, dialogue_records(talk, lessons, room.difficulty, step))


def select(config: RunConfig, room: Classroom, step: int) -> tuple[Table, NDArray[np.int64]]:
    """The step's questions, and who cooperates on which (Dynamic Interaction)."""
    places = step_questions(len(room.questions), config.training.questions_per_step, step, config.seed)
    shares = cooperates(room.ability[:, None], room.difficulty[None, :]).mean(axis=1)
    rng = np.random.default_rng(derive_seed(config.seed, "modes", step))
    modes = cooperation(config.interaction, room.ability, room.difficulty[places], shares, rng)
    asked = [room.questions[place] for place in places]
    seed = derive_seed(config.seed, "turns", step)
    return Table(room.agents, asked, modes, config.sampling, seed, config.discussion.hears), places


def discuss(config: RunConfig, room: Classroom, table: Table, places: NDArray[np.int64]) -> Discussion:
    """Share, analyse, fuse, and score what ends in an answer; of several processes, each on its own questions."""
    own = table.part(room.ranks.share(len(places)))
    dialogues, stages = config.discussion.dialogues_per_question, config.discussion.stages
    samples = [config.samples_of(agent) for agent in range(len(table.agents))]
    trained = TRAINED_STAGES[config.discussion.trained_turns]
    ideas = [n if "sharing" in trained else dialogues for n in samples]
    answers = [n // dialogues if "fusion" in trained else 1 for n in samples]
    turns: dict[Stage, Turns] = {}
    with room.stopwatch.watch("sharing"):
        turns["sharing"] = share(own, ideas)
    if "fusion" in stages:
        with room.stopwatch.watch("analysis"):
            turns["analysis"] = analyse(own, turns["sharing"], dialogues)
        with room.stopwatch.watch("fusion"):
            turns["fusion"] = fuse(own, turns["sharing"], turns["analysis"], answers)
    with room.stopwatch.watch("grading"):
        scores: dict[Stage, Scores] = {
            stage: score_turns(own, spoken, config.reward, room.grader)
            for stage, spoken in turns.items()
            if stage != "analysis"
        }
    talk = Discussion(table, places, room.ranks.whole(turns), room.ranks.whole(scores))
    for stage, spoken in talk.turns.items():
        prompts = [len(turn.prompt.ids) for groups in spoken for group in groups for turn in group]
        room.stopwatch.count(stage, sampled_tokens(spoken), max(prompts, default=0))
    return talk


def calibrate(config: RunConfig, talk: Discussion) -> dict[Stage, list[Lesson]]:
    """Calibrated rewards and advantages of every trained stage, for each agent (Perception Calibration, GRPO)."""
    lessons: dict[Stage, list[Lesson]] = {}
    for stage in TRAINED_STAGES[config.discussion.trained_turns]:
        if stage == "analysis":
            # Equation (5) speaks of answers; an analysis is paid by the answers that followed it.
            fusion = rewards_of(talk.scores["fusion"])
            paid = analysis_rewards(fusion, config.discussion.dialogues_per_question)
            lessons[stage] = learn(paid, replace(config.calibration, kind="none"), config.advantages)
        else:
            lessons[stage] = learn(rewards_of(talk.scores[stage]), config.calibration, config.advantages)
    return lessons


def pool(
    config: RunConfig, talk: Discussion, lessons: dict[Stage, list[Lesson]]
) -> tuple[dict[Stage, list[Lesson]], list[list[TrainedTurn]]]:
    """Lets each agent learn from what its peers solved, where rollouts are pooled; by agent, what it borrows."""
    if config.pooling.kind == "none":
        return lessons, [[] for _ in talk.table.agents]
    pooled = pool_successes(config, talk, lessons["sharing"])
    return lessons | {"sharing": pooled.lessons}, pooled.borrowed


def update(
    config: RunConfig,
    room: Classroom,
    talk: Discussion,
    lessons: dict[Stage, list[Lesson]],
    borrowed: list[list[TrainedTurn]],
    step: int,
) -> list[UpdateReport]:
    """One update of every agent on its own turns, and on those it borrows."""
    for agent in room.agents:
        agent.engine.rest()
    reports = []
    for number, updater in enumerate(room.updaters):
        taught = [
            TrainedTurn(
                turn.prompt.ids,
                turn.completion.token_ids,
                turn.completion.logprobs,
                float(advantage),
                question.id,
                stage,
            )
            for stage, by_agent in lessons.items()
            for question, group, advantages in zip(
                talk.table.questions, talk.turns[stage][number], by_agent[number].advantages, strict=True
            )
            for turn, advantage in zip(group, advantages, strict=True)
        ]
        with room.stopwatch.watch("update"):
            if room.residence is not None:
                room.residence.enter(room.agents[number].model)
            reports.append(updater.update(taught + borrowed[number], step))
        room.stopwatch.count("update", reports[-1].trained_tokens)
    return reports


def estimate_ability(config: RunConfig, room: Classroom, talk: Discussion) -> None:
    """Moves gamma towards the share of right ideas, where ability is estimated online (ours)."""
    if config.interaction.ability == "online":
        seen = np.array([accuracy(scores) for scores in talk.scores["sharing"]])
        room.ability = (1 - config.interaction.online_rate) * room.ability + config.interaction.online_rate * seen


def validate(config: RunConfig, room: Classroom, step: int) -> list[float | None]:
    """Solo accuracy on held-out questions, every few steps and after the last; the processes share them."""
    due = config.training.validate_every and (
        step % config.training.validate_every == 0 or step == config.training.steps
    )
    if not due:
        return [None] * len(room.agents)
    questions = room.ranks.part(room.validation)
    with room.stopwatch.watch("validation"):
        right = [solo_answers(agent, questions, config, room.grader) for agent in room.agents]
        by_agent = zip(*room.ranks.gather(right), strict=True)
        return [float(np.mean([item for part in parts for item in part])) for parts in by_agent]


def solo_accuracy(agent: Agent, questions: Sequence[Question], config: RunConfig, grader: Grader) -> float:
    """Share of questions that an agent answers rightly, alone and greedily; gamma when taken before training."""
    return float(np.mean(solo_answers(agent, questions, config, grader)))


def solo_answers(agent: Agent, questions: Sequence[Question], config: RunConfig, grader: Grader) -> list[bool]:
    """Which questions an agent answers rightly, alone and greedily."""
    options = SamplingOptions(
        config.sampling.max_new_tokens, 0.0, config.sampling.rows_per_call, agent.style.stop_strings()
    )
    prompts = [agent.render(agent.style.solve(question.text)).ids for question in questions]
    turns = [turn[0] for turn in agent.engine.sample(Request(prompts, [1] * len(prompts), options, seed=0))]
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
    return np.array([epochs[int(place // count)][place % count] for place in wanted], dtype=np.int64)


def sampled_tokens(turns: Turns) -> int:
    """Completion tokens of a stage, over all agents."""
    return sum(len(turn.completion.token_ids) for groups in turns for group in groups for turn in group)
