"""Futures of work that was done at once, and of answers that are waited for only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def finished(value: T) -> Future[T]:
    """A future that has its result."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


class Awaited(Future[T]):
    """Calls `wait` for its result, once, where that is first asked for; what it raises is raised there."""

    def __init__(self, wait: Callable[[], T]) -> None:
        super().__init__()
        self._wait = wait

    def result(self, timeout: float | None = None) -> T:
        """The result; `wait` has its own patience, so `timeout` bounds nothing here."""
        if not self.done():
            self.set_result(self._wait())
        return super().result(timeout)
