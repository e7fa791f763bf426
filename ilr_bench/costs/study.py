"""What a whole study will cost: every trial, what trials share, what is left, and how long that takes here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from ilr_bench.config import RunConfig
from ilr_bench.costs.memory import Memory, disk_bytes
from ilr_bench.costs.schedule import Task, makespan
from ilr_bench.costs.state import NEW, State
from ilr_bench.costs.timings import Request, Timings, requests
from ilr_bench.costs.trials import (
    RECORDED,
    Cost,
    Costs,
    Lengths,
    ability_cost,
    alone_memory,
    evaluation_cost,
    lengths,
    needed_memory,
    ranking_cost,
    samples_of,
    training_tokens,
    trial_costs,
)
from ilr_bench.machine import cores
from ilr_bench.models.base import MODELS
from ilr_bench.plan import Plan, PlannedTrial

SLOWER = 1.6
"""How many times longer than computed a study may take: other work on the machine, memory that workers compete for."""
START = 15.0
"""Computing seconds in which a worker starts, where the timing run was made by a worker that had other work before."""


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

    @property
    def recorded_tokens(self) -> float:
        """Sampled tokens that its records will state."""
        return sum(cost.tokens for stage, cost in self.whole.items() if stage in RECORDED)


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
    start: float
    """Computing seconds in which a worker starts."""

    @property
    def timed(self) -> bool:
        """Whether lengths and seconds were timed; else tokens are upper bounds and there are no seconds."""
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
        return shared + sum(cost.seconds for trial in self.trials for cost in trial.left.values())

    @property
    def clock(self) -> tuple[float, float]:
        """Seconds on the clock until all is done, at least and about at most; models that are to be made apart."""
        left = [trial for trial in self.trials if trial.state.is_left]
        if not left:
            return 0.0, 0.0
        measured = [Task(f"{item.kind} {item.name}", item.cost.seconds) for item in self.shared if not item.ready]
        trials = [
            Task(
                one.trial.hash,
                sum(cost.seconds for cost in one.left.values()),
                () if one.trial.dependency is None else (one.trial.dependency,),
            )
            for one in left
        ]
        # More workers than cores only take turns.
        slots = min(self.workers, cores())
        least = self.start + makespan(measured, slots) + makespan(trials, slots)
        return least, SLOWER * least

    @property
    def disk(self) -> int:
        """Bytes that the trials which are left will write at most."""
        return sum(trial.disk or 0 for trial in self.trials if trial.state.is_left)


def all_requests(plan: Plan) -> list[Request]:
    """The timing runs that the costs of a study follow from, each once."""
    return list({request.key: request for trial in plan.trials for request in requests(trial.config)}.values())


def study_cost(
    plan: Plan, timings: Timings, workers: int, found: Mapping[str, State] | None = None, keep: int = 1
) -> StudyCost:
    """Prices a plan; without timings its tokens are upper bounds and it has no seconds.

    `found`: state of every trial by its hash, all new by default. `keep`: checkpoints that stay.
    """
    found = found or dict.fromkeys((trial.hash for trial in plan.trials), NEW)
    known = {trial.hash: lengths(trial.config, timings) for trial in plan.trials}
    trials: dict[str, TrialCost] = {}
    for trial in plan.trials:  # a trial comes after the one that it matches
        matched = None
        if trial.dependency is not None:
            other = trials[trial.dependency]
            matched = other.trial.config, training_tokens(known[trial.dependency], other.samples)
        samples = samples_of(trial.config, matched, known[trial.hash])
        trials[trial.hash] = _trial(plan, trial, found[trial.hash], known[trial.hash], samples, keep)
    starts = [timing.seconds.get("start", START) for timing in timings.values()]
    shared = _shared(plan.trials, found, known)
    return StudyCost(tuple(trials.values()), tuple(shared), workers, max(starts, default=0.0))


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


def _trial(
    plan: Plan, trial: PlannedTrial, state: State, known: Lengths, samples: tuple[int, ...], keep: int
) -> TrialCost:
    whole = trial_costs(known, samples)
    left = trial_costs(known, samples, state.step + 1) if state.is_left else {}
    if _answers_once(trial.config):
        left = {stage: cost for stage, cost in left.items() if stage != "evaluation"}
    return TrialCost(
        trial=trial,
        names=tuple(entry.variant for entry in plan.entries if entry.hash == trial.hash),
        state=state,
        samples=samples,
        whole=whole,
        left=left,
        memory=needed_memory(known, samples),
        alone=alone_memory(known, samples),
        disk=disk_bytes(trial.config, keep),
        timed=known.timed,
    )


def _answers_once(config: RunConfig) -> bool:
    """Whether the trial's answers are shared: those of untrained agents, alone."""
    return config.training.steps == 0 and config.inference.method == "none"


def _shared(trials: Sequence[PlannedTrial], found: Mapping[str, State], known: Mapping[str, Lengths]) -> list[Shared]:
    items: dict[object, Shared] = {}

    def need(kind: str, name: str, what: object, cost: Cost, ready: bool) -> None:
        earlier = items.get((kind, what))
        once = Shared(kind, name, 0, cost, False) if earlier is None else earlier
        items[kind, what] = replace(once, trials=once.trials + 1, ready=once.ready or ready)

    for trial in trials:
        config = trial.config
        there = not found[trial.hash].is_left
        for agent, model, style in zip(count(), config.models, config.styles):
            if model in MODELS:
                need("model", model, model, Cost(), MODELS.get(model).folder().exists())
            who = (model, style, config.questions, config.warm_start)
            name = f"{model} on {config.questions.train} {config.questions.source}"
            asked = (config.sampling.max_prompt_tokens, config.sampling.rows_per_call)
            difficulty = (who, config.difficulty, config.sampling.max_ranking_tokens, asked)
            need("difficulty", name, difficulty, ranking_cost(known[trial.hash], agent), there)
            held_out = f"{model} on {config.questions.validation} held out"
            ability = (who, config.sampling.max_new_tokens, asked)
            need("ability", held_out, ability, ability_cost(known[trial.hash], agent), there)
            if _answers_once(config):
                drawn = config.seed if config.evaluation.temperature else 0
                what = (who, config.evaluation, asked, drawn)
                need("base answers", model, what, evaluation_cost(known[trial.hash], agent), there)
    return list(items.values())
