"""Ctrl-C and SIGTERM in the process that runs a study: the first one asks, the second one insists."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ilr_bench.core.signals import SIGNALS


class Interrupt:
    """Which signal has come, and a descriptor that becomes readable when one does."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._reader, self._writer = os.pipe()

    def fileno(self) -> int:
        """For `select` and the like."""
        return self._reader

    def come(self, number: int) -> None:
        """Notes a signal; raises KeyboardInterrupt if it is not the first."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        os.write(self._writer, b".")

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def interruptible() -> Iterator[Interrupt | None]:
    """Has SIGINT and SIGTERM noted while it lasts; None outside the main thread, which alone may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    interrupt = Interrupt()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt.come(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupt.close()
