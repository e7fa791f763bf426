"""What people see on the terminal: notes on stderr, errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ilr_bench.core.errors import IlrError
from ilr_bench.core.extras import missing_extra


def note(text: str) -> None:
    """One line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - only this module prints


def say(text: str) -> None:
    """A result on stdout."""
    print(text, flush=True)  # noqa: T201 - only this module prints


def say_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns of equal width, a line per row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def fail_in_one_line() -> Iterator[None]:
    """Turns errors that a user can mend into one line and their exit status."""
    try:
        yield
    except IlrError as error:
        note(f"error: {error}")
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        note(f"error: {missing}")
        sys.exit(missing.exit_status)
    except KeyboardInterrupt:
        note("interrupted; run the same command again to continue")
        sys.exit(130)
