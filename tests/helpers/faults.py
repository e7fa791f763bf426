"""Kills and failing disks at stated moments, in forked children: `die_at`, `fail_at`, and `attempt` to run under them.

A moment is the n-th time that a process is about to change something in a folder (open a file to write, sync, rename,
remove, make or empty one), the byte of a file that the disk does not take any more, or the n-th call of a function.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import IlrError

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "open"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Changes:
    """Counts changes to a folder in this process, and calls `act` at the moment `at` (from 1), before the change."""

    def __init__(self, folder: Path, at: int, act: Callable[[], None]) -> None:
        self.folder, self.at, self.act = str(folder), at, act
        self.seen = 0
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(self.folder):
                self._count()
            sync(descriptor)

        os.fsync = fsync
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        path = str(given[0])
        inside = path.startswith(self.folder) or (event in ("os.remove", "os.rmdir") and given[1] != -1)  # of rmtree
        idle = (event == "open" and not given[2] & WRITES) or (event == "os.mkdir" and Path(path).is_dir())
        if inside and not idle:
            self._count()

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.act()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die_at_byte(size: int) -> None:
    """Ends this process in the middle of the write that takes a file past `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_at_call(owner: Any, name: str, number: int, after: bool = False) -> None:
    """Ends this process at the n-th call of a function or method, before or after what it does."""
    function, calls = getattr(owner, name), [0]

    def counted(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and not after:
            die()
        result = function(*given, **named)
        if calls[0] == number and after:
            die()
        return result

    setattr(owner, name, counted)


def attempt(work: Callable[[], None], arm: Callable[[], object] = lambda: None) -> str:
    """How a forked child ended that was armed and did its work: "done", "killed", or an error's type and text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            arm()
            work()
            said = "done"
        except BaseException as error:  # noqa: BLE001 (it is told to the parent, whatever it is)
            said = f"{type(error).__name__}: {error}"
            if not isinstance(error, IlrError):
                traceback.print_exc()
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else said


def last_change(work: Callable[[], None], folder: Path) -> int:
    """How many changes some work makes to a folder."""
    reader, writer = os.pipe()

    def counted() -> None:
        changes = Changes(folder, 0, die)
        work()
        os.write(writer, str(changes.seen).encode())

    assert attempt(counted) == "done"
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return int(pipe.read())
