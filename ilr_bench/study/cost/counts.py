"""How many turns a trial samples, by plain arithmetic on its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ilr_bench.core.config import RunConfig, Stage
from ilr_bench.tasks.types import Benchmark, expand, get, row_count

SAMPLED_STAGES: tuple[Stage, ...] = ("sharing", "analysis", "fusion")
"""Stages of a training step."""
JOINT_KINDS = ("answer", "choice")
"""Kinds of benchmarks that untrained agents answer together (`ilr_bench.evaluation.joint`)."""
TRAINED: dict[str, tuple[Stage, ...]] = {
    "fusion": ("fusion",),
    "sharing": ("sharing",),
    "both": ("sharing", "fusion"),
    "all": SAMPLED_STAGES,
}


@dataclass(frozen=True)
class Turns:
    """Turns of one agent in one stage."""

    count: int
    limit: int
    """Most tokens that one of them may take."""
    prompts: int
    """Prompts that they complete; several turns may share one."""

    def times(self, count: int) -> Turns:
        """The same again and again."""
        return replace(self, count=count * self.count, prompts=count * self.prompts)


@dataclass(frozen=True)
class Load:
    """Turns of one agent that a trial samples."""

    stage: str
    """Under which the plan counts them: a stage of a step, `validation` or `evaluation`."""
    kind: str
    """What they are like: `ranking`, `ability`, a stage of a step, `evaluation/NAME`, or `together/NAME`."""
    agent: int
    turns: Turns


def workload(config: RunConfig, samples: Sequence[int], first_step: int = 1) -> list[Load]:
    """All that a trial samples from `first_step` on, but for what trials share; `samples` per question by agent."""
    steps = max(0, config.training.steps - first_step + 1)
    loads = []
    for agent, n in enumerate(samples):
        if steps:
            turns_by_stage = step_turns(config, n).items()
            loads += [Load(stage, stage, agent, turns.times(steps)) for stage, turns in turns_by_stage]
            again = ability_turns(config).times(validations(config, first_step))
            loads.append(Load("validation", "ability", agent, again))
        together = rounds(config)
        for benchmark, rows in evaluated_benchmarks(config):
            kind = f"{'together' if together else 'evaluation'}/{benchmark.name}"
            loads.append(Load("evaluation", kind, agent, answer_turns(config, benchmark, rows * (together or 1))))
    return loads


def measurements(config: RunConfig, agent: int) -> tuple[Load, Load]:
    """Difficulty and ability of one agent untrained, once for all trials that share them."""
    return (
        Load("measurement", "ranking", agent, ranking_turns(config)),
        Load("measurement", "ability", agent, ability_turns(config)),
    )


def units_of_step(config: RunConfig, samples: Sequence[int]) -> dict[str, int]:
    """Turns of all agents in one step: those of each stage, those that are graded, and those that are trained.

    Borrowed turns, and the want of an advantage, are not counted.
    """
    turns_by_stage = [step_turns(config, n) for n in samples]
    units: dict[str, int] = {stage: sum(turns[stage].count for turns in turns_by_stage) for stage in turns_by_stage[0]}
    graded = sum(count for stage, count in units.items() if stage != "analysis")
    trained = sum(units[stage] for stage in TRAINED[config.discussion.trained_turns])
    return units | {"grading": graded, "update": trained}


def ranking_turns(config: RunConfig) -> Turns:
    """What one agent is asked to measure difficulty, once for all trials that share it."""
    settings, questions = config.difficulty, config.questions.train
    if settings.source == "solve_rate":
        return Turns(questions * settings.samples, config.sampling.max_new_tokens, questions)
    batches = settings.shuffles * max(1, questions // settings.batch_size)
    return Turns(batches, config.sampling.max_ranking_tokens, batches)


def ability_turns(config: RunConfig) -> Turns:
    """Greedy answers of one agent to the held-out questions, once for all trials that share them."""
    return Turns(config.questions.validation, config.sampling.max_new_tokens, config.questions.validation)


def step_turns(config: RunConfig, samples: int) -> dict[Stage, Turns]:
    """One agent's turns in one step by stage, with `samples` answers to each question."""
    questions, dialogues = config.training.questions_per_step, config.discussion.dialogues_per_question
    trained = TRAINED[config.discussion.trained_turns]
    long, short = config.sampling.max_new_tokens, config.sampling.max_analysis_tokens
    ideas = samples if "sharing" in trained else dialogues
    turns: dict[Stage, Turns] = {"sharing": Turns(questions * ideas, long, questions)}
    if "fusion" in config.discussion.stages:
        answers = samples // dialogues if "fusion" in trained else 1
        turns["analysis"] = Turns(questions * dialogues, short, questions * dialogues)
        turns["fusion"] = Turns(questions * dialogues * answers, long, questions * dialogues)
    return turns


def validations(config: RunConfig, first_step: int = 1) -> int:
    """How often held-out questions are asked from `first_step` on: every few steps, and after the last."""
    every, last = config.training.validate_every, config.training.steps
    return sum(1 for step in range(first_step, last + 1) if every and (step % every == 0 or step == last))


def checkpoints(config: RunConfig, first_step: int = 1) -> int:
    """How often the agents are saved from `first_step` on."""
    every, last = config.training.checkpoint_every, config.training.steps
    return sum(1 for step in range(first_step, last + 1) if step % every == 0 or step == last)


def evaluated_benchmarks(config: RunConfig) -> Iterator[tuple[Benchmark, int]]:
    """The benchmarks that a trial answers at its end, and how many questions of each.

    Raises MissingInputError where the number of a benchmark's questions is only in data that are not here.
    """
    settings = config.evaluation
    for name in expand(settings.benchmarks):
        benchmark = get(name)
        if config.inference.method == "none" or benchmark.kind in JOINT_KINDS:
            rows = _rows(name)
            yield benchmark, rows if settings.limit is None else min(rows, settings.limit)


def answer_turns(config: RunConfig, benchmark: Benchmark, rows: int) -> Turns:
    """One agent's answers to a benchmark alone."""
    settings = config.evaluation
    limit = settings.token_limit or benchmark.max_new_tokens or settings.max_new_tokens
    return Turns(rows * settings.samples, limit, rows)


def rounds(config: RunConfig) -> int:
    """How often every agent speaks on a benchmark's question where they answer together; 0 where they do not."""
    return {"none": 0, "single": 1, "debate": config.inference.rounds, "idea3": len(SAMPLED_STAGES)}[
        config.inference.method
    ]


@cache
def _rows(name: str) -> int:
    """Some benchmarks make their rows to count them."""
    return row_count(get(name))
