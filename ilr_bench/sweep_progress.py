"""Progress of a sweep: bars with an estimate of the end on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ilr_bench.console import note
from ilr_bench.executor import Event


class SweepProgress:
    """Shows what the jobs of one phase have done of their units of work."""

    def __init__(self, phase: str, units: dict[str, float]) -> None:
        """`units`: job -> units of work it consists of."""
        self._phase = phase
        self._units = units
        self._done = dict.fromkeys(units, 0.0)
        self._ended = 0
        self._start = time.perf_counter()
        console = Console(stderr=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
            )
            self._all = self._bars.add_task(f"[bold]{phase}", total=sum(units.values()))

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Takes the news of one job."""
        if event.job not in self._units:
            return
        self._done[event.job] = self._units[event.job] if event.ended else event.done
        self._ended += event.ended
        if self._bars is not None:
            self._update_bars(self._bars, event)
        elif event.ended:
            elapsed = time.perf_counter() - self._start
            share = sum(self._done.values()) / max(sum(self._units.values()), 1e-9)
            left = elapsed / share - elapsed if share else 0.0
            state = "failed" if event.error else "done"
            count = f"{self._phase} {self._ended}/{len(self._units)}"
            note(f"{count}  {event.job} {state}  {elapsed:.0f} s, about {left:.0f} s left")

    def _update_bars(self, bars: Progress, event: Event) -> None:
        if event.job not in self._tasks:
            self._tasks[event.job] = bars.add_task(event.job, total=self._units[event.job])
        bars.update(self._tasks[event.job], completed=self._done[event.job], visible=not event.ended)
        bars.update(self._all, completed=sum(self._done.values()))
        if event.ended and event.error:
            bars.console.print(f"{event.job} failed")
