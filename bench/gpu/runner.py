"""Runs parts one after another, each in a process of its own with a time limit, and writes the results after each.

A part that fails, hangs or is killed never stops the next one. A part's rows are written to a file as they are
measured, so that those of a part that was stopped are there too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from bench.gpu.table import markdown
from ilr_bench.core.console import note
from ilr_bench.storage.files import write_atomic

Status = Literal["ok", "failed", "out of time", "left out", "interrupted"]
LAST_LINES = 60
"""Of a part's output that are kept where it did not end well."""
LEAST_SECONDS = 10.0
"""A part is left out where less is left of the whole limit."""
GRACE = 5.0
"""Seconds between the request to end and the kill."""


class ResultRow(TypedDict, total=False):
    """One measured or checked number; what does not apply is left out."""

    what: str
    value: float | str
    unit: str
    limit: float
    """The largest `value` that is right."""
    ok: bool
    """Whether it was right; a part with a row that is not has failed."""
    note: str


class Outcome(TypedDict):
    """What became of a part."""

    part: str
    title: str
    status: Status
    seconds: float
    rows: list[ResultRow]
    output: list[str]
    """The last lines of what it printed; none where it ended well."""


class Results(TypedDict):
    """What the file of results holds."""

    machine: dict[str, str]
    parts: list[Outcome]


@dataclass(frozen=True)
class Part:
    """Rows that are measured in one process."""

    name: str
    title: str
    seconds: float
    """Its own time limit."""
    module: str
    """Imported by the part's own process alone."""
    function: str
    """Of `module`: takes a `Setup` and yields rows."""
    settings: Mapping[str, str] | None = None
    """Environment variables beside the parent's."""


@dataclass(frozen=True)
class Setup:
    """What a part is given."""

    device: str
    """`cuda` or `cpu`."""
    tiny: bool
    """Smallest shapes, so that all code runs within a minute on a CPU."""
    work: Path
    """Folder for what need not be kept."""
    out: Path
    """Folder of the results."""
    models: Path
    """Folder that may hold prepared models under their names."""
    deadline: float
    """`time.time()` at which the part is stopped."""

    @property
    def left(self) -> float:
        """Seconds until the part is stopped."""
        return self.deadline - time.time()


@dataclass(frozen=True)
class Files:
    """Where the runner writes."""

    out: Path
    work: Path

    def rows(self, part: str) -> Path:
        """The rows of a part, a line each."""
        return self.work / f"{part}.rows.jsonl"

    def log(self, part: str) -> Path:
        """What a part printed."""
        return self.work / f"{part}.log"


def run_parts(
    parts: Sequence[Part],
    command: Callable[[Part, Path, float], Sequence[str]],
    machine: dict[str, str],
    files: Files,
    seconds: float,
    factor: float = 1.0,
) -> int:
    """Runs the parts and returns the exit status: 1 where one failed or ran out of time, 130 after Ctrl-C.

    `command`: a part, the file for its rows and the moment (`time.time()`) at which it is stopped, to the command that
    measures it. `seconds`: for everything together; `factor`: on the parts' own limits.
    """
    end = time.time() + seconds
    files.out.mkdir(parents=True, exist_ok=True)
    files.work.mkdir(parents=True, exist_ok=True)
    found: list[Outcome] = []
    for index, part in enumerate(parts, start=1):
        left = end - time.time()
        if left < LEAST_SECONDS:
            found.append(_outcome(part, "left out", 0.0, files))
        else:
            limit = min(left, factor * part.seconds)
            note(f"[{index}/{len(parts)}] {part.title}: at most {limit:.0f} s")
            found.append(_run(part, command, files, time.time() + limit))
        note(f"[{index}/{len(parts)}] {part.name}: {found[-1]['status']}, {found[-1]['seconds']:.0f} s")
        _write({"machine": machine, "parts": found}, files)
        if found[-1]["status"] == "interrupted":
            return 130
    return int(any(one["status"] in ("failed", "out of time") for one in found))


def _run(part: Part, command: Callable[[Part, Path, float], Sequence[str]], files: Files, deadline: float) -> Outcome:
    files.rows(part.name).unlink(missing_ok=True)
    start = time.time()
    status: Status = "interrupted"
    with files.log(part.name).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command(part, files.rows(part.name), deadline)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(part.settings or {}),
            start_new_session=True,
        )
        try:
            code = process.wait(max(0.0, deadline - time.time()))
            status = "ok" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        except KeyboardInterrupt:
            note("interrupted; what was measured is kept")
        finally:
            _end(process)
    return _outcome(part, status, time.time() - start, files)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it started: they are a group of their own."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, request)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            if request is signal.SIGTERM and not _lives(process.pid):
                return


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _outcome(part: Part, status: Status, seconds: float, files: Files) -> Outcome:
    rows = [] if status == "left out" else list(read_rows(files.rows(part.name)))
    if status == "ok" and not all(row.get("ok", True) for row in rows):
        status = "failed"
    output: list[str] = []
    if status not in ("ok", "left out") and files.log(part.name).exists():
        output = files.log(part.name).read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    return {
        "part": part.name,
        "title": part.title,
        "status": status,
        "seconds": round(seconds, 1),
        "rows": rows,
        "output": output,
    }


def read_rows(path: Path) -> Iterator[ResultRow]:
    """The rows of a file, the last one left out where it was torn by a kill."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def write_rows(rows: Iterator[ResultRow], path: Path) -> None:
    """Writes each row as soon as it is there, and shows it."""
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, default=_number) + "\n")
            file.flush()
            print({key: value for key, value in row.items() if key != "what"}, row["what"], sep="  ", flush=True)


def _number(value: Any) -> Any:
    """A NumPy or torch scalar as Python's own."""
    return value.item()


def _write(results: Results, files: Files) -> None:
    write_atomic(files.out / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_atomic(files.out / "results.md", markdown(results))
