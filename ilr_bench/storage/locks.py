"""Waiting for what another process is making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ilr_bench.core.heartbeat import beat

SECONDS_BETWEEN_SIGNS = 1.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds a lock file; while another process holds it, this one waits and says that it is alive.

    A process that dies lets go of what it holds.
    """
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=SECONDS_BETWEEN_SIGNS)
        except Timeout:
            beat()
    try:
        yield
    finally:
        lock.release()
