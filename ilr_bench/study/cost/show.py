"""A priced plan in words: rows of columns, and lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilr_bench.core.console import say, say_rows
from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.study.cost.fits import GIB, Resources, available_resources, placement_on, refusals
from ilr_bench.study.cost.gpu_hours import CHEAP, DEAR, GPU_MEMORY, GpuEstimate, estimate, is_large
from ilr_bench.study.cost.memory import MIB
from ilr_bench.study.cost.study import StudyCost, TrialCost, to_data

Rows = list[tuple[str, ...]]


def say_cost(
    cost: StudyCost, out: Path | None, verbose: bool = False, as_json: bool = False, force: bool = False
) -> None:
    """Prints a priced plan, the whole of it; then raises DoesNotFitError where it does not fit, unless `force`."""
    resources = available_resources(out)
    if as_json:
        say(json.dumps(to_data(cost) | _now(cost, resources), indent=1))
    else:
        tables = [trial_rows(cost), shared_rows(cost), stage_rows(cost)]
        for rows in [*tables, memory_rows(cost)] if verbose else tables:
            say_rows(rows)
            say("")
        for line in lines(cost, resources):
            say(line)
    if refusals(cost, resources) and not force:
        raise DoesNotFitError("a sweep of this would be refused here, unless it is given --force; the plan says why")


def trial_rows(cost: StudyCost) -> Rows:
    """A line per trial."""
    rows: Rows = [("trial", "answers for", "agents", "steps", "samples", "state", "tokens", "CPU s", "memory")]
    for one in cost.trials:
        config = one.trial.config
        needed = [other.trial.folder for other in cost.trials if other.trial.hash == one.trial.dependency]
        state = str(one.state) + (f", after {needed[0]}" if needed and one.state.is_left else "")
        rows.append(
            (
                one.trial.folder,
                ", ".join(one.names),
                str(len(config.models)),
                f"{config.training.steps} of {config.training.questions_per_step}" if config.training.steps else "0",
                "+".join(map(str, one.samples)) if config.training.steps else "-",
                state,
                number(sum(item.tokens for item in one.whole.values())),
                number(sum(item.seconds for item in one.whole.values())) if cost.timed else "-",
                size(one.memory.peak) if one.memory is not None else "unknown",
            )
        )
    return rows


def shared_rows(cost: StudyCost) -> Rows:
    """A line per thing that is made once."""
    rows: Rows = [("made once", "", "for trials", "state", "tokens", "CPU s")]
    return rows + [
        (
            item.kind,
            item.name,
            str(item.trials),
            "there" if item.ready else "to be made",
            number(item.cost.tokens) if item.cost.tokens else "-",
            number(item.cost.seconds) if item.cost.seconds else "-",
        )
        for item in cost.shared
    ]


def stage_rows(cost: StudyCost) -> Rows:
    """What is still to be sampled, by stage."""
    left = cost.tokens_left
    rows: Rows = [("to be sampled", "turns", "tokens")]
    turns: dict[str, int] = {}
    for item in (item for item in cost.shared if not item.ready):
        turns[item.kind] = turns.get(item.kind, 0) + item.cost.turns
    for one in cost.trials:
        for stage, spent in one.left.items():
            turns[stage] = turns.get(stage, 0) + spent.turns
    rows += [(stage, f"{turns[stage]:,}", number(tokens)) for stage, tokens in left.items()]
    total = number(sum(left.values()))
    return [*rows, ("total", f"{sum(turns[stage] for stage in left):,}", total if cost.timed else f"at most {total}")]


def memory_rows(cost: StudyCost) -> Rows:
    """Every term of every trial's memory, in MiB; the phases' terms only of the largest one."""
    rows: Rows = [("memory of", "term", "MiB")]
    for one in cost.trials:
        if one.memory is None:
            continue
        memory, name = one.memory, one.trial.folder
        phase = memory.largest
        rows.append((name, "process and libraries", _mib(memory.base)))
        rows += [(name, term, _mib(count)) for term, count in memory.resident.items() if count]
        rows += [
            (name, f"{phase}: {term}", _mib(count)) for term, count in memory.phases.get(phase, {}).items() if count
        ]
        rows.append((name, "allocator", _mib(memory.slack)))
        if memory.instances:
            rows.append((name, f"vLLM: copies of weights, {memory.instances} caches", _mib(memory.vllm("cpu"))))
        rows.append((name, "peak", _mib(memory.peak)))
    return rows


def lines(cost: StudyCost, resources: Resources) -> list[str]:
    """Time, memory, disk, GPU-hours, and what does not fit."""
    stats = []
    left = [one for one in cost.trials if one.state.is_left]
    if not left:
        return ["nothing is left to be run"]
    large = any(is_large(one.trial.config) for one in left)
    if cost.timed:
        least, most = cost.clock
        stats.append(
            f"time: {duration(least)} to {duration(most)} on {cost.workers} workers "
            f"({number(cost.seconds_left)} CPU seconds; models that are to be made come on top)"
        )
    elif not large:
        stats.append("nothing was timed: tokens are upper bounds, every turn as long as its limit")
    needs = sorted((one.memory.peak for one in left if one.memory is not None), reverse=True)[: cost.workers]
    bound = "" if all(one.seen for one in left) else "at most "
    if needs and not large:
        stats.append(
            f"memory: {bound}{size(sum(needs))} for {len(needs)} at a time; {size(resources.memory)} are available"
        )
    stats.append(f"disk: at most {size(cost.disk)}; {size(resources.disk)} are free")
    if large:
        stats += gpu_lines(left)
    for one in left:
        if placement_on(one, resources) == "turns":
            most = max(memory.on_card(seen=True) for memory in one.alone)
            stats.append(f"{one.trial.folder}: agents take turns on the card, the largest with {bound}{size(most)}")
    return stats + [f"does not fit here: {reason}" for reason in refusals(cost, resources)]


def gpu_lines(left: Sequence[TrialCost]) -> list[str]:
    """GPU-hours of large models, with the formula and what it assumes."""
    stats = [
        f"GPU-hours (H100, {GPU_MEMORY / 1e9:.0f} GB), by formula; nothing was timed:",
        "  sampling = 2 P tokens + attention, update = 6 P tokens + attention; P: weights that multiply",
        f"  low end:  updates at {CHEAP.update:.0%} of 989 TFLOP/s, sampling "
        f"{CHEAP.sampling_fraction:.0%} of a GRPO step, mean answers {CHEAP.length:.0%} of their limit",
        f"  high end: updates at {DEAR.update:.0%}, sampling {DEAR.sampling_fraction:.0%} of a GRPO step, "
        "mean answers as "
        "long as their limit",
    ]
    low = high = 0.0
    for one in left:
        found = estimate(one.trial.config, one.samples)
        if found is None:
            stats.append(f"  {one.trial.folder}: the size of one of its models is not known here")
            continue
        low, high = low + found.hours[0], high + found.hours[1]
        stats.append(f"  {one.trial.folder}: {_hours(found)}; {_gpus(one, found)}")
    return [*stats, f"  all: {low:,.0f} to {high:,.0f} GPU-hours"]


def number(value: float) -> str:
    """Whole, with thousands separated."""
    return f"{value:,.0f}"


def size(count: int) -> str:
    """In GiB or MiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _now(cost: StudyCost, resources: Resources) -> dict[str, Any]:
    return {
        "states": {one.trial.folder: str(one.state) for one in cost.trials},
        "left": {stage: round(tokens) for stage, tokens in cost.tokens_left.items()},
        "clock": [round(seconds) for seconds in cost.clock] if cost.timed else None,
        "said": lines(cost, resources),
        "does not fit": refusals(cost, resources),
    }


def _hours(found: GpuEstimate) -> str:
    low, high = found.tokens
    return (
        f"{found.hours[0]:,.0f} to {found.hours[1]:,.0f} GPU-hours for {low / 1e6:,.0f} to {high / 1e6:,.0f} million "
        "sampled tokens"
    )


def _gpus(one: TrialCost, found: GpuEstimate) -> str:
    each = " + ".join(f"{count} ({name})" for count, name in zip(found.gpus, one.trial.config.agents, strict=True))
    return f"{sum(found.gpus)} GPUs hold weights, gradients and Adam's moments: {each}"


def _mib(count: int) -> str:
    return f"{count / MIB:,.0f}"
