"""Results as a file, and those of a run that is not finished yet.

A part's rows are kept as soon as they are there. The same command goes on with the parts that are missing, as long
as code, libraries and machine are what they were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TypedDict

from bench.rows import Row
from ilr_bench.errors import MissingInputError
from ilr_bench.files import write_atomic
from ilr_bench.identity import determinants, versions
from ilr_bench.machine import machine


class Results(TypedDict):
    """What `bench/results.json` holds."""

    date: str
    machine: str
    device: str
    versions: dict[str, str]
    rows: list[Row]


def load(path: Path) -> Results:
    """Raises MissingInputError where there are no results."""
    try:
        found: Results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["rows"], list) or not isinstance(found["machine"], str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingInputError(f"{path} holds no results; make them with nox -s bench -- --out {path}") from error
    return found


def save(rows: Sequence[Row], path: Path, device: str) -> Results:
    """Writes rows with date, machine and versions."""
    date = datetime.now(UTC).date().isoformat()
    found: Results = {
        "date": date,
        "machine": machine(),
        "device": device,
        "versions": versions(),
        "rows": [_rounded(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    return found


class Unfinished:
    """Rows by part of a run that may be interrupted."""

    def __init__(self, path: Path, kind: str) -> None:
        """kind: what was asked for; another one begins anew."""
        self._path = path
        self._lock = Lock()
        self._key = {"kind": kind, "machine": machine(), "versions": determinants(), "bench": _own_code()}
        self.parts: dict[str, list[Row]] = {}
        self.outdated = False
        """Whether parts of other code, libraries or another machine were found and left alone."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if kept["key"] == self._key:
            self.parts = kept["parts"]
        else:
            self.outdated = True

    def keep(self, part: str, rows: list[Row]) -> None:
        """A part that is there; threads may keep theirs at the same time."""
        with self._lock:
            self.parts[part] = rows
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, json.dumps({"key": self._key, "parts": self.parts}).encode())

    def remove(self) -> None:
        """Everything is there, and stands elsewhere."""
        self._path.unlink(missing_ok=True)


def _own_code() -> str:
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _rounded(row: Row) -> Row:
    """Six digits that count: more says nothing, and fewer bytes change."""
    short = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
    return short  # type: ignore[return-value]
