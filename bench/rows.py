"""A measured row, and the work that its seconds are held against."""

from __future__ import annotations

from typing import TypedDict


class Row(TypedDict, total=False):
    """One line of the results; what was not measured is left out."""

    group: str
    """The table that it belongs to."""
    what: str
    """Its name, unique in its group."""
    ours: float
    """Seconds."""
    other: float
    """Seconds of what it is compared with."""
    ratio: float
    """other / ours."""
    tokens: float
    """Sampled or trained."""
    tokens_per_second: float
    memory: float
    """Peak resident memory (on a GPU: allocated), MiB."""
    share: float
    """Of the step's seconds."""
    compute: float
    """Share of the matrix-multiply peak."""
    bandwidth: float
    """Share of the memory bandwidth."""
    value: float
    """A number of another kind, named in `what`."""
    error: float
    """Its standard error."""
    note: str


def comparison(what: str, ours: float, other: float, tokens: float | None = None) -> Row:
    """Two ways to do the same, and tokens per second of ours."""
    row: Row = {"what": what, "ours": ours, "other": other, "ratio": other / ours}
    if tokens is not None:
        row |= {"tokens": tokens, "tokens_per_second": tokens / ours}
    return row
