"""Whether a study fits this machine: memory, graphics cards and disk against what its trials need."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ilr_bench.core.config import RunConfig
from ilr_bench.core.console import note
from ilr_bench.core.errors import DoesNotFitError, StoreError
from ilr_bench.core.hardware import gpu_memory
from ilr_bench.storage.files import explained, read_json, write_atomic
from ilr_bench.study.cost.forecast import NEW, State, StudyCost, TrialCost, study_cost, timing_studies, to_data
from ilr_bench.study.cost.memory import GIB, Memory, alone_memory, trial_memory
from ilr_bench.study.cost.timings import cached, known
from ilr_bench.study.plan import Plan, PlannedTrial

PLAN = "plan.json"
"""What a study was expected to cost, beside its records; outside every hash."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = {"memory.max": "memory.current", "memory/memory.limit_in_bytes": "memory/memory.usage_in_bytes"}
"""Limit -> use, in versions 2 and 1."""
ADVICE = {
    "evaluation": "set evaluation.rows_per_call lower",
    "update": "set update.rows_per_micro_batch lower, or update.gradient_checkpointing=true",
}
"""Largest phase -> what makes it smaller; of every other phase `sampling.rows_per_call`."""
Placement = Literal["together", "turns", "refused"]
"""Whether a trial's agents stay on a graphics card together, take turns on it, or do not fit at all."""


class Resources(NamedTuple):
    """What this machine has to give now, in bytes; `gpus`: memory of each graphics card."""

    memory: int
    gpus: tuple[int, ...]
    disk: int


def available_resources(out: Path | None) -> Resources:
    """What is free here; the disk is the one that `out` lies on."""
    return Resources(available_memory(), gpu_memory(), _free_disk(out or Path.cwd()))


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Bytes that new processes can take: what the system has left, and no more than this group of processes may."""
    limits = []
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    for most, used in CGROUP_FILES.items():
        limit, now = cgroup / most, cgroup / used
        if limit.exists() and now.exists() and limit.read_text().strip() != "max":
            limits.append(max(0, int(limit.read_text()) - int(now.read_text())))
    return min(limits) if limits else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def placement(whole: Memory, alone: Sequence[Memory], card: int, seen: bool, engine: str) -> Placement:
    """How agents use a card of `card` bytes.

    `whole`: all of them together. `alone`: see `alone_memory`. Where no lengths were seen the peaks are bounds: agents
    that might not fit take turns, and only those that cannot fit are refused. vLLM holds on to its part of the card,
    so with it agents do not take turns.
    """
    if whole.on_card(seen=True) <= card:
        return "together"
    if engine == "transformers" and each_fits(alone, card, seen):
        return "turns"
    return "together" if whole.on_card(seen) <= card else "refused"


def each_fits(alone: Sequence[Memory], card: int, seen: bool) -> bool:
    """Whether there are several, and each fits on the card without the others."""
    return len(alone) > 1 and all(one.on_card(seen) <= card for one in alone)


def placement_on(one: TrialCost, resources: Resources) -> Placement:
    """How a trial's agents use the smallest card here; together where there is no card, or nothing is known."""
    if one.memory is None or not resources.gpus:
        return "together"
    return placement(one.memory, one.alone, min(resources.gpus), one.seen, one.trial.config.sampling.engine)


def take_turns(config: RunConfig) -> bool:
    """Whether the agents of a trial have to, on the smallest card here; `config`: with the samples that it will have.

    Whatever runs a trial passes this function on to it.
    """
    cards, timing = gpu_memory(), cached(config)
    lengths = {} if timing is None else timing.lengths
    whole = trial_memory(config, lengths)
    if whole is None or not cards:
        return False
    alone = alone_memory(config, lengths)
    return placement(whole, alone, min(cards), bool(lengths), config.sampling.engine) == "turns"


def refusals(cost: StudyCost, resources: Resources) -> list[str]:
    """Why what is left of a study cannot run here; empty where it can.

    Where lengths were timed a trial counts with its peak, else only with what it needs whatever its turns are like.
    """
    check = _card_refusals if resources.gpus else _memory_refusals
    reasons = check(cost.left, cost.workers, resources)
    if cost.disk > resources.disk:
        reasons.append(
            f"disk: checkpoints and records take up to {_size(cost.disk)}, {_size(resources.disk)} are free; "
            "free some, name another --out, or run fewer trials"
        )
    return reasons


def check_and_keep(plan: Plan, left: Sequence[PlannedTrial], workers: int, out: Path, force: bool = False) -> None:
    """Before a study starts: refuses what does not fit, and notes in `plan.json` what it is expected to cost.

    Timings are used where there are any; none are made. `left`: the trials that are still to be run; called again
    without any once a sweep has made timing runs, it notes what is expected by them. Raises
    DoesNotFitError unless `force`.
    """
    found = {trial.hash: NEW if trial in left else State("finished") for trial in plan.trials}
    cost = study_cost(plan, known(plan.trials, timing_studies(out)), workers, found)
    reasons = [] if force else refusals(cost, available_resources(out))
    if reasons:
        raise DoesNotFitError(f"this does not fit here (--force runs it all the same). {'. '.join(reasons)}")
    path, data = out / PLAN, to_data(cost)
    with explained(path):
        write_atomic(path, json.dumps(data | {"trials": _earlier(path) | data["trials"]}, indent=1) + "\n")


def seconds_left(plan: Plan, left: Sequence[PlannedTrial], workers: int, out: Path) -> dict[str, float]:
    """Folder of a trial that is left -> its computing seconds by the timings that are there; none unless all have one.

    A trial that was started counts as a whole: who shows progress knows how far it is.
    """
    found = {trial.hash: NEW if trial in left else State("finished") for trial in plan.trials}
    cost = study_cost(plan, known(plan.trials, timing_studies(out)), workers, found)
    return {one.trial.folder: one.seconds_left for one in cost.left} if cost.timed else {}


def _earlier(path: Path) -> dict[str, Any]:
    """What another command planned in the same folder; nothing where the file is torn, since it decides nothing."""
    try:
        return dict(read_json(path, "")["trials"]) if path.exists() else {}
    except (StoreError, ValueError, KeyError, TypeError):
        note(f"{path} was torn and is written anew")
        return {}


def _memory_refusals(left: Sequence[TrialCost], workers: int, resources: Resources) -> list[str]:
    trials = [(one.memory.peak if one.seen else one.memory.least, one) for one in left if one.memory is not None]
    needs = sorted(trials, key=lambda pair: -pair[0])[:workers]
    total = sum(need for need, _ in needs)
    if total <= resources.memory:
        return []
    need, largest = needs[0]
    fitting = sum(sum(n for n, _ in needs[:count]) <= resources.memory for count in range(1, len(needs) + 1))
    advice = [f"set --workers {fitting}"] if fitting else []
    advice += _smaller(largest) if not fitting or fitting < workers else []
    return [
        f"memory: {len(needs)} at a time need {_size(total)} ({largest.trial.folder}: {_size(need)}), "
        f"{_size(resources.memory)} are available; {', or '.join(advice)}"
    ]


def _card_refusals(left: Sequence[TrialCost], workers: int, resources: Resources) -> list[str]:
    """Agents that take turns on a card wait in the machine's own memory."""
    smallest = min(resources.gpus)
    waiting = []
    for one in left:
        placed = placement_on(one, resources)
        if one.memory is not None and placed == "turns":
            waiting.append(one.memory.host)
        elif one.memory is not None and placed == "refused":
            need = one.memory.on_card(one.seen)
            advice = _smaller(one)
            if each_fits(one.alone, smallest, one.seen):
                advice.append("set sampling.engine=transformers, with which agents take turns on the card")
            advice.append(f"share one trial among {math.ceil(need / smallest)} or more cards (docs/scaling.md)")
            return [
                f"GPU memory: {one.trial.folder} needs {_size(need)}, a card here has {_size(smallest)}; "
                f"{', or '.join(advice)}"
            ]
    needs = sorted(waiting, reverse=True)[:workers]
    if sum(needs) <= resources.memory:
        return []
    return [
        f"memory: agents take turns on the card, and those who wait for it need {_size(sum(needs))} for {len(needs)} "
        f"trials at a time, {_size(resources.memory)} are available; set --workers lower, or update.adapter=lora"
    ]


def _smaller(one: TrialCost) -> list[str]:
    phase = one.memory.largest if one.memory is not None and one.seen else ""
    advice = [ADVICE.get(phase, "set sampling.rows_per_call lower")] if phase else []
    full = one.trial.config.update.adapter == "full"
    return [*advice, "set update.adapter=lora" if full else "take smaller models"]


def _free_disk(folder: Path) -> int:
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(nearest).free


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
