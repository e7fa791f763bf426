"""Parts side by side, as many as workers and memory allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

from bench.parts import Part


def side_by_side(parts: Sequence[Part], workers: int, memory: int, take: Callable[[Part], None]) -> None:
    """Calls `take` once for every part, `workers` at a time, parts in progress together within `memory` bytes.

    One worker keeps to the order; several begin with the part that needs most memory, so that small ones fit beside it.
    A part that needs more than all of it runs alone. After an error nothing else begins, and the error is raised.
    """
    waiting = sorted(parts, key=lambda part: -part.memory) if workers > 1 else list(parts)
    running: list[Part] = []
    changed = Condition()

    def fitting() -> Part | None:
        used = sum(part.memory for part in running)
        return next((part for part in waiting if not running or used + part.memory <= memory), None)

    def lane() -> None:
        while True:
            with changed:
                changed.wait_for(lambda: not waiting or fitting())
                part = fitting()
                if part is None:
                    return
                waiting.remove(part)
                running.append(part)
            taken = False
            try:
                take(part)
                taken = True
            finally:
                with changed:
                    running.remove(part)
                    if not taken:
                        waiting.clear()
                    changed.notify_all()

    with ThreadPoolExecutor(workers) as pool:
        lanes = [pool.submit(lane) for _ in range(workers)]
        try:
            for one in lanes:
                one.result()
        finally:
            with changed:
                waiting.clear()
