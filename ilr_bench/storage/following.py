"""Reading a trial's training records while they are written, from this machine or another one."""

from __future__ import annotations

import json
from pathlib import Path

from ilr_bench.storage.records import StepRecord


class Follower:
    """The training records of one trial as they appear: each once, however often the trial is resumed.

    A resumed trial drops the steps after its checkpoint and writes them again, the same to the bit, so the first
    reading counts. A last line that is not whole yet waits; a whole one that cannot be read is passed over, since
    those who only look cannot mend it. Nothing is locked and nothing is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._last: dict[str, int] = {}

    def new(self) -> list[StepRecord]:
        """What has been added since the last call."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                self._read = self._read if self._read <= size else 0
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            self._read = 0
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for record in filter(None, map(_record, whole.splitlines())):
            if record.step > self._last.get(record.agent, 0):
                self._last[record.agent] = record.step
                found.append(record)
        return found


def _record(line: bytes) -> StepRecord | None:
    try:
        return StepRecord(**json.loads(line))
    except (ValueError, TypeError):
        return None
