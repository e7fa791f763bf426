"""Progress of a sweep: one screen with an estimate of the end on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from ilr_bench.core.console import note
from ilr_bench.study.launch.live_view import JobLine, View, render
from ilr_bench.study.launch.scheduler import Event
from ilr_bench.study.status import Progress, TrialWatch, best


class SweepProgress:
    """Shows what jobs have done of their units of work. Use it in a `with`, and call it with every news."""

    def __init__(
        self, phase: str, units: Mapping[str, float], out: Path | None = None, console: Console | None = None
    ) -> None:
        """`units`: job -> units of work it consists of; jobs that are folders of trials in `out` show their records."""
        self._phase, self._out = phase, out
        self._jobs = {name: JobLine(name, total) for name, total in units.items()}
        self._passed: list[JobLine] = []
        self._watches: dict[str, TrialWatch] = {}
        self._earlier: list[tuple[str, Progress]] = []
        self._retries = 0
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=2, transient=True)

    def add(self, units: Mapping[str, float]) -> None:
        """More jobs than were known at the start; one that has ended goes on from there, to more units than it had."""
        with self._lock:
            for name, total in units.items():
                before = self._jobs.setdefault(name, JobLine(name, total))
                if before.ended and not before.error and total > before.start + before.units:
                    self._passed.append(before)
                    self._jobs[name] = before.onwards(total)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._earlier = self._finished_before()
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Takes the news of one job."""
        with self._lock:
            job = self._jobs.setdefault(event.job, JobLine(event.job, max(event.done, 1.0)))
            job.take(event, time.monotonic())
            job.progress = self._look(event.job)
            self._retries += event.again
        if self._live is not None:
            if event.again or (event.ended and event.error):
                self._console.print(f"{event.job} {self._fate(event)}", markup=False, highlight=False)
        elif event.ended or event.again:
            self._say(event)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One screen, drawn by a thread of its own twice a second."""
        with self._lock:
            view = self._view()
            yield render(view, console.size.height)

    def _view(self) -> View:
        now = time.monotonic()
        known = [(name, job.progress) for name, job in self._jobs.items() if job.progress is not None]
        return View(
            phase=self._phase,
            jobs=(*self._passed, *self._jobs.values()),
            now=now,
            elapsed=now - self._start,
            retries=self._retries,
            best=best(self._earlier + known),
        )

    def _finished_before(self) -> list[tuple[str, Progress]]:
        folders = () if self._out is None else sorted(path.parent for path in self._out.glob("trials/*/result.json"))
        return [(f"trials/{folder.name}", TrialWatch(folder).look()) for folder in folders]

    def _look(self, name: str) -> Progress | None:
        if self._out is None or not (self._out / name / "config.json").exists():
            return None
        return self._watches.setdefault(name, TrialWatch(self._out / name)).look()

    def _fate(self, event: Event) -> str:
        reason = (event.error.strip().splitlines() or [""])[-1]
        if event.again:
            return f"starts again: {reason}"
        return f"failed: {reason}" if event.error else "done"

    def _say(self, event: Event) -> None:
        with self._lock:
            view = self._view()
        left = "" if view.left is None else f", about {view.left:.0f} s left"
        ended = sum(job.ended for job in view.jobs)
        note(f"{self._phase} {ended}/{len(view.jobs)}  {event.job} {self._fate(event)}  {view.elapsed:.0f} s{left}")
