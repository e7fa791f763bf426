"""Signs of life: whoever works for long calls `beat` between its pieces; without a listener that does nothing."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def beat() -> None:
    """Says that this process still gets on with its work; cheap enough for every batch."""
    if _listener is not None:
        _listener()


def listen(listener: Callable[[], None]) -> None:
    """Has every sign of life passed to `listener`."""
    global _listener
    _listener = listener
