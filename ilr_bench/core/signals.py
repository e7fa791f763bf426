"""A wish to stop, by SIGTERM or SIGINT: noted when it comes, acted upon where everything is on the disk.

Whoever runs for long looks here between its steps. A process that never calls `install` is never asked to stop
this way: its signals do what they always do.
"""

from __future__ import annotations

import signal
from types import FrameType

from ilr_bench.core.errors import IlrError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_received: signal.Signals | None = None


class Stopped(IlrError):  # noqa: N818 (it reports no error)
    """Work ended early because it was asked to; what has been done is on the disk."""

    def __init__(self, message: str, number: int) -> None:
        """The exit status is that of a process which the signal `number` ends."""
        super().__init__(message)
        self.exit_status = 128 + number

    def __reduce__(self) -> tuple[type[Stopped], tuple[str, int]]:
        """Survives the way from a worker to the process that started it."""
        return type(self), (str(self), self.exit_status - 128)


def install() -> None:
    """Has SIGTERM and SIGINT noted in this process instead of ending it; call it in the main thread."""
    for number in SIGNALS:
        signal.signal(number, _note)


def received() -> int:
    """The signal that has asked this process to stop; 0 for none."""
    return 0 if _received is None else int(_received)


def stopped(number: int, where: str) -> Stopped:
    """What to raise after the signal `number`; `where` names what is safe, such as "step 4 of DIR"."""
    name = signal.Signals(number).name
    return Stopped(f"stopped by {name} after {where}; run the same command again to continue", number)


def stop_here(where: str) -> None:
    """Raises `stopped` if this process has been asked to stop."""
    if _received is not None:
        raise stopped(_received, where)


def _note(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
