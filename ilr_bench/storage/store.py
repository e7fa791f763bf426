"""The folders of a study: records that only grow, artifacts under their content hash, manifests of finished trials.

Whatever a killed run leaves behind is either whole or known to be torn.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import (
    MANIFEST,
    copy_content,
    digests,
    explained,
    hold_lock,
    is_intact,
    note_name,
    publish,
    read_manifest,
    remove,
    sync,
    write_atomic,
    write_manifest,
)
from ilr_bench.storage.records import read_result, to_line

RESULT = "result.json"
EVENTS = "events.jsonl"
"""What a trial survived: lines that equal runs need not leave equal."""
BROKEN = "broken"
"""Folder of batches whose numbers were not finite."""
_log = logging.getLogger(__name__)


def append_records(path: Path, records: Iterable[Any]) -> bytes:
    """Adds one line of JSON per record (a dataclass) and flushes them to the disk; makes the file if needed.

    Returns what was added. A write that is cut short leaves a torn last line. Raises StoreError.
    """
    lines = "".join(to_line(record) + "\n" for record in records).encode()
    if not lines:
        return lines
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(path.parent)
    return lines


class RecordFile:
    """Records that only grow, with a running digest of what was written, so that no later change goes unseen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0
        self._digest = hashlib.sha256()

    def append(self, records: Iterable[Any]) -> None:
        """See `append_records`."""
        lines = append_records(self._path, records)
        self._bytes += len(lines)
        self._digest.update(lines)

    def noted(self) -> dict[str, Any]:
        """Length and digest of what has been written, for a checkpoint: JSON data."""
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def begins_with(self, noted: Mapping[str, Any]) -> bool:
        """Whether the file still begins with what was written when `noted` was taken."""
        return bool(_digest_of(self._path, noted["bytes"]).hexdigest() == noted["sha256"])

    def return_to(self, noted: Mapping[str, Any] | None) -> None:
        """Drops what was added after `noted` was taken, or everything. Raises StoreError."""
        with explained(self._path):
            if noted is None or not noted["bytes"]:
                self._path.unlink(missing_ok=True)
                self._bytes, self._digest = 0, hashlib.sha256()
                return
            os.truncate(self._path, noted["bytes"])
            sync(self._path)
        self._bytes, self._digest = noted["bytes"], _digest_of(self._path, noted["bytes"])


def _digest_of(path: Path, size: int) -> Any:
    """SHA-256 over the first `size` bytes of a file, or over all where it is shorter; of a missing one, over none."""
    digest = hashlib.sha256()
    if path.exists():
        with path.open("rb") as file:
            while size and (part := file.read(min(size, 2**20))):
                digest.update(part)
                size -= len(part)
    return digest


@dataclass(frozen=True)
class Artifacts:
    """Results that are computed once and shared: `root/<content hash of the key>/`."""

    root: Path
    others: tuple[Path, ...] = ()
    """Roots of other studies' artifacts, of which intact ones are copied instead of made anew."""

    def get(self, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The folder for `key` (JSON data), made by `make(empty folder)` unless it is there and intact.

        One process makes it while others wait. A folder that does not match its manifest is logged and made anew.
        Raises StoreError, and whatever `make` raises.
        """
        plain = json.loads(json.dumps(key))
        folder = self.root / content_hash(plain)
        if is_intact(folder, plain):
            return folder
        with explained(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            with hold_lock(self.root / f".{folder.name}.lock"):
                if not is_intact(folder, plain):
                    if folder.exists():
                        _log.warning("%s does not match its manifest; it is made anew", folder)
                    ready = [other / folder.name for other in self.others if is_intact(other / folder.name, plain)]
                    publish(folder, plain, partial(copy_content, ready[0]) if ready else make)
        return folder

    def import_artifact(self, name: str) -> bool:
        """Copies the artifact with a content hash from another study; False where none has it intact."""
        for other in (self.root, *self.others):
            manifest = read_manifest(other / name)
            if manifest is not None and is_artifact(other / name):
                self.get(manifest[0], partial(copy_content, other / name))
                return True
        return False


def is_artifact(folder: Path) -> bool:
    """Whether a folder is an artifact as it was made, under its own name."""
    manifest = read_manifest(folder)
    return manifest is not None and content_hash(manifest[0]) == folder.name and is_intact(folder, manifest[0])


def require_artifact(folder: Path) -> None:
    """Raises StoreError where an artifact does not match its manifest; one without a manifest passes."""
    if (folder / MANIFEST).exists() and not is_artifact(folder):
        raise StoreError(f"{folder} does not match its manifest; run the sweep's command again, which makes it anew")


@contextmanager
def lock_study(folder: Path) -> Iterator[None]:
    """Holds a study's folder for this process, and removes what a killed one left half-written in it.

    Raises StoreError naming the process that holds it.
    """
    holder = folder / ".lock.pid"
    lock = FileLock(folder / ".lock")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            name = (
                f"process {holder.read_text(encoding='utf-8', errors='replace')}"
                if holder.exists()
                else "another process"
            )
            raise StoreError(f"{folder} is in use by {name}; wait for it to end, or name another folder") from error
    try:
        write_atomic(holder, f"{os.getpid()} on {platform.node()}")
        for leftover in list(folder.rglob(".*.tmp")):
            remove(leftover)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def finalize(folder: Path, key: str, result: str) -> None:
    """Ends a trial: writes the manifest of its files, but for those outside the promise of equal bytes, and its result.

    `result` is the text of `result.json`, which is written last. Notes beside single files are removed. Raises
    StoreError.
    """
    files = _lasting(folder) | {RESULT: hashlib.sha256(result.encode()).hexdigest()}
    write_manifest(folder, {"trial": key}, dict(sorted(files.items())))
    with explained(folder):
        for path in _answers(folder):
            note_name(path).unlink(missing_ok=True)
    write_atomic(folder / RESULT, result)


def is_finalized(folder: Path, key: str) -> bool:
    """Whether a trial's folder holds exactly the files of its manifest."""
    return corrupted_files(folder, key) == []


def is_finished(folder: Path, key: str, artifacts: Artifacts) -> bool:
    """Whether a trial has its result, and its files and artifacts are as they were when that was written."""
    if not (folder / RESULT).exists() or not is_finalized(folder, key):
        return False
    try:
        used = [artifacts.root / name for name in read_result(folder).artifacts.values()]
    except StoreError:  # of another version
        return False
    return all(is_artifact(path) for path in used if path.exists())


def require_finalized(folder: Path, key: str) -> None:
    """Raises StoreError where a finished trial's records do not match its manifest; one without a manifest passes.

    Weights are not checked: they may be large, no report reads them, and they have a manifest of their own.
    """
    found = corrupted_files(folder, key, weights=False) if (folder / MANIFEST).exists() else []
    if found:
        raise StoreError(
            f"{folder}: {', '.join(found)} changed since the trial finished (see {MANIFEST} there); "
            "run the sweep's command again, which makes what is damaged anew"
        )


def corrupted_files(folder: Path, key: str, weights: bool = True) -> list[str]:
    """Names of a trial's files that its manifest has otherwise, lacks or has too many; its own name if it is torn."""
    manifest = read_manifest(folder)
    if manifest is None or manifest[0] != {"trial": key}:
        return [MANIFEST]
    listed, found = manifest[1], _lasting(folder, weights)
    if RESULT not in listed:  # by a version whose manifests left results out
        found.pop(RESULT, None)
    names = [name for name in listed.keys() | found.keys() if weights or not _is_weight(name)]
    return sorted(name for name in names if listed.get(name) != found.get(name))


def invalidate(folder: Path, key: str) -> list[str]:
    """Makes a damaged finished trial an unfinished one: removes its result, its manifest and corrupted answers.

    Its steps are compared with the checkpoint when the trial continues. Returns the corrupted files. Raises StoreError.
    """
    found = corrupted_files(folder, key)
    with explained(folder):
        for path in _answers(folder):
            if found == [MANIFEST] or path.relative_to(folder).as_posix() in found:
                path.unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
    return found


def publish_copy(source: Path, target: Path, key: str, finish: Callable[[Path], None]) -> None:
    """Copies a trial's folder, all of it or nothing, and writes its manifest after `finish(copy)` has changed it."""

    def fill(folder: Path) -> None:
        copy_content(source, folder)
        finish(folder)

    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(target, {"trial": key}, fill, _lasting)


def _answers(folder: Path) -> list[Path]:
    return [*(folder / "eval").rglob("*.jsonl"), folder / "inference.jsonl"]


def _lasting(folder: Path, weights: bool = True) -> dict[str, str]:
    """Digests of a trial's files that are equal for equal runs."""
    return digests(folder, lambda name: _lasts(name) and (weights or not _is_weight(name)))


def _lasts(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return parts[-1] not in ("timing.jsonl", EVENTS) and parts[0] != BROKEN and not hidden


def _is_weight(name: str) -> bool:
    return name.startswith("checkpoints/")
