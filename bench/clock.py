"""What a second is, and how things are timed side by side.

On a CPU seconds are those that this process computes, all its threads together: on an idle machine with one thread
they are the seconds on the clock, and beside other work they stay what they are. On a GPU they are those on the clock
once the GPU is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch


def now(device: str = "cpu") -> float:
    """Seconds since some moment."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def side_by_side(
    *calls: Callable[[], object], repeats: int = 3, device: str = "cpu", warm: bool = True
) -> tuple[float, ...]:
    """Fastest seconds of each, taken in turns, after one turn that warms up."""
    times: Sequence[list[float]] = [[] for _ in calls]
    for repeat in range(repeats + warm):
        for call, seconds in zip(calls, times, strict=True):
            start = now(device)
            call()
            if repeat >= warm:
                seconds.append(now(device) - start)
    return tuple(min(seconds) for seconds in times)
