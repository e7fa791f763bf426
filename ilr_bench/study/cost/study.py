"""What a whole study will cost: every trial, what trials share, what is left, and how long that takes here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from ilr_bench.core.config import RunConfig
from ilr_bench.core.hardware import cores
from ilr_bench.models.catalogue import MODELS
from ilr_bench.study.cost.counts import SAMPLED_STAGES, Load, checkpoints, measurements, units_of_step, workload
from ilr_bench.study.cost.memory import Memory, alone_memory, disk_bytes, trial_memory
from ilr_bench.study.cost.state import NEW, State
from ilr_bench.study.cost.timings import Timing
from ilr_bench.study.plan import Plan, PlannedTrial

SLOWER = 1.6
"""How many times longer than computed a study may take: other work on the machine, memory that workers compete for."""
START = 15.0
"""Computing seconds in which a worker starts."""
RECORDED = (*SAMPLED_STAGES, "evaluation")
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
class TrialCost:
    """One trial."""

    trial: PlannedTrial
    names: tuple[str, ...]
    """Variants that it answers for."""
    state: State
    samples: tuple[int, ...]
    """Answers per question by agent."""
    whole: Costs
    """From its first step to its end, as its records will state it."""
    left: Costs
    """What remains to be computed; answers of untrained agents are shared and stand there."""
    memory: Memory | None
    alone: tuple[Memory, ...]
    """Of its agents one by one, twins on one base as one; empty where that is not known."""
    disk: int | None
    timed: bool
    """Whether lengths and seconds are known; else tokens are upper bounds and there are no seconds."""
    seen: bool
    """Whether the lengths of its prompts are known; else its memory is an upper bound."""

    @property
    def recorded_tokens(self) -> float:
        """Sampled tokens that its records will state."""
        return sum(cost.tokens for stage, cost in self.whole.items() if stage in RECORDED)

    @property
    def seconds_left(self) -> float:
        """Computing seconds that remain."""
        return sum(cost.seconds for cost in self.left.values())


@dataclass(frozen=True)
class Shared:
    """Something that is made once for several trials."""

    kind: str
    """`model`, `difficulty`, `ability` or `base answers`."""
    name: str
    trials: int
    """How many use it."""
    cost: Cost
    ready: bool


@dataclass(frozen=True)
class StudyCost:
    """A plan with its costs."""

    trials: tuple[TrialCost, ...]
    shared: tuple[Shared, ...]
    workers: int

    @property
    def timed(self) -> bool:
        """Whether all trials are."""
        return all(trial.timed for trial in self.trials)

    @property
    def tokens_left(self) -> dict[str, float]:
        """Stage -> tokens that are still to be sampled."""
        tokens: dict[str, float] = {}
        for item in self.shared:
            if not item.ready:
                tokens[item.kind] = tokens.get(item.kind, 0.0) + item.cost.tokens
        for trial in self.trials:
            for stage, cost in trial.left.items():
                tokens[stage] = tokens.get(stage, 0.0) + cost.tokens
        return {stage: value for stage, value in tokens.items() if value}

    @property
    def seconds_left(self) -> float:
        """Computing seconds of all workers together."""
        shared = sum(item.cost.seconds for item in self.shared if not item.ready)
        return shared + sum(trial.seconds_left for trial in self.trials)

    @property
    def clock(self) -> tuple[float, float]:
        """Seconds on the clock until all is done, at least and about at most; models that are to be made apart.

        At least: no worker ever waits, unless the longest trial, after the one that it depends on, takes longer.
        """
        left = {one.trial.hash: one.seconds_left for one in self.trials if one.state.is_left}
        if not left:
            return 0.0, 0.0
        shared = [item.cost.seconds for item in self.shared if not item.ready]
        chains = [
            left[one.trial.hash] + left.get(one.trial.dependency or "", 0.0)
            for one in self.trials
            if one.trial.hash in left
        ]
        # More workers than cores only take turns.
        workers = min(self.workers, cores())
        least = START + max(sum(shared) / workers, *shared) + max(sum(left.values()) / workers, *chains)
        return least, SLOWER * least

    @property
    def disk(self) -> int:
        """Bytes that the trials which are left will write at most."""
        return sum(trial.disk or 0 for trial in self.trials if trial.state.is_left)


def study_cost(
    plan: Plan, timings: Mapping[str, Timing], workers: int, found: Mapping[str, State] | None = None, keep: int = 1
) -> StudyCost:
    """Prices a plan; trials without a timing (by hash) have upper bounds for tokens and no seconds.

    `found`: state of every trial by its hash, all new by default. `keep`: checkpoints that stay.
    """
    found = found or dict.fromkeys((trial.hash for trial in plan.trials), NEW)
    trials: dict[str, TrialCost] = {}
    for trial in plan.trials:  # a trial comes after the one that it matches
        samples = tuple(trial.config.samples_of(agent) for agent in range(len(trial.config.models)))
        if trial.dependency is not None and trial.config.training.steps:
            samples = matched_samples(trials[trial.dependency], timings.get(trial.dependency))
        names = tuple(entry.variant for entry in plan.entries if entry.hash == trial.hash)
        timing = timings.get(trial.hash)
        trials[trial.hash] = _trial_cost(trial, names, found[trial.hash], timing, samples, keep)
    return StudyCost(tuple(trials.values()), tuple(_shared(plan.trials, found, timings)), workers)


def matched_samples(other: TrialCost, timing: Timing | None) -> tuple[int, ...]:
    """Answers per question by agent of a trial that spends the tokens of another one.

    The rule is that of `trial.resolve`, on expected tokens instead of sampled ones.
    """
    config = other.trial.config
    asked = config.training.questions_per_step * config.training.steps
    loads = [load for load in workload(config, other.samples) if load.stage in SAMPLED_STAGES]
    found = []
    for agent in range(len(config.models)):
        spent = sum(cost_of(load, timing).tokens for load in loads if load.agent == agent)
        one = config.sampling.max_new_tokens if timing is None else timing.tokens["sharing"]
        found.append(max(2, round(spent / (asked * one))))
    return tuple(found)


def cost_of(load: Load, timing: Timing | None) -> Cost:
    """What an agent's turns take; as long as they may be where no length is known."""
    if timing is None or load.kind not in timing.tokens:
        return Cost(load.turns.count, float(load.turns.count * load.turns.limit))
    tokens = load.turns.count * timing.tokens[load.kind]
    return Cost(load.turns.count, tokens, tokens * timing.seconds.get(load.stage, 0.0))


def trial_costs(config: RunConfig, timing: Timing | None, samples: Sequence[int], first_step: int = 1) -> Costs:
    """By stage, from `first_step` to the end; measurements that trials share are not among them."""
    costs: dict[str, Cost] = {}
    for load in workload(config, samples, first_step):
        costs[load.stage] = costs.get(load.stage, Cost()) + cost_of(load, timing)
    if timing is None:
        return costs
    steps, units = max(0, config.training.steps - first_step + 1), units_of_step(config, samples)
    times = {"update": steps * units["update"], "grading": steps * units["grading"]}
    times |= {"loading": 1, "checkpoint": checkpoints(config, first_step)}
    return costs | {what: Cost(seconds=count * timing.seconds.get(what, 0.0)) for what, count in times.items()}


def to_data(cost: StudyCost) -> dict[str, Any]:
    """Plain JSON: what `plan.json` keeps of it, which does not depend on how far the study is."""
    return {
        "lengths": _lengths(cost.timed),
        "trials": {
            one.trial.folder: {
                "lengths": _lengths(one.timed),
                "samples": list(one.samples),
                "tokens": {stage: round(item.tokens) for stage, item in one.whole.items() if item.tokens},
                "turns": {stage: item.turns for stage, item in one.whole.items() if item.turns},
                "cpu": {stage: round(item.seconds, 3) for stage, item in one.whole.items() if item.seconds},
                "memory": one.memory.peak if one.memory is not None else None,
                "disk": one.disk,
            }
            for one in cost.trials
        },
        "shared": [
            {"kind": item.kind, "name": item.name, "trials": item.trials, "tokens": round(item.cost.tokens)}
            | ({"cpu": round(item.cost.seconds, 3)} if item.cost.seconds else {})
            for item in cost.shared
        ],
    }


def _lengths(timed: bool) -> str:
    return "timed" if timed else "upper bounds"


def _trial_cost(
    trial: PlannedTrial,
    names: tuple[str, ...],
    state: State,
    timing: Timing | None,
    samples: tuple[int, ...],
    keep: int,
) -> TrialCost:
    config = trial.config
    left = trial_costs(config, timing, samples, state.step + 1) if state.is_left else {}
    if _answers_once(config):
        left = {stage: cost for stage, cost in left.items() if stage != "evaluation"}
    lengths = {} if timing is None else timing.lengths
    return TrialCost(
        trial=trial,
        names=names,
        state=state,
        samples=samples,
        whole=trial_costs(config, timing, samples),
        left=left,
        memory=trial_memory(config, lengths, samples),
        alone=alone_memory(config, lengths, samples),
        disk=disk_bytes(config, keep),
        timed=timing is not None,
        seen=bool(lengths),
    )


def _answers_once(config: RunConfig) -> bool:
    """Whether the trial's answers are shared: those of untrained agents, alone."""
    return config.training.steps == 0 and config.inference.method == "none"


def _shared(
    trials: Sequence[PlannedTrial], found: Mapping[str, State], timings: Mapping[str, Timing]
) -> Iterable[Shared]:
    items: dict[object, Shared] = {}
    for trial in trials:
        config, timing = trial.config, timings.get(trial.hash)
        there = not found[trial.hash].is_left
        for agent, model, style in zip(count(), config.models, config.styles):
            needed: list[tuple[Shared, object]] = []
            if model in MODELS:
                made = MODELS.get(model).folder().exists()
                needed.append((Shared("model", model, 0, Cost(), made), model))
            who = (model, style, config.questions, config.warm_start)
            asked = (config.sampling.max_prompt_tokens, config.sampling.rows_per_call)
            difficulty, ability = (cost_of(load, timing) for load in measurements(config, agent))
            name = f"{model} on {config.questions.train} {config.questions.source}"
            decided = (who, config.difficulty, config.sampling.max_ranking_tokens, asked)
            needed.append((Shared("difficulty", name, 0, difficulty, there), decided))
            name = f"{model} on {config.questions.validation} held out"
            needed.append((Shared("ability", name, 0, ability, there), (who, config.sampling.max_new_tokens, asked)))
            if _answers_once(config):
                every = (cost_of(load, timing) for load in workload(config, (1,) * (agent + 1)) if load.agent == agent)
                answers = sum(every, Cost())
                drawn = config.seed if config.evaluation.temperature else 0
                needed.append(
                    (Shared("base answers", model, 0, answers, there), (who, config.evaluation, asked, drawn))
                )
            for item, what in needed:
                once = items.setdefault((item.kind, what), item)
                items[item.kind, what] = replace(once, trials=once.trials + 1, ready=once.ready or item.ready)
    return items.values()
