"""Where a training step's seconds, tokens and memory go: `python -m bench.step [--models A,B] [--steps 3]`.

The real loop with the models of the micro profile, from optimizer step to optimizer step; the first step warms up
and is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.clock import now
from bench.rows import Row
from ilr_bench import ilr
from ilr_bench.config import RunConfig, change
from ilr_bench.grading import Grader
from ilr_bench.lineup import seat_agents
from ilr_bench.models.base import MODELS
from ilr_bench.profiles import profile
from ilr_bench.records import DialogueRecord, StepRecord
from ilr_bench.store import Artifacts, append_records
from ilr_bench.timing import Stopwatch, peak_memory
from ilr_bench.trial import open_classroom

REST = "neither sampling, grading nor update"
NOT_OVERHEAD = ("sharing", "analysis", "fusion", "grading", "update")
"""Sampling, grading and updating; the rest of a step is what the laboratory costs."""


class MemoryWatch(Stopwatch):
    """A stopwatch that also notes each stage's own peak of memory, in MiB: resident, or allocated on a GPU."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path)
        self.device = device
        self.peaks: dict[str, int] = defaultdict(int)

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        """See `Stopwatch.watch`; a GPU's work counts to the stage that gave it."""
        forget_peak(self.device)
        with super().watch(stage):
            yield
            now(self.device)
        self.peaks[stage] = max(self.peaks[stage], recent_peak(self.device))

    def clear(self) -> None:
        """Forgets the seconds and tokens of all stages."""
        for counted in (self._seconds, self._cpu, self._tokens):
            counted.clear()

    def taken(self) -> dict[str, tuple[float, int]]:
        """Seconds (see `bench.clock`) and tokens by stage since `clear`."""
        seconds = self._cpu if self.device == "cpu" else self._seconds
        return {stage: (spent, self._tokens[stage]) for stage, spent in seconds.items()}


def forget_peak(device: str = "cpu") -> None:
    """Starts a new peak where the system can (Linux); elsewhere peaks are those of the process so far."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def recent_peak(device: str = "cpu") -> int:
    """Largest memory since `forget_peak`, in MiB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() // 2**20
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else peak_memory()


def run_steps(config: RunConfig, folder: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Trains for the configured steps, leaves timing and records in `folder`.

    Seconds of what came before the first step, and peak memory by stage.
    """
    watch = MemoryWatch(folder / "timing.jsonl")

    def finished(step: int, steps: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
        append_records(folder / "train.jsonl", steps)
        append_records(folder / "dialogues.jsonl", dialogues)
        watch.write(step)

    with Grader() as grader:
        start = now()
        seats = seat_agents(config)
        seated = now()
        room, _ = open_classroom(config, seats, Artifacts(folder / "artifacts"), grader, watch)
        before = {"reading the models": seated - start, "difficulty and ability, once a study": now() - seated}
        watch.write(0)
        ilr.train(config, room, 1, finished)
    return before, dict(watch.peaks)


def summarise(timing: Path, peaks: dict[str, int]) -> dict[str, Any]:
    """Per stage CPU seconds and tokens of a step, and what is left over, over all steps but the first."""
    lines = [json.loads(line) for line in timing.read_text().splitlines()]
    steps = max(line["step"] for line in lines)
    kept = [line for line in lines if line["step"] > min(1, steps - 1)]
    count = len({line["step"] for line in kept})
    stages: dict[str, dict[str, float]] = {}
    for line in kept:
        stage = stages.setdefault(line["stage"], {"seconds": 0.0, "tokens": 0.0})
        stage["seconds"] += line["cpu"] / count
        stage["tokens"] += line.get("tokens", 0) / count
    total = stages.pop("total")["seconds"]
    for name, stage in stages.items():
        stage["memory"] = peaks.get(name, 0)
    work = sum(stage["seconds"] for name, stage in stages.items() if name in NOT_OVERHEAD)
    return {"steps": count, "seconds": total, "overhead": 1 - work / total, "stages": stages}


def measure(models: tuple[str, ...], steps: int) -> list[Row]:
    """Reading the models, what is measured before the first step, and the stages of a step."""
    for model in models:
        MODELS.get(model).prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, peaks = run_steps(configuration(models, steps), folder)
        found = summarise(folder / "timing.jsonl", peaks)
    agents = f"{len(models)} agent{'s' if len(models) > 1 else ''}"
    rows: list[Row] = [{"what": f"{agents}: {what}", "ours": seconds} for what, seconds in before.items()]
    for stage, spent in found["stages"].items():
        row: Row = {
            "what": f"{agents}: {stage}",
            "ours": spent["seconds"],
            "share": spent["seconds"] / found["seconds"],
        }
        row["memory"] = spent["memory"]
        if spent["tokens"]:
            row |= {"tokens": spent["tokens"], "tokens_per_second": spent["tokens"] / spent["seconds"]}
        rows.append(row)
    rest = found["overhead"]
    rows.append({"what": f"{agents}: {REST}", "ours": rest * found["seconds"], "share": rest})
    rows.append({"what": f"{agents}: whole step", "ours": found["seconds"], "memory": max(peaks.values())})
    return rows


def configuration(models: tuple[str, ...], steps: int) -> RunConfig:
    """The micro profile with these models; one agent answers alone."""
    changes: dict[str, Any] = {"models": list(models), "training.steps": steps, "training.validate_every": 0}
    if len(models) == 1:
        changes |= {"discussion.stages": ["sharing"], "discussion.trained_turns": "sharing", "calibration.kind": "none"}
    return change(profile("micro"), changes)


def write(results: dict[str, Any], out: Path | None) -> None:
    """The numbers as JSON, where a place for them was named."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(profile("micro").models), help="the agents' models, in order")
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    for row in measure(tuple(arguments.models.split(",")), arguments.steps):
        share = f"{row['share']:7.1%}" if "share" in row else ""
        print(f"{row['what']:60} {row['ours']:9.3f} s {share:>7} {row.get('tokens_per_second', 0):9.0f} tokens/s")


if __name__ == "__main__":
    main()
