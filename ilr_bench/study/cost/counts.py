"""How many turns a trial samples, by plain arithmetic on its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ilr_bench.core.config import IDEA3_STAGES, RunConfig
from ilr_bench.tasks.types import Benchmark, expand, get, row_count

ANSWERS = ("sharing", "fusion")
"""Stages whose turns end in an answer."""
JOINT_KINDS = ("answer", "choice")
"""Kinds of benchmarks that untrained agents answer jointly (`ilr_bench.evaluation.joint`)."""


@dataclass(frozen=True)
class Turns:
    """Turns of one agent: how many, the most tokens that one may take, and the number of different prompts."""

    count: int
    limit: int
    prompts: int

    def times(self, count: int) -> Turns:
        """As many, `count` times over."""
        return Turns(count * self.count, self.limit, count * self.prompts)


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
    """All that a trial samples from `first_step` on, by itself; `samples`: answers per question by agent."""
    training, joint_rounds = config.training, rounds(config)
    steps = max(0, training.steps - first_step + 1)
    validations = due(training.validate_every, training.steps, first_step)
    loads = []
    for agent, n in enumerate(samples):
        if steps:
            loads += [Load(stage, stage, agent, turns.times(steps)) for stage, turns in step_turns(config, n).items()]
            loads.append(Load("validation", "ability", agent, ability_turns(config).times(validations)))
        for benchmark, rows in evaluated_benchmarks(config):
            kind = f"{'together' if joint_rounds else 'evaluation'}/{benchmark.name}"
            turns = answer_turns(config, benchmark, rows * (joint_rounds or 1))
            loads.append(Load("evaluation", kind, agent, turns))
    return loads


def measurements(config: RunConfig, agent: int) -> tuple[Load, Load]:
    """Difficulty and ability of one untrained agent, sampled once for all trials that need them."""
    return (
        Load("measurement", "ranking", agent, ranking_turns(config)),
        Load("measurement", "ability", agent, ability_turns(config)),
    )


def units_of_step(config: RunConfig, samples: Sequence[int]) -> dict[str, int]:
    """Turns of all agents in one step: those of each stage, those that are graded, and those that are trained.

    Trained are all turns of the trained stages, also those that turn out to have no advantage.
    """
    turns_by_stage = [step_turns(config, n) for n in samples]
    units: dict[str, int] = {stage: sum(turns[stage].count for turns in turns_by_stage) for stage in turns_by_stage[0]}
    graded = sum(count for stage, count in units.items() if stage in ANSWERS)
    return units | {
        "grading": graded,
        "update": sum(units[stage] for stage in config.discussion.trained),
    }


def ranking_turns(config: RunConfig) -> Turns:
    """One agent's turns that measure difficulty."""
    settings, questions = config.difficulty, config.questions.train
    if settings.source == "solve_rate":
        return Turns(questions * settings.samples, config.sampling.max_new_tokens, questions)
    batches = settings.shuffles * max(1, questions // settings.batch_size)
    return Turns(batches, config.sampling.max_ranking_tokens, batches)


def ability_turns(config: RunConfig) -> Turns:
    """One agent's greedy answers to the held-out questions."""
    return Turns(config.questions.validation, config.sampling.max_new_tokens, config.questions.validation)


def step_turns(config: RunConfig, samples: int) -> dict[str, Turns]:
    """One agent's turns in one step by stage, with `samples` answers to each question."""
    questions, dialogues = config.training.questions_per_step, config.discussion.dialogues_per_question
    trained = config.discussion.trained
    long, short = config.sampling.max_new_tokens, config.sampling.max_analysis_tokens
    ideas = samples if "sharing" in trained else dialogues
    turns: dict[str, Turns] = {"sharing": Turns(questions * ideas, long, questions)}
    if config.discussion.discusses:
        answers = samples // dialogues if "fusion" in trained else 1
        for stage in config.discussion.labels[1:-1]:
            turns[stage] = Turns(questions * dialogues, short, questions * dialogues)
        turns["fusion"] = Turns(questions * dialogues * answers, long, questions * dialogues)
    return turns


def due(every: int, last: int, first: int = 1) -> int:
    """How often validations or checkpoints come from step `first` on: `every` few steps (0: never), and at `last`."""
    return sum(1 for step in range(first, last + 1) if every and (step % every == 0 or step == last))


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
    """One agent's answers to `rows` questions of a benchmark."""
    settings = config.evaluation
    limit = settings.token_limit or benchmark.max_new_tokens or settings.max_new_tokens
    return Turns(rows * settings.samples, limit, rows)


def rounds(config: RunConfig) -> int:
    """Turns of every agent on one question of a benchmark where they answer jointly; 0 where they do not."""
    stages = config.discussion.stages if config.discussion.discusses else IDEA3_STAGES
    by_method = {"none": 0, "single": 1, "debate": config.inference.rounds, "idea3": len(stages)}
    return by_method[config.inference.method]


@cache
def _rows(name: str) -> int:
    """Some benchmarks make their rows to count them."""
    return row_count(get(name))
