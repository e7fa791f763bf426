"""Seconds, tokens and memory: one line per step and stage in `timing.jsonl`, outside every hash."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ilr_bench.core.hardware import machine
from ilr_bench.storage.files import explained, readable_lines


class Stopwatch:
    """Adds up seconds and tokens by stage, and writes them out once a step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = defaultdict(float)
        self._cpu: dict[str, float] = defaultdict(float)
        self._tokens: dict[str, int] = defaultdict(int)
        self._prompts: dict[str, int] = defaultdict(int)
        self._lap = time.perf_counter()
        self._cpu_lap = time.process_time()
        self._written = False

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        """Times what runs inside as part of a stage; stages are not nested."""
        start, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - start
            self._cpu[stage] += time.process_time() - cpu

    def count(self, stage: str, tokens: int, longest_prompt: int = 0) -> None:
        """Adds tokens that a stage sampled or trained on, and notes those of its longest prompt."""
        self._tokens[stage] += tokens
        self._prompts[stage] = max(self._prompts[stage], longest_prompt)

    def write(self, step: int) -> None:
        """One line per stage, and `total`: everything since the last call, with the peak memory in MiB.

        `seconds` are those on the clock, `cpu` those that this process computed (its children's are not among them).
        The first `total` of a process names the machine: a trial may be continued on another one.
        """
        now, cpu = time.perf_counter(), time.process_time()
        lines = [
            {"step": step, "stage": stage, "seconds": round(seconds, 6), "cpu": round(self._cpu[stage], 6)}
            | {"tokens": self._tokens[stage]}
            | ({"longest_prompt": self._prompts[stage]} if self._prompts[stage] else {})
            for stage, seconds in self._seconds.items()
        ]
        spent = {"seconds": round(now - self._lap, 6), "cpu": round(cpu - self._cpu_lap, 6)}
        total = {"step": step, "stage": "total", **spent, "memory": peak_memory()}
        lines.append(total if self._written else total | {"machine": machine()})
        with explained(self._path):
            if not self._written:
                _drop_torn_line(self._path)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._written = True
        for sums in (self._seconds, self._cpu, self._tokens, self._prompts):
            sums.clear()
        self._lap, self._cpu_lap = time.perf_counter(), time.process_time()


def stage_seconds(paths: Iterable[Path], clock: Literal["seconds", "cpu"] = "seconds") -> dict[str, float]:
    """Seconds by stage over several `timing.jsonl`, `total` included; a missing file or a torn line counts as empty.

    `cpu`: seconds of computing instead of those on the clock; lines of older versions do not hold them and count 0.
    """
    seconds: dict[str, float] = defaultdict(float)
    for path in paths:
        for entry in readable_lines(path):
            if isinstance(value := entry.get(clock, 0.0), int | float):
                seconds[str(entry.get("stage"))] += value
    return dict(seconds)


def _drop_torn_line(path: Path) -> None:
    """Removes the incomplete last line of a killed process."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
