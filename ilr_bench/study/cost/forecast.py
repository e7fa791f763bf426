"""What a whole study will cost: every trial, what is made once for several, what is left, and how long that takes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from ilr_bench.core.config import RunConfig
from ilr_bench.core.console import note
from ilr_bench.core.errors import MissingInputError
from ilr_bench.core.hardware import cores
from ilr_bench.core.plugins import label_of
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.provenance import Changes
from ilr_bench.storage.store import Artifacts, is_finished
from ilr_bench.study.cost.counts import Load, due, measurements, units_of_step, workload
from ilr_bench.study.cost.gpu_hours import is_large
from ilr_bench.study.cost.memory import Memory, alone_memory, disk_bytes, trial_memory
from ilr_bench.study.cost.timings import Timing, known, run_timings, unknown
from ilr_bench.study.inputs import changes_from, changes_since, inputs_of_trials
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import finished_trial, sibling_studies

SLOWER = 1.6
"""How many times longer than computed a study may take: other work on the machine, memory that workers compete for."""
START = 15.0
"""Computing seconds in which a worker starts."""


@dataclass(frozen=True)
class State:
    """How far one trial is."""

    kind: Literal["new", "started", "finished", "taken over"]
    step: int = 0
    """Of the newest checkpoint of a trial that was started."""
    source: Path | None = None
    """Study whose finished trial would be reused."""

    @property
    def is_left(self) -> bool:
        """Whether anything remains to be run."""
        return self.kind in ("new", "started")

    def __str__(self) -> str:
        if self.kind == "started":
            return f"continues after step {self.step}"
        return f"taken over from {self.source}" if self.source else self.kind


NEW = State("new")


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
    """What remains to be computed; answers of untrained agents are made once for several trials and not among it."""
    memory: Memory | None
    alone: tuple[Memory, ...]
    """See `alone_memory`."""
    disk: int | None
    timed: bool
    """Whether lengths and seconds are known; else tokens are upper bounds and there are no seconds."""
    seen: bool
    """Whether the lengths of its prompts are known; else its memory is an upper bound."""

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
    def left(self) -> tuple[TrialCost, ...]:
        """The trials that remain to be run."""
        return tuple(trial for trial in self.trials if trial.state.is_left)

    @property
    def sampled_left(self) -> Costs:
        """What is still to be sampled by stage, and once for several trials."""
        costs: dict[str, Cost] = defaultdict(Cost)
        for item in self.shared:
            if not item.ready:
                costs[item.kind] += item.cost
        for trial in self.trials:
            for stage, cost in trial.left.items():
                costs[stage] += cost
        return {stage: cost for stage, cost in costs.items() if cost.tokens}

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
        left = {one.trial.hash: one.seconds_left for one in self.left}
        if not left:
            return 0.0, 0.0
        shared = [item.cost.seconds for item in self.shared if not item.ready]
        chains = [one.seconds_left + left.get(one.trial.dependency or "", 0.0) for one in self.left]
        # More workers than cores only take turns.
        workers = min(self.workers, cores())
        least = START + max(sum(shared) / workers, *shared) + max(sum(left.values()) / workers, *chains)
        return least, SLOWER * least

    @property
    def disk(self) -> int:
        """Bytes that the trials which are left will write at most."""
        return sum(trial.disk or 0 for trial in self.left)


def price(plan: Plan, workers: int, out: Path | None = None, fresh: bool = False, quick: bool = False) -> StudyCost:
    """Prices a plan by earlier trials, or by short ones that are run now; not where `quick`, or without the models.

    Models too large for that are priced by their limits, and in GPU-hours.
    """
    studies = timing_studies(out, fresh)
    large = any(is_large(trial.config) for trial in plan.trials)
    missing = [] if quick or large else unknown(plan.trials, studies)
    if missing:
        note(f"timing runs: {len(missing)}, some seconds each with tiny models, and kept for the next plan")
        try:
            run_timings(missing)
        except MissingInputError as error:
            note(str(error))
    return study_cost(plan, known(plan.trials, studies), workers, states(plan, out, fresh))


def timing_studies(out: Path | None, fresh: bool = False) -> tuple[Path, ...]:
    """Studies whose trials a plan may go by."""
    return () if out is None else (out, *(() if fresh else sibling_studies(out)))


def states(plan: Plan, out: Path | None, fresh: bool = False) -> dict[str, State]:
    """Hash -> state of every trial, as a sweep into `out` would find it; nothing is written."""
    if out is None:
        return {trial.hash: NEW for trial in plan.trials}
    siblings = () if fresh else sibling_studies(out)
    now = cache(partial(inputs_of_trials, plan.trials))  # read only where there is something to compare

    def is_reusable(study: Path, trial: PlannedTrial) -> bool:
        found = finished_trial(study, trial.hash)
        if found is None or changes_from(found[1].inputs, study / "artifacts", now()[trial.hash]):
            return False
        return is_finished(found[0], trial.hash, Artifacts(study / "artifacts"))

    def state(trial: PlannedTrial) -> State:
        folder, artifacts = out / trial.folder, Artifacts(out / "artifacts")
        there = (folder / "config.json").exists()
        changed = changes_since(folder, artifacts.root, now()[trial.hash]) if there else Changes((), ())
        if not changed and is_finished(folder, trial.hash, artifacts):
            return State("finished")
        for study in siblings:
            if is_reusable(study, trial):
                return State("taken over", source=study)
        if changed.training:
            return NEW
        found = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("checkpoints/step-*"))
        step = max((int(match[1]) for match in found if match), default=0)
        return State("started", step) if step else NEW

    return {trial.hash: state(trial) for trial in plan.trials}


def study_cost(
    plan: Plan, timings: Mapping[str, Timing], workers: int, found: Mapping[str, State] | None = None, keep: int = 1
) -> StudyCost:
    """Prices a plan; trials without a timing (by hash) have upper bounds for tokens and no seconds.

    `found`: state of every trial by its hash, all new by default. `keep`: checkpoints that stay.
    """
    found = found or states(plan, None)
    trials: dict[str, TrialCost] = {}
    for trial in plan.trials:  # a trial comes after the one that it matches
        config, timing, state = trial.config, timings.get(trial.hash), found[trial.hash]
        samples = tuple(config.samples_of(agent) for agent in range(len(config.models)))
        if trial.dependency is not None and config.training.steps:
            samples = matched_samples(trials[trial.dependency], timings.get(trial.dependency))
        left = trial_costs(config, timing, samples, state.step + 1) if state.is_left else {}
        lengths = {} if timing is None else timing.lengths
        trials[trial.hash] = TrialCost(
            trial=trial,
            names=tuple(entry.variant for entry in plan.entries if entry.hash == trial.hash),
            state=state,
            samples=samples,
            whole=trial_costs(config, timing, samples),
            left={stage: cost for stage, cost in left.items() if stage != "evaluation" or not _answers_once(config)},
            memory=trial_memory(config, lengths, samples),
            alone=alone_memory(config, lengths, samples),
            disk=disk_bytes(config, keep),
            timed=timing is not None,
            seen=bool(lengths),
        )
    return StudyCost(tuple(trials.values()), tuple(_shared(plan.trials, found, timings)), workers)


def matched_samples(other: TrialCost, timing: Timing | None) -> tuple[int, ...]:
    """Answers per question by agent of a trial that spends the tokens of another one.

    The rule is that of `trial.resolve`, on expected tokens instead of sampled ones.
    """
    config = other.trial.config
    asked = config.training.questions_per_step * config.training.steps
    one = config.sampling.max_new_tokens if timing is None else timing.tokens["sharing"]
    spent = [0.0] * len(config.models)
    for load in workload(config, other.samples):
        if load.stage in config.discussion.labels:
            spent[load.agent] += cost_of(load, timing).tokens
    return tuple(max(2, round(tokens / (asked * one))) for tokens in spent)


def cost_of(load: Load, timing: Timing | None) -> Cost:
    """What an agent's turns take; as long as they may be where no length is known."""
    if timing is None or load.kind not in timing.tokens:
        return Cost(load.turns.count, float(load.turns.count * load.turns.limit))
    tokens = load.turns.count * timing.tokens[load.kind]
    return Cost(load.turns.count, tokens, tokens * timing.seconds.get(load.stage, 0.0))


def trial_costs(config: RunConfig, timing: Timing | None, samples: Sequence[int], first_step: int = 1) -> Costs:
    """By stage, from `first_step` to the end; what is measured once for several trials is not among them."""
    costs: dict[str, Cost] = defaultdict(Cost)
    for load in workload(config, samples, first_step):
        costs[load.stage] += cost_of(load, timing)
    if timing is not None:
        training, units = config.training, units_of_step(config, samples)
        steps = max(0, training.steps - first_step + 1)
        times = {"update": steps * units["update"], "grading": steps * units["grading"], "loading": 1}
        times["checkpoint"] = due(training.checkpoint_every, training.steps, first_step)
        costs |= {what: Cost(seconds=count * timing.seconds.get(what, 0.0)) for what, count in times.items()}
    return dict(costs)


def to_data(cost: StudyCost) -> dict[str, Any]:
    """Plain JSON: what `plan.json` keeps of it, which does not depend on how far the study is."""

    def lengths(timed: bool) -> str:
        return "timed" if timed else "upper bounds"

    return {
        "lengths": lengths(cost.timed),
        "trials": {
            one.trial.folder: {
                "lengths": lengths(one.timed),
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


def _answers_once(config: RunConfig) -> bool:
    """Whether the trial's answers are made once for several trials: those of untrained agents, alone."""
    return config.training.steps == 0 and config.inference.method == "none"


def _shared(
    trials: Sequence[PlannedTrial], found: Mapping[str, State], timings: Mapping[str, Timing]
) -> Iterable[Shared]:
    """Each thing under what decides it; `ready` where it is a model that is there, or one of its trials is done."""
    items: dict[object, Shared] = {}
    for trial in trials:
        config, timing = trial.config, timings.get(trial.hash)
        done = not found[trial.hash].is_left
        asked = (config.sampling.max_prompt_tokens, config.sampling.rows_per_call)

        def add(kind: str, name: str, cost: Cost, decided_by: object, ready: bool = done) -> None:
            once = items.setdefault((kind, decided_by), Shared(kind, name, 0, cost, ready))
            items[kind, decided_by] = replace(once, trials=once.trials + 1, ready=once.ready or ready)

        for agent, (model, style) in enumerate(zip(config.models, config.styles, strict=True)):
            if model in MODELS:
                add("model", label_of(model), Cost(), model, MODELS.get(model).folder().exists())
            who = (model, style, config.questions, config.warm_start)
            difficulty, ability = (cost_of(load, timing) for load in measurements(config, agent))
            name = f"{label_of(model)} on {config.questions.train} {label_of(config.questions.source)}"
            add("difficulty", name, difficulty, (who, config.difficulty, config.sampling.max_ranking_tokens, asked))
            name = f"{label_of(model)} on {config.questions.validation} held out"
            add("ability", name, ability, (who, config.sampling.max_new_tokens, asked))
            if _answers_once(config):
                loads = [load for load in workload(config, (1,) * (agent + 1)) if load.agent == agent]
                answers = sum((cost_of(load, timing) for load in loads), Cost())
                seed = config.seed if config.evaluation.temperature else 0
                add("base answers", model, answers, (who, config.evaluation, asked, seed))
    return items.values()
