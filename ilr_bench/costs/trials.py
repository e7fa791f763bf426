"""What one trial samples and computes: turns by arithmetic, times the lengths and seconds of a timing run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilr_bench.config import RunConfig
from ilr_bench.costs.counts import (
    SPOKEN,
    Turns,
    ability_turns,
    answer_turns,
    checkpoints,
    exams,
    ranking_turns,
    rounds,
    step_turns,
    trained_turns,
    validations,
)
from ilr_bench.costs.memory import BASE, Extent, Extents, Memory, parties, trial_memory
from ilr_bench.costs.timings import Said, Timing, Timings, model_request, step_request, together_request

RECORDED = ("sharing", "analysis", "fusion", "evaluation")
"""Stages whose sampled tokens a trial's records state."""


@dataclass(frozen=True)
class Cost:
    """What a stage of a trial takes, over all agents."""

    turns: int = 0
    tokens: float = 0.0
    """Sampled."""
    seconds: float = 0.0
    """Of computing; 0 where nothing was timed."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.turns + other.turns, self.tokens + other.tokens, self.seconds + other.seconds)


Costs = Mapping[str, Cost]
"""By stage: the stages of Idea3, `evaluation`, `validation`, `update`, `grading`, `loading`, `checkpoint`."""


@dataclass(frozen=True)
class Lengths:
    """How long a trial's turns are and how fast they come: as timed, or as long as the settings allow."""

    config: RunConfig
    models: tuple[Timing | None, ...]
    """By agent."""
    step: Timing | None
    together: Timing | None

    @property
    def timed(self) -> bool:
        """Whether everything that the trial does was timed."""
        needed: list[Timing | None] = list(self.models)
        needed += [self.step] if self.config.training.steps else []
        needed += [self.together] if rounds(self.config) else []
        return None not in needed

    def cost(self, kind: str, agent: int, turns: Turns, times: int = 1) -> Cost:
        """What `times` times these turns of an agent take."""
        said = self._said(kind, agent)
        if said is None:
            return Cost(turns.count * times, float(turns.count * times * turns.limit))
        return Cost(turns.count * times, turns.count * times * said.tokens, turns.count * times * said.seconds)

    def mean(self, kind: str, agent: int, limit: int) -> float:
        """Tokens of a turn."""
        said = self._said(kind, agent)
        return limit if said is None else said.tokens

    def extents(self) -> tuple[Extents, ...]:
        """By agent, what was seen of all kinds of turns."""
        found = []
        for agent, model in enumerate(self.models):
            kinds = dict(model.said[0]) if model is not None else {}
            kinds |= self.step.said[agent] if self.step is not None else {}
            found.append({kind: Extent(said.prompt, said.tokens) for kind, said in kinds.items()})
        return tuple(found)

    def _said(self, kind: str, agent: int) -> Said | None:
        timing = self.step if kind in SPOKEN else self.models[agent]
        if timing is None:
            return None
        return timing.said[agent if kind in SPOKEN else 0].get(kind)


def lengths(config: RunConfig, timings: Timings) -> Lengths:
    """What is known of a trial's turns."""
    return Lengths(
        config,
        tuple(timings.get(model_request(config, place).key) for place in range(len(config.models))),
        timings.get(step_request(config).key) if config.training.steps else None,
        timings.get(together_request(config).key) if rounds(config) else None,
    )


def samples_of(
    config: RunConfig, matched: tuple[RunConfig, tuple[float, ...]] | None, known: Lengths
) -> tuple[int, ...]:
    """Answers per question by agent; `matched`: the configuration whose tokens by agent this one spends as well.

    The rule is that of `trial.resolve`, on expected tokens instead of sampled ones.
    """
    if matched is None or not config.training.steps:
        return tuple(config.samples_of(agent) for agent in range(len(config.models)))
    other, spent = matched
    questions = other.training.questions_per_step * other.training.steps
    limit = other.sampling.max_new_tokens
    return tuple(
        max(2, round(tokens / (questions * known.mean("sharing", agent, limit)))) for agent, tokens in enumerate(spent)
    )


def training_tokens(known: Lengths, samples: tuple[int, ...]) -> tuple[float, ...]:
    """Tokens that each agent samples in all training steps."""
    steps = known.config.training.steps
    return tuple(
        sum(known.cost(stage, agent, turns, steps).tokens for stage, turns in step_turns(known.config, n).items())
        for agent, n in enumerate(samples)
    )


def trial_costs(known: Lengths, samples: tuple[int, ...], first_step: int = 1) -> dict[str, Cost]:
    """By stage, from `first_step` to the end; measurements that trials share are not among them."""
    config = known.config
    steps = config.training.steps - first_step + 1 if config.training.steps else 0
    costs: dict[str, Cost] = {"loading": Cost(seconds=sum(_per(model, "load") for model in known.models))}

    def add(stage: str, cost: Cost) -> None:
        costs[stage] = costs.get(stage, Cost()) + cost

    for agent, n in enumerate(samples):
        spoken = step_turns(config, n) if steps > 0 else {}
        for stage, turns in spoken.items():
            add(stage, known.cost(stage, agent, turns, steps))
        if steps > 0:
            graded = sum(turns.count for stage, turns in spoken.items() if stage != "analysis")
            add("grading", Cost(seconds=steps * graded * _per(known.step, "grading")))
            add("update", Cost(seconds=steps * trained_turns(config, n) * _per(known.step, "update")))
            add("validation", known.cost("ability", agent, ability_turns(config), validations(config, first_step)))
    if steps > 0:
        add("checkpoint", Cost(seconds=checkpoints(config, first_step) * _per(known.step, "checkpoint")))
    add("evaluation", _together(known) if rounds(config) else _alone(known))
    return costs


def ranking_cost(known: Lengths, agent: int) -> Cost:
    """One agent's difficulty, measured once for all trials that share it."""
    return known.cost("ranking", agent, ranking_turns(known.config))


def ability_cost(known: Lengths, agent: int) -> Cost:
    """One agent's ability, measured once for all trials that share it."""
    return known.cost("ability", agent, ability_turns(known.config))


def evaluation_cost(known: Lengths, agent: int) -> Cost:
    """One agent's answers to all benchmarks, alone."""
    total = Cost()
    for benchmark, rows in exams(known.config):
        total += known.cost(f"evaluation/{benchmark.name}", agent, answer_turns(known.config, benchmark, rows))
    return total


def needed_memory(known: Lengths, samples: tuple[int, ...]) -> Memory | None:
    """Peak memory by term; None where a model's size is not known."""
    return _memory(known, samples)


def alone_memory(known: Lengths, samples: tuple[int, ...]) -> tuple[Memory, ...]:
    """What each agent needs without the others, twins on one base as one; empty where a model's size is not known."""
    found = [_memory(known, samples, places) for places in parties(known.config)]
    return tuple(memory for memory in found if memory is not None) if None not in found else ()


def _memory(known: Lengths, samples: tuple[int, ...], places: Sequence[int] | None = None) -> Memory | None:
    bases = [BASE, *(model.base for model in known.models if model is not None)]
    return trial_memory(known.config, known.extents() if known.timed else (), samples, max(bases), places)


def _alone(known: Lengths) -> Cost:
    total = Cost()
    for agent in range(len(known.config.models)):
        total += evaluation_cost(known, agent)
    return total


def _together(known: Lengths) -> Cost:
    total, config = Cost(), known.config
    for benchmark, rows in exams(config):
        said = None if known.together is None else known.together.said[0].get(f"together/{benchmark.name}")
        turns = answer_turns(config, benchmark, rows * rounds(config) * len(config.models))
        if said is None:
            total += Cost(turns.count, float(turns.count * turns.limit))
        else:
            total += Cost(turns.count, rows * said.tokens, rows * said.seconds)
    return total


def _per(timing: Timing | None, what: str) -> float:
    return 0.0 if timing is None else timing.seconds.get(what, 0.0)
