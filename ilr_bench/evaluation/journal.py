"""Finished batches of an evaluation, so that an interrupted one generates none of them twice.

The first line names what the batches answer, each further line holds one batch; a line begins with its own digest. It
is on the disk before the next batch begins; when the journal is opened again, it is cut off before the first line that
a kill left half-written or that was altered since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.generation.engine import Completion
from ilr_bench.storage.files import explained, write_atomic

NO_LOGPROBS = np.empty(0, dtype=np.float32)
"""Of a completion that a journal gave back: an answer is graded by its text alone, and they would double the file."""


class Journal:
    """The batches of one list of prompts, in a file that its owner deletes once the records are written."""

    def __init__(self, path: Path, key: str) -> None:
        """Takes up the batches that were noted for the same `key` (a hash of all that decides them).

        A journal of another key is begun anew. Raises StoreError where the disk is full or cannot be written.
        """
        self._path = path
        self.done: dict[int, list[Completion]] = {}
        """Number of the batch -> its completions."""
        header = _line({"key": key})
        content = path.read_bytes() if path.exists() else b""
        if not content.startswith(header):
            write_atomic(path, header)
            return
        whole = len(header)
        for line in content[whole:].splitlines(keepends=True):
            batch = _batch(line)
            if batch is None:
                break
            self.done[batch[0]] = batch[1]
            whole += len(line)
        if whole < len(content):
            with explained(path):
                os.truncate(path, whole)

    def add(self, number: int, completions: Sequence[Completion]) -> None:
        """Notes a finished batch; it is on the disk after the return. Raises StoreError."""
        line = _line({"batch": number, "spoken": [[list(one.token_ids), one.finished] for one in completions]})
        with explained(self._path), self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.done[number] = list(completions)


def _line(data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return _digest(text) + b" " + text + b"\n"


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _batch(line: bytes) -> tuple[int, list[Completion]] | None:
    """What a line notes, or None where it is not as it was written."""
    digest, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or digest != _digest(text[:-1]):
        return None
    data = json.loads(text)
    return int(data["batch"]), [Completion(tuple(ids), NO_LOGPROBS, bool(finished)) for ids, finished in data["spoken"]]
