"""How far an evaluation is: a bar with the time that is left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


class Watcher(Protocol):
    """Is told what has been answered."""

    def begin(self, benchmark: str) -> None:
        """The next answers belong to this benchmark."""
        ...

    def answered(self, count: int, tokens: int) -> None:
        """So many answers more are there, with so many new tokens in all (0: they were there before)."""
        ...


class Nobody:
    """Watches nothing."""

    def begin(self, benchmark: str) -> None:
        """Nothing."""

    def answered(self, count: int, tokens: int) -> None:
        """Nothing."""


class Lines:
    """A line on stderr when a benchmark begins, and at most one every half minute."""

    def __init__(self, total: int) -> None:
        """`total`: answers of all benchmarks."""
        self._total = total
        self._done = self._new = self._tokens = 0
        self._start = self._last = time.monotonic()
        self._benchmark = ""

    def begin(self, benchmark: str) -> None:
        """See `Watcher.begin`."""
        self._benchmark = benchmark
        self._say()

    def answered(self, count: int, tokens: int) -> None:
        """See `Watcher.answered`."""
        self._done += count
        self._tokens += tokens
        self._new += count if tokens else 0
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        self._last = time.monotonic()
        seconds = self._last - self._start
        text = f"{self._benchmark}: {self._done} of {self._total} answers"
        if self._new:
            left = seconds / self._new * (self._total - self._done)
            text += f", {self._tokens / seconds:.0f} tokens a second, about {_minutes(left)} left"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Bar:
    """A bar over all answers of all benchmarks."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def begin(self, benchmark: str) -> None:
        """See `Watcher.begin`."""
        self._progress.update(self._task, description=benchmark)

    def answered(self, count: int, tokens: int) -> None:
        """See `Watcher.answered`."""
        self._progress.advance(self._task, count)


@contextmanager
def watching(total: int, lines: bool) -> Iterator[Watcher]:
    """A bar where stderr is a terminal of this process's own; else lines, where they are wanted.

    A worker process shares the terminal with the process that started it, which draws bars of its own.
    """
    console = Console(stderr=True)
    if parent_process() is None and console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield Bar(progress, total)
    else:
        yield Lines(total) if lines else Nobody()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
