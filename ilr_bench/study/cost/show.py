"""A plan with its costs, as tables and lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ilr_bench.core.console import say, say_rows
from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.study.cost.fits import Resources, available_resources, placement_on, refusals
from ilr_bench.study.cost.forecast import StudyCost, TrialCost, to_data
from ilr_bench.study.cost.gpu_hours import CHEAP, DEAR, GPU_MEMORY, estimate, is_large
from ilr_bench.study.cost.memory import GIB, MIB

Rows = list[tuple[str, ...]]


def say_cost(
    cost: StudyCost, out: Path | None, verbose: bool = False, as_json: bool = False, force: bool = False
) -> None:
    """Prints a priced plan, the whole of it; then raises DoesNotFitError where it does not fit, unless `force`."""
    resources = available_resources(out)
    reasons, stats = refusals(cost, resources), lines(cost, resources)
    if as_json:
        now = {
            "states": {one.trial.folder: str(one.state) for one in cost.trials},
            "left": {stage: round(item.tokens) for stage, item in cost.sampled_left.items()},
            "clock": [round(seconds) for seconds in cost.clock] if cost.timed else None,
            "said": stats,
            "does not fit": reasons,
        }
        say(json.dumps(to_data(cost) | now, indent=1))
    else:
        tables = [trial_rows(cost), shared_rows(cost), stage_rows(cost)]
        for rows in [*tables, memory_rows(cost)] if verbose else tables:
            say_rows(rows)
            say("")
        say("\n".join(stats))
    if reasons and not force:
        raise DoesNotFitError("a sweep of this would be refused here, unless it is given --force; the plan says why")


def trial_rows(cost: StudyCost) -> Rows:
    """A line per trial."""
    rows: Rows = [("trial", "answers for", "agents", "steps", "samples", "state", "tokens", "CPU s", "memory")]
    folders = {one.trial.hash: one.trial.folder for one in cost.trials}
    for one in cost.trials:
        training, needed = one.trial.config.training, folders.get(one.trial.dependency or "")
        rows.append(
            (
                one.trial.folder,
                ", ".join(one.names),
                str(len(one.trial.config.models)),
                f"{training.steps} of {training.questions_per_step}" if training.steps else "0",
                "+".join(map(str, one.samples)) if training.steps else "-",
                str(one.state) + (f", after {needed}" if needed and one.state.is_left else ""),
                number(sum(item.tokens for item in one.whole.values())),
                number(sum(item.seconds for item in one.whole.values())) if cost.timed else "-",
                size(one.memory.peak) if one.memory is not None else "unknown",
            )
        )
    return rows


def shared_rows(cost: StudyCost) -> Rows:
    """A line per thing that is made once."""
    rows: Rows = [("made once", "", "for trials", "state", "tokens", "CPU s")]
    for item in cost.shared:
        spent = (number(value) if value else "-" for value in (item.cost.tokens, item.cost.seconds))
        rows.append((item.kind, item.name, str(item.trials), "there" if item.ready else "to be made", *spent))
    return rows


def stage_rows(cost: StudyCost) -> Rows:
    """What is still to be sampled, by stage."""
    left = cost.sampled_left
    total = number(sum(item.tokens for item in left.values()))
    return [
        ("to be sampled", "turns", "tokens"),
        *((stage, number(item.turns), number(item.tokens)) for stage, item in left.items()),
        ("total", number(sum(item.turns for item in left.values())), total if cost.timed else f"at most {total}"),
    ]


def memory_rows(cost: StudyCost) -> Rows:
    """Every term of every trial's memory, in MiB; the phases' terms only of the largest one."""
    rows: Rows = [("memory of", "term", "MiB")]
    for one in cost.trials:
        if (memory := one.memory) is None:
            continue
        phase = memory.phases.get(memory.largest, {})
        terms = {"process and libraries": memory.base}
        terms |= {term: count for term, count in memory.resident.items() if count}
        terms |= {f"{memory.largest}: {term}": count for term, count in phase.items() if count}
        terms["allocator"] = memory.slack
        if memory.instances:
            terms[f"vLLM: copies of weights, {memory.instances} caches"] = memory.vllm("cpu")
        terms["peak"] = memory.peak
        rows += [(one.trial.folder, term, number(count / MIB)) for term, count in terms.items()]
    return rows


def lines(cost: StudyCost, resources: Resources) -> list[str]:
    """Time, memory, disk, GPU-hours, and what does not fit."""
    left, stats = cost.left, []
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
            largest = max(memory.on_card(seen=True) for memory in one.alone)
            stats.append(f"{one.trial.folder}: agents take turns on the card, the largest with {bound}{size(largest)}")
    return stats + [f"does not fit here: {reason}" for reason in refusals(cost, resources)]


def gpu_lines(left: Sequence[TrialCost]) -> list[str]:
    """GPU-hours of large models, with the formula and what it assumes."""
    stats = [
        f"GPU-hours (H100, {GPU_MEMORY / 1e9:.0f} GB), by formula; nothing was timed:",
        "  sampling = 2 P tokens + attention, update = 6 P tokens + attention; P: weights that multiply",
        f"  low end:  updates at {CHEAP.update:.0%} of 989 TFLOP/s, sampling "
        f"{CHEAP.sampling_fraction:.0%} of a GRPO step, mean answers {CHEAP.length:.0%} of their limit",
        f"  high end: updates at {DEAR.update:.0%}, sampling {DEAR.sampling_fraction:.0%} of a GRPO step, "
        "mean answers as long as their limit",
    ]
    low = high = 0.0
    for one in left:
        found = estimate(one.trial.config, one.samples)
        if found is None:
            stats.append(f"  {one.trial.folder}: the size of one of its models is not known here")
            continue
        low, high = low + found.hours[0], high + found.hours[1]
        tokens = " to ".join(number(count / 1e6) for count in found.tokens)
        each = zip(found.gpus, one.trial.config.agents, strict=True)
        stats.append(
            f"  {one.trial.folder}: {number(found.hours[0])} to {number(found.hours[1])} GPU-hours for {tokens} "
            f"million sampled tokens; {sum(found.gpus)} GPUs hold weights, gradients and Adam's moments: "
            f"{' + '.join(f'{count} ({name})' for count, name in each)}"
        )
    return [*stats, f"  all: {number(low)} to {number(high)} GPU-hours"]


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
