"""Where a training step's seconds, tokens and memory go: `python -m bench.step [--agents 1,2] [--steps 3]`.

Each number of agents is measured in a process of its own, on the real loop with the models of the micro profile,
from optimizer step to optimizer step; the first step warms up and is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilr_bench import ilr
from ilr_bench.config import RunConfig, change
from ilr_bench.grading import Grader
from ilr_bench.lineup import seat_agents
from ilr_bench.profiles import profile
from ilr_bench.records import DialogueRecord, StepRecord
from ilr_bench.store import Artifacts, append_records
from ilr_bench.timing import Stopwatch, peak_memory
from ilr_bench.trial import open_classroom

NOT_OVERHEAD = ("sharing", "analysis", "fusion", "grading", "update")
"""Sampling, grading and updating; the rest of a step is what the laboratory costs."""


class MemoryWatch(Stopwatch):
    """A stopwatch that also notes each stage's own peak of resident memory, in MiB."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.peaks: dict[str, int] = defaultdict(int)

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        """See `Stopwatch.watch`."""
        forget_peak()
        with super().watch(stage):
            yield
        self.peaks[stage] = max(self.peaks[stage], recent_peak())


def forget_peak() -> None:
    """Starts a new peak where the system can (Linux); elsewhere peaks are those of the process so far."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def recent_peak() -> int:
    """Largest resident memory since `forget_peak`, in MiB."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else peak_memory()


def run_steps(config: RunConfig, folder: Path) -> dict[str, int]:
    """Trains for the configured steps, leaves timing and records in `folder`; peak memory by stage."""
    watch = MemoryWatch(folder / "timing.jsonl")

    def finished(step: int, steps: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
        append_records(folder / "train.jsonl", steps)
        append_records(folder / "dialogues.jsonl", dialogues)
        watch.write(step)

    with Grader() as grader:
        seats = seat_agents(config)
        room, _ = open_classroom(config, seats, Artifacts(folder / "artifacts"), grader, watch)
        watch.write(0)
        ilr.train(config, room, 1, finished)
    return dict(watch.peaks)


def summarise(timing: Path, peaks: dict[str, int]) -> dict[str, Any]:
    """Per stage seconds and tokens of a step, and what is left over, over all steps but the first."""
    lines = [json.loads(line) for line in timing.read_text().splitlines()]
    steps = max(line["step"] for line in lines)
    kept = [line for line in lines if line["step"] > min(1, steps - 1)]
    count = len({line["step"] for line in kept})
    stages: dict[str, dict[str, float]] = {}
    for line in kept:
        stage = stages.setdefault(line["stage"], {"seconds": 0.0, "tokens": 0.0})
        stage["seconds"] += line["seconds"] / count
        stage["tokens"] += line.get("tokens", 0) / count
    total = stages.pop("total")["seconds"]
    for name, stage in stages.items():
        stage["memory"] = peaks.get(name, 0)
    work = sum(stage["seconds"] for name, stage in stages.items() if name in NOT_OVERHEAD)
    return {"steps": count, "seconds": total, "overhead": 1 - work / total, "stages": stages}


def measure_in_child(models: tuple[str, ...], steps: int) -> dict[str, Any]:
    """One group of agents, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "found.json")
        command = [sys.executable, "-m", "bench.step", "--models", ",".join(models), "--steps", str(steps)]
        subprocess.run(
            [*command, "--child", name, "--out", str(out)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def configuration(models: tuple[str, ...], steps: int) -> RunConfig:
    """The micro profile with these models; one agent answers alone."""
    changes: dict[str, Any] = {"models": list(models), "training.steps": steps, "training.validate_every": 0}
    if len(models) == 1:
        changes |= {"discussion.stages": ["sharing"], "discussion.trained_turns": "sharing", "calibration.kind": "none"}
    return change(profile("micro"), changes)


def show(agents: int, found: dict[str, Any]) -> None:
    """One table."""
    print(f"{agents} agent{'s' if agents > 1 else ''}: {found['seconds']:.3f} s per step over {found['steps']} steps")
    print(f"  {'stage':12} {'seconds':>9} {'share':>7} {'tokens':>9} {'tokens/s':>9} {'MiB':>6}")
    for name, stage in found["stages"].items():
        seconds, tokens = stage["seconds"], stage["tokens"]
        speed = f"{tokens / seconds:9.0f}" if tokens else " " * 9
        share = seconds / found["seconds"]
        print(f"  {name:12} {seconds:9.3f} {share:7.1%} {tokens:9.0f} {speed} {stage['memory']:6.0f}")
    print(f"  neither sampling, grading nor update: {found['overhead']:.1%}\n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `python -m bench` and `python -m bench.step` have in common."""
    parser.add_argument("--agents", default="1,2", help="numbers of agents")
    parser.add_argument("--models", default=",".join(profile("micro").pool), help="the agents' models, in order")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and shows each number of agents."""
    results, models = {}, tuple(arguments.models.split(","))
    for agents in map(int, arguments.agents.split(",")):
        results[f"{agents} agents"] = found = measure_in_child(models[:agents], arguments.steps)
        show(agents, found)
    return results


def write(results: dict[str, Any], out: Path | None) -> None:
    """The numbers as JSON, where a place for them was named."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        config = configuration(tuple(arguments.models.split(",")), arguments.steps)
        peaks = run_steps(config, arguments.child)
        write(summarise(arguments.child / "timing.jsonl", peaks), arguments.out)
    else:
        write(measure_all(arguments), arguments.out)


if __name__ == "__main__":
    main()
