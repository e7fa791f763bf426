"""Whether a study fits this machine: memory, GPUs and disk against what its trials need."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.core.hardware import gpu_memory
from ilr_bench.study.cost.memory import Memory
from ilr_bench.study.cost.seating import Placement, each_fits, placement
from ilr_bench.study.cost.study import StudyCost, TrialCost

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
GIB = 2**30
ADVICE = {
    "ranking": "set sampling.rows_per_call lower",
    "ability": "set sampling.rows_per_call lower",
    "sharing": "set sampling.rows_per_call lower",
    "analysis": "set sampling.rows_per_call lower",
    "fusion": "set sampling.rows_per_call lower",
    "evaluation": "set evaluation.rows_per_call lower",
    "update": "set update.rows_per_micro_batch lower, or update.gradient_checkpointing=true",
}
"""Largest phase -> what makes it smaller."""


@dataclass(frozen=True)
class Resources:
    """What this machine has to give now, in bytes."""

    memory: int
    gpus: tuple[int, ...]
    """Memory of each graphics card."""
    disk: int


def available_resources(out: Path | None) -> Resources:
    """What is free here; the disk is the one that `out` lies on."""
    return Resources(available_memory(), gpu_memory(), _free_disk(out or Path.cwd()))


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Bytes that new processes can take: what the system has left, and no more than this group of processes may."""
    rooms = []
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        rooms.append(int(fields["MemAvailable"].split()[0]) * 1024)
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, now = cgroup / most, cgroup / used
        if limit.exists() and now.exists() and limit.read_text().strip() != "max":
            rooms.append(max(0, int(limit.read_text()) - int(now.read_text())))
    return min(rooms) if rooms else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refusals(cost: StudyCost, resources: Resources) -> list[str]:
    """Why what is left of a study cannot run here; empty where it can.

    Where lengths were timed a trial counts with its peak, else only with what it needs whatever its turns are like.
    """
    left = [one for one in cost.trials if one.state.is_left]
    reasons = _gpu(left, cost.workers, resources) if resources.gpus else _memory(left, cost.workers, resources)
    if cost.disk > resources.disk:
        reasons.append(
            f"disk: checkpoints and records take up to {_size(cost.disk)}, {_size(resources.disk)} are free; "
            "free some, name another --out, or run fewer trials"
        )
    return reasons


def require(cost: StudyCost, resources: Resources) -> None:
    """Raises DoesNotFitError where a study does not fit."""
    reasons = refusals(cost, resources)
    if reasons:
        raise DoesNotFitError(f"this does not fit here (--force runs it all the same). {'. '.join(reasons)}")


def _memory(left: Sequence[TrialCost], workers: int, resources: Resources) -> list[str]:
    needs = sorted(((_need(one, one.memory), one) for one in left if one.memory is not None), key=lambda pair: -pair[0])
    together = needs[:workers]
    total = sum(need for need, _ in together)
    if not together or total <= resources.memory:
        return []
    need, largest = together[0]
    fitting = next(
        (count for count in range(len(together), 0, -1) if sum(n for n, _ in needs[:count]) <= resources.memory), 0
    )
    advice = [f"set --workers {fitting}"] if fitting else []
    advice += _smaller(largest) if not fitting or fitting < workers else []
    return [
        f"memory: {len(together)} at a time need {_size(total)} ({largest.trial.folder}: {_size(need)}), "
        f"{_size(resources.memory)} are available; {', or '.join(advice)}"
    ]


def placement_on(one: TrialCost, resources: Resources) -> Placement:
    """How a trial's agents share the smallest card here; together where there is no card, or nothing is known."""
    if one.memory is None or not resources.gpus:
        return "together"
    return placement(one.memory, one.alone, min(resources.gpus), one.seen, one.trial.config.sampling.engine)


def _gpu(left: Sequence[TrialCost], workers: int, resources: Resources) -> list[str]:
    smallest = min(resources.gpus)
    for one in left:
        if one.memory is not None and placement_on(one, resources) == "refused":
            need = one.memory.on_card(one.seen)
            advice = _smaller(one)
            if each_fits(one.alone, smallest, one.seen):
                advice.append("set sampling.engine=transformers, with which agents take turns on the card")
            advice.append(f"share one trial among {math.ceil(need / smallest)} or more cards (docs/scaling.md)")
            return [
                f"GPU memory: {one.trial.folder} needs {_size(need)}, a card here has {_size(smallest)}; "
                f"{', or '.join(advice)}"
            ]
    return _away(left, workers, resources)


def _away(left: Sequence[TrialCost], workers: int, resources: Resources) -> list[str]:
    """Agents that take turns on a card wait in the machine's own memory."""
    turning = [one.memory for one in left if one.memory is not None and placement_on(one, resources) == "turns"]
    needs = sorted((memory.base + sum(memory.resident.values()) for memory in turning), reverse=True)[:workers]
    if sum(needs) <= resources.memory:
        return []
    return [
        f"memory: agents take turns on the card, and those who wait for it need {_size(sum(needs))} for {len(needs)} "
        f"trials at a time, {_size(resources.memory)} are available; set --workers lower, or update.adapter=lora"
    ]


def _need(one: TrialCost, memory: Memory) -> int:
    return memory.peak if one.seen else memory.least


def _smaller(one: TrialCost) -> list[str]:
    phase = one.memory.largest if one.memory is not None and one.seen else ""
    advice = [ADVICE[phase]] if phase else []
    return advice + (
        ["set update.adapter=lora"] if one.trial.config.update.adapter == "full" else ["take smaller models"]
    )


def _free_disk(folder: Path) -> int:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
