"""A measured row, files of rows, what changed between two of them, and the rows of a run that is not finished yet.

A part's rows are kept as soon as they are there. The same command goes on with the parts that are missing, as long
as code, libraries and machine are what they were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypedDict

from ilr_bench.core.errors import MissingInputError
from ilr_bench.core.hardware import machine
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.provenance import numeric_versions, versions

REST = "neither sampling, grading nor update"
"""The row of a step's seconds that no stage accounts for."""
COMPARED = ("ours", "ratio", "memory")
LIMIT = 0.10


class BenchRow(TypedDict, total=False):
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
    """Fraction of the matrix-multiply peak."""
    bandwidth: float
    """Fraction of the memory bandwidth."""
    value: float
    """A number of another kind, named in `what`."""
    note: str


class Results(TypedDict):
    """What `bench/results.json` holds."""

    date: str
    machine: str
    device: str
    versions: dict[str, str]
    rows: list[BenchRow]


def comparison(group: str, what: str, ours: float, other: float, tokens: float | None = None) -> BenchRow:
    """Two ways to do the same, and tokens per second of ours."""
    row: BenchRow = {"group": group, "what": what, "ours": ours, "other": other, "ratio": other / ours}
    if tokens is not None:
        row |= {"tokens": tokens, "tokens_per_second": tokens / ours}
    return row


def collect(rows: Sequence[BenchRow], device: str) -> Results:
    """Rows with date, machine and versions; numbers to six digits, so that few bytes change."""
    short = [{key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
             for row in rows]  # fmt: skip
    date = datetime.now(UTC).date().isoformat()
    return {"date": date, "machine": machine(), "device": device, "versions": versions(), "rows": short}  # type: ignore[typeddict-item]


def save(found: Results, path: Path) -> None:
    """Writes the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Results:
    """Raises MissingInputError where there are no results."""
    try:
        found: Results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["rows"], list) or not isinstance(found["machine"], str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingInputError(f"{path} holds no results; make them with nox -s bench -- --out {path}") from error
    return found


class Change(NamedTuple):
    """One number that moved."""

    what: str
    key: str
    before: float
    after: float


def changes(old: Sequence[BenchRow], new: Sequence[BenchRow]) -> list[Change]:
    """Seconds, ratios and memory of rows with the same name that moved by more than `LIMIT` of what they were."""
    before = {(row["group"], row["what"]): row for row in old}
    found = []
    for row in new:
        known = before.get((row["group"], row["what"]), {})
        for key in COMPARED:
            one, other = known.get(key), row.get(key)
            if isinstance(one, float | int) and isinstance(other, float | int) and abs(other - one) > LIMIT * abs(one):
                found.append(Change(f"{row['group']}: {row['what']}", key, float(one), float(other)))
    return found


def unmatched(old: Sequence[BenchRow], new: Sequence[BenchRow]) -> list[str]:
    """Rows that only one of them has."""
    names = [{f"{row['group']}: {row['what']}" for row in rows} for rows in (old, new)]
    return sorted(names[0] ^ names[1])


def compare(old: Path, new: Path) -> int:
    """Prints the changes; the status to exit with. Raises MissingInputError for a file that holds no results."""
    one, other = load(old), load(new)
    if one["machine"] != other["machine"]:
        print(f"Two machines, so only ratios mean something: {one['machine']} and {other['machine']}")
    found = changes(one["rows"], other["rows"])
    for change in found:
        moved = change.after / change.before - 1
        print(f"{change.what}: {change.key} {change.before:.4g} -> {change.after:.4g} ({moved:+.0%})")
    for name in unmatched(one["rows"], other["rows"]):
        print(f"only in one of them: {name}")
    print(f"{len(found)} numbers changed by more than {LIMIT:.0%}")
    return 1 if found else 0


class Unfinished:
    """Rows by part of a run that may be interrupted."""

    def __init__(self, path: Path, kind: str) -> None:
        """kind: what was asked for; another one begins anew."""
        self._path = path
        self._key = {"kind": kind, "machine": machine(), "versions": numeric_versions(), "bench": _own_code()}
        self.parts: dict[str, list[BenchRow]] = {}
        self.outdated = False
        """Whether parts of other code, libraries or another machine were found and left alone."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        self.outdated = kept["key"] != self._key
        if not self.outdated:
            self.parts = kept["parts"]

    def keep(self, part: str, rows: list[BenchRow]) -> None:
        """A part that is there."""
        self.parts[part] = rows
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps({"key": self._key, "parts": self.parts}))

    def remove(self) -> None:
        """Everything is there, and stands elsewhere."""
        self._path.unlink(missing_ok=True)


def _own_code() -> str:
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
