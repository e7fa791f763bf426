"""How things are timed against each other, and where the seconds, tokens and memory of a step go.

On a CPU seconds are those that this process computes, all its threads together: on an idle machine with one thread
they are the seconds on the clock, and beside other work they stay what they are. On a GPU they are those on the clock
once the GPU is done.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.results import REST, BenchRow
from ilr_bench.storage.timing import Stopwatch, peak_memory

Clock = Callable[[], float]


def clock_of(device: str) -> Clock:
    """Seconds since some moment, as a device counts them."""
    return time.process_time if device == "cpu" else _gpu_time


def _gpu_time() -> float:
    # Torch takes seconds to import, and start-up is measured without it.
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def fastest(
    *calls: Callable[[], object], repeats: int = 3, warm: bool = True, clock: Clock = time.process_time
) -> tuple[float, ...]:
    """Fastest seconds of each, taken in turns, after one turn that warms up."""
    times: Sequence[list[float]] = [[] for _ in calls]
    for repeat in range(repeats + warm):
        for call, seconds in zip(calls, times, strict=True):
            start = clock()
            call()
            if repeat >= warm:
                seconds.append(clock() - start)
    return tuple(min(seconds) for seconds in times)


class MemoryWatch(Stopwatch):
    """A stopwatch that also notes each stage's own peak of memory, in MiB: resident, or allocated on a GPU."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path)
        self.device = device
        self.clock = clock_of(device)
        self.peaks: dict[str, int] = defaultdict(int)

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        """See `Stopwatch.watch`; a GPU's work counts to the stage that gave it."""
        forget_peak(self.device)
        with super().watch(stage):
            yield
            self.clock()
        self.peaks[stage] = max(self.peaks[stage], recent_peak(self.device))

    def clear(self) -> None:
        """Forgets the seconds and tokens of all stages; peaks stay."""
        for counted in (self._seconds, self._cpu, self._tokens):
            counted.clear()

    def rows(self, group: str, name: str, total: float, steps: int = 1) -> list[BenchRow]:
        """Means of `steps` steps that took `total` seconds since `clear`: each stage, what is left over, the whole."""
        taken = self._cpu if self.device == "cpu" else self._seconds
        found: list[BenchRow] = []
        for stage, seconds in taken.items():
            row: BenchRow = {
                "group": group,
                "what": f"{name}: {stage}",
                "ours": seconds / steps,
                "share": seconds / total,
            }
            row["memory"] = self.peaks[stage]
            if tokens := self._tokens[stage]:
                row |= {"tokens": tokens / steps, "tokens_per_second": tokens / seconds}
            found.append(row)
        rest = total - sum(taken.values())
        found.append({"group": group, "what": f"{name}: {REST}", "ours": rest / steps, "share": rest / total})
        whole: BenchRow = {"group": group, "what": f"{name}: whole step", "ours": total / steps}
        return [*found, whole | {"memory": max(self.peaks.values())}]


def forget_peak(device: str = "cpu") -> None:
    """Starts a new peak where the system can (Linux); elsewhere peaks are those of the process so far."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def recent_peak(device: str = "cpu") -> int:
    """Largest memory since `forget_peak`, in MiB."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated() // 2**20
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else peak_memory()
