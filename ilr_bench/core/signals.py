"""Signals that ask this process to stop, and the heartbeat that shows it is alive."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ilr_bench.core.errors import IlrError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""SIGUSR2 is the warning that SLURM gives before a job's time is over."""
_received: signal.Signals | None = None


class Stopped(IlrError):  # noqa: N818 (it reports no error)
    """Work ended early because it was asked to; what has been done is on the disk."""

    def __init__(self, message: str, number: int) -> None:
        """The exit status is that of a process which the signal `number` ends."""
        super().__init__(message)
        self.exit_status = 128 + number

    def __reduce__(self) -> tuple[type[Stopped], tuple[str, int]]:
        """Pickles, since workers raise it to the process that started them."""
        return type(self), (str(self), self.exit_status - 128)


def install() -> None:
    """Has SIGNALS noted in this process instead of ending it; call it in the main thread."""
    for number in SIGNALS:
        signal.signal(number, _note)


def received() -> int:
    """Number of the signal that has asked this process to stop; 0 for none."""
    return 0 if _received is None else int(_received)


def stopped(number: int, where: str) -> Stopped:
    """The error for a stop by signal `number`; `where` names what is saved, such as "step 4 of DIR"."""
    name = signal.Signals(number).name
    return Stopped(f"stopped by {name} after {where}; run the same command again to continue", number)


def stop_here(where: str) -> None:
    """Raises `stopped` if this process has been asked to stop."""
    if _received is not None:
        raise stopped(_received, where)


def _note(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)


class Interrupt:
    """Which signal has come, and a descriptor that becomes readable when one does."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._reader, self._writer = os.pipe()

    def fileno(self) -> int:
        """For `select` and the like."""
        return self._reader

    def receive(self, number: int) -> None:
        """Notes a signal; raises KeyboardInterrupt if it is not the first."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        os.write(self._writer, b".")

    def close(self) -> None:
        """Closes the descriptors."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def interruptible() -> Iterator[Interrupt | None]:
    """Has SIGNALS noted while it lasts; None outside the main thread, which alone may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    interrupt = Interrupt()
    before = {number: signal.signal(number, lambda number, _: interrupt.receive(number)) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupt.close()


_subscriber: Callable[[], None] | None = None


def send_heartbeat() -> None:
    """Calls the subscriber, if any: work goes on; cheap enough for every batch."""
    if _subscriber is not None:
        _subscriber()


def subscribe_heartbeat(subscriber: Callable[[], None] | None) -> None:
    """Makes `subscriber` the only one, called at every heartbeat; None for no one."""
    global _subscriber
    _subscriber = subscriber
