"""Progress of a sweep: on a terminal one screen of what runs and what failed, elsewhere plain lines."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

SILENCE = 15.0
"""Seconds after which a plain line says that work goes on."""


@dataclass(frozen=True)
class Expected:
    """What a plan says of a sweep's jobs."""

    seconds: Mapping[str, float]
    """Job -> computing seconds that a unit of it is expected to take; 0 for jobs that tell nothing of the others."""
    workers: int
    is_timed: bool
    """Whether the seconds are a plan's; else they only say how units of one job compare with those of another."""


class SweepProgress:
    """Shows what jobs have done of their units of work. Use it in a `with`, and call it with every news."""

    def __init__(
        self,
        phase: str,
        units: Mapping[str, float],
        out: Path | None = None,
        console: Console | None = None,
        expect: Callable[[], Expected] | None = None,
    ) -> None:
        """`units`: job -> units of work it consists of; jobs that are folders of trials in `out` show their records.

        `expect` is asked at the start, and again when a job has ended that tells nothing of the others: it may have
        been what the plan needed. Without it every unit counts alike.
        """
        self._phase, self._out, self._expect = phase, out, expect
        self.to_come: Callable[[], float] = lambda: 0.0
        """Units of work in jobs that are still to be added, as many as are expected."""
        self._expected: Expected | None = None
        self._counted_from = self._said = time.monotonic()
        self._done = threading.Event()
        self._ticker: threading.Thread | None = None
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
        else:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        self.ask_plan()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._live is not None:
            self._live.stop()
        if self._ticker is not None:
            self._ticker.join()

    def ask_plan(self) -> None:
        """Asks again what is expected; called where jobs were added that change it."""
        if self._expect is not None:
            expected = self._expect()
            with self._lock:
                self._expected = expected

    def _weight(self, job: str) -> float:
        return 1.0 if self._expected is None else self._expected.seconds.get(job, 1.0)

    def _tick(self) -> None:
        """Breaks a silence of `SILENCE` seconds with a line, until the end."""
        while not self._done.wait(max(0.05, self._said + SILENCE - time.monotonic())):
            if time.monotonic() - self._said >= SILENCE:
                with self._lock:
                    running = [" ".join(_parts(job.name)).strip() for job in self._jobs.values() if job.running]
                self._line(f"working{': ' if running else ''}{', '.join(running[:3])}")

    def __call__(self, event: Event) -> None:
        """Takes the news of one job."""
        with self._lock:
            job = self._jobs.setdefault(event.job, JobLine(event.job, max(event.done, 1.0)))
            if event.begun:
                job.handed = True
                return
            job.take(event, time.monotonic())
            job.progress = self._look(event.job)
            self._retries += event.again
            others = any(line.done > line.begun_at for line in self._jobs.values() if self._weight(line.name))
            is_uncounted = event.ended and not self._weight(event.job)
            if is_uncounted and not others:
                self._counted_from = time.monotonic()
        if is_uncounted:
            self.ask_plan()
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
            weights={job.name: self._weight(job.name) for job in (*self._passed, *self._jobs.values())},
            since=now - self._counted_from,
            workers=self._expected.workers if self._expected is not None and self._expected.is_timed else None,
            to_come=self.to_come(),
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
        self._line(f"{event.job} {self._outcome(event)}")

    def _line(self, text: str) -> None:
        with self._lock:
            view = self._view()
            self._said = time.monotonic()
        left = "" if view.left is None else f", about {view.left:.0f} s left"
        ended = sum(job.ended for job in view.jobs)
        note(f"{self._phase} {ended}/{len(view.jobs)}  {text}  {view.elapsed:.0f} s{left}")


EARLY = 0.1
"""Fraction of the planned seconds below which the pace so far is no guide."""
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
    handed: bool = False
    """Whether a worker has it."""
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
        """Whether a worker has it and it has not ended."""
        return (self.handed or self.begun is not None) and not self.ended

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
    weights: Mapping[str, float] = field(default_factory=dict)
    """Job -> what a unit of it weighs in the estimate, such as expected seconds; 1 where nothing is said."""
    since: float | None = None
    """Seconds since jobs began that have a part in the estimate; None: since the start."""
    workers: int | None = None
    """How many work, where the weights are seconds that a plan expects; else None."""
    to_come: float = 0.0
    """Units of work in jobs that are not known yet; one weighs what those of the known jobs do on the average."""

    @property
    def done_fraction(self) -> float:
        """Of all units, those that are done."""
        return sum(job.done for job in self.jobs) / max(sum(job.units for job in self.jobs) + self.to_come, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds to the end at the pace so far, or by the plan as long as hardly anything of it is done.

        What was done before the start does not count as fast.
        """
        weights = [self.weights.get(job.name, 1.0) for job in self.jobs]
        parts = list(zip(self.jobs, weights, strict=True))
        done = sum(weight * (job.done - min(job.begun_at, job.done)) for job, weight in parts)
        remaining = sum(weight * (job.units - job.done) for job, weight in parts)
        if self.to_come:
            counted = [(job.units, weight) for job, weight in parts if weight]
            mean = sum(size * weight for size, weight in counted) / sum(size for size, _ in counted) if counted else 1.0
            remaining += mean * self.to_come
        if self.workers is not None and done < EARLY * (done + remaining):
            return remaining / self.workers
        return (self.elapsed if self.since is None else self.since) / done * remaining if done else None


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
