"""How long jobs take on several workers: each free worker takes the first job whose needs are done."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job with its length."""

    name: str
    seconds: float
    needs: tuple[str, ...] = ()


def makespan(tasks: Sequence[Task], workers: int) -> float:
    """Seconds until the last task ends, started in the order given by as many workers.

    Needs that are no task here count as done. Raises ValueError where tasks need each other.
    """
    names = {task.name for task in tasks}
    waiting, done = list(tasks), set[str]()
    running: list[tuple[float, int, str]] = []
    now = 0.0
    for number in range(len(tasks)):
        while (task := _next(waiting, done, names)) is None or len(running) == workers:
            if not running:
                raise ValueError(f"tasks need each other: {', '.join(one.name for one in waiting)}")
            now, _, ended = heapq.heappop(running)
            done.add(ended)
        waiting.remove(task)
        heapq.heappush(running, (now + task.seconds, number, task.name))
    return max((end for end, _, _ in running), default=now)


def _next(waiting: Sequence[Task], done: set[str], names: set[str]) -> Task | None:
    return next((task for task in waiting if all(need in done or need not in names for need in task.needs)), None)
