"""Progress of a sweep: on a terminal one screen of what runs and what failed, elsewhere plain lines."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ilr_bench.core.console import note
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
                self._console.print(f"{event.job} {self._outcome(event)}", markup=False, highlight=False)
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

    def _outcome(self, event: Event) -> str:
        reason = (event.error.strip().splitlines() or [""])[-1]
        if event.again:
            return f"starts again: {reason}"
        return f"failed: {reason}" if event.error else "done"

    def _say(self, event: Event) -> None:
        with self._lock:
            view = self._view()
        left = "" if view.left is None else f", about {view.left:.0f} s left"
        ended = sum(job.ended for job in view.jobs)
        note(f"{self._phase} {ended}/{len(view.jobs)}  {event.job} {self._outcome(event)}  {view.elapsed:.0f} s{left}")


COLUMNS = ("variant", "models", "seed", "state", "step", "validation", "left")
LINES_AROUND = 6
"""Of a screen: the table's head, the totals, and a spare line."""


@dataclass
class JobLine:
    """What is known of one job."""

    name: str
    units: float
    done: float = 0.0
    begun: float | None = None
    """When its first news came, on the clock of the view; None before."""
    begun_at: float = 0.0
    """Units that were done by then (a resumed trial has done some)."""
    ended: bool = False
    error: str = ""
    attempts: int = 1
    progress: Progress | None = None
    """Of a trial that has begun."""
    start: float = 0.0
    """Units of the same trial that belong to an earlier job, which took it a part of its way."""

    def take(self, event: Event, now: float) -> None:
        """Takes news in."""
        if self.begun is None or event.again:
            self.begun, self.begun_at = now, max(event.done - self.start, 0.0)
        self.attempts += event.again
        self.ended, self.error = event.ended, event.error if event.ended else ""
        self.done = self.units if event.ended else min(max(event.done - self.start, 0.0), self.units)

    def onwards(self, units: float) -> JobLine:
        """The job that takes the same trial further, to `units` from its first one."""
        start = self.start + self.units
        return JobLine(self.name, units - start, start=start)

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.begun is not None and not self.ended

    def left(self, now: float) -> float | None:
        """Seconds to its end at its own pace; None where that is not known yet."""
        if self.begun is None or self.done <= self.begun_at:
            return None
        return (now - self.begun) / (self.done - self.begun_at) * (self.units - self.done)


@dataclass(frozen=True)
class View:
    """Everything that is shown."""

    phase: str
    jobs: tuple[JobLine, ...]
    now: float
    elapsed: float
    """Seconds since the start."""
    retries: int
    best: tuple[str, float] | None

    @property
    def done_fraction(self) -> float:
        """Of all units, those that are done."""
        return sum(job.done for job in self.jobs) / max(sum(job.units for job in self.jobs), 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds to the end at the pace so far; what was done before the start does not count as fast."""
        done = sum(job.done - min(job.begun_at, job.done) for job in self.jobs)
        remaining = sum(job.units - job.done for job in self.jobs)
        return self.elapsed / done * remaining if done else None


def render(view: View, height: int, now: datetime.datetime | None = None) -> RenderableType:
    """The view as at most `height` lines; `now`: the time of day, for the estimated end."""
    failed = [job for job in view.jobs if job.ended and job.error]
    running = [job for job in view.jobs if job.running]
    shown = (failed + running)[: max(height - LINES_AROUND, 1)]
    table = Table(box=None, pad_edge=False, expand=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("variant", "models", "state") else "right", no_wrap=True)
    for job in shown:
        table.add_row(*_row(job, view.now), style="red" if job.error else None)
    finished = sum(job.ended and not job.error for job in view.jobs)
    waiting = len(view.jobs) - finished - len(failed) - len(running)
    hidden = len(failed) + len(running) - len(shown)
    counts = [f"{finished} finished", f"{len(running)} running", f"{waiting} waiting", f"{len(failed)} failed"]
    counts += [f"{view.retries} started again"] if view.retries else []
    counts += [f"{hidden} not shown"] if hidden else []
    summary = Table.grid(padding=(0, 1))
    summary.add_row(
        f"{view.phase} {finished + len(failed)}/{len(view.jobs)}",
        ProgressBar(total=1.0, completed=view.done_fraction, width=30),
        f"{view.done_fraction:4.0%}",
        _end(view, now or datetime.datetime.now().astimezone()),
    )
    lines: list[RenderableType] = [table, summary, Text(", ".join(counts), no_wrap=True, overflow="ellipsis")]
    if view.best is not None:
        name, value = view.best
        lines.append(Text(f"best so far: {_name(name)}, {value:.1%} on validation", no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


def _row(job: JobLine, now: float) -> tuple[str, ...]:
    variant, models, seed = _parts(job.name)
    state = "failed" if job.error else "running" if job.attempts == 1 else f"attempt {job.attempts}"
    progress, left = job.progress, job.left(now)
    step = validation = ""
    if progress is not None:
        step = f"{progress.step}/{progress.steps}"
        if not job.error and progress.steps is not None and progress.step >= progress.steps:
            state = "evaluating" if job.attempts == 1 else f"evaluating, attempt {job.attempts}"
        validation = "" if progress.validation is None else f"{progress.validation:.1%}"
    return variant, models, seed, state, step, validation, "" if left is None or job.error else duration(left)


def _parts(name: str) -> tuple[str, str, str]:
    """Variant, models and seed of a trial's folder; another job's name stands alone."""
    parts = name.removeprefix("trials/").rsplit("-", 3)
    return (parts[0], parts[1], parts[2]) if name.startswith("trials/") and len(parts) == 4 else (name, "", "")


def _name(name: str) -> str:
    return " ".join(filter(None, _parts(name)))


def _end(view: View, now: datetime.datetime) -> str:
    if view.left is None:
        return f"{duration(view.elapsed)} so far"
    end = now + datetime.timedelta(seconds=view.left)
    clock = end.strftime("%H:%M" if end.date() == now.date() else "%Y-%m-%d %H:%M")
    return f"{duration(view.elapsed)} so far, {duration(view.left)} left, ends about {clock}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"
