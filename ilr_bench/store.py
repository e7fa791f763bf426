"""The folders of a study: records that only grow, joint checkpoints, artifacts under their content hash.

Whatever a killed run leaves behind is either whole or known to be torn: a folder is filled under a hidden
name, its manifest (a SHA-256 of every file) is written last, and a rename publishes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ilr_bench.config import content_hash
from ilr_bench.errors import StoreError
from ilr_bench.files import explained, sync, write_atomic
from ilr_bench.records import to_line

__all__ = [
    "Artifacts",
    "append_records",
    "is_sealed",
    "latest_checkpoint",
    "lock_study",
    "publish_copy",
    "save_checkpoint",
    "seal",
    "truncate_after",
    "write_atomic",
]

MANIFEST = "manifest.json"
_log = logging.getLogger(__name__)


def append_records(path: Path, records: Iterable[Any]) -> None:
    """Adds one line of JSON per record (a dataclass) and flushes them to the disk; makes the file if needed.

    A write that is cut short leaves a torn last line, which `truncate_after` removes on resume. Raises StoreError.
    """
    lines = "".join(to_line(record) + "\n" for record in records).encode()
    if not lines:
        return
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(path.parent)


def truncate_after(path: Path, step: int) -> None:
    """Drops the lines whose `step` is larger, and a torn last line; a missing file stays missing.

    Raises StoreError where a line that was written whole is no record with a step.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    *whole, _torn = content.split(b"\n")
    kept = [line for number, line in enumerate(whole, start=1) if _step_of(path, number, line) <= step]
    wanted = b"".join(line + b"\n" for line in kept)
    if wanted != content:
        write_atomic(path, wanted)


def _step_of(path: Path, number: int, line: bytes) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}, line {number}: damaged ({error!r}); delete the trial's folder to run it again"
        ) from error


@dataclass(frozen=True)
class Artifacts:
    """Results that are computed once and shared: `root/<content hash of the key>/`."""

    root: Path
    others: tuple[Path, ...] = ()
    """Roots of other studies' artifacts, where whole ones are copied from before anything is computed."""

    def get(self, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The folder for `key` (JSON data), made by `make(empty folder)` unless it is there and intact.

        Of several processes that ask at once, one makes it and the others wait. A folder that does not match its
        manifest is reported in the log and made anew. Raises StoreError, and whatever `make` raises.
        """
        plain = json.loads(json.dumps(key))
        folder = self.root / content_hash(plain)
        if _intact(folder, plain):
            return folder
        with explained(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{folder.name}.lock"):
                if not _intact(folder, plain):
                    if folder.exists():
                        _log.warning("%s does not match its manifest; it is made anew", folder)
                    ready = [other / folder.name for other in self.others if _intact(other / folder.name, plain)]
                    _publish(folder, plain, partial(_copy, ready[0]) if ready else make)
        return folder

    def adopt(self, name: str) -> bool:
        """Copies the artifact with a content hash from another study; False where nobody holds it whole."""
        for other in (self.root, *self.others):
            key = _label(other / name)
            if key is not None and content_hash(key) == name and _intact(other / name, key):
                self.get(key, partial(_copy, other / name))
                return True
        return False


def save_checkpoint(folder: Path, step: int, write: Callable[[Path], None], keep: int = 1) -> Path:
    """Saves what `write(empty folder)` writes as the checkpoint of `step`: all of it or nothing.

    Older checkpoints go once the new one is safe, all but the newest `keep`; so do later ones, which can only stem
    from a run that this one does not continue. Raises StoreError, and whatever `write` raises.
    """
    if keep < 1:
        raise ValueError("keep: at least the new checkpoint has to stay")
    place = folder / f"step-{step:08d}"
    with explained(place):
        folder.mkdir(parents=True, exist_ok=True)
        _publish(place, {"step": step}, write)
        found = _checkpoints(folder)
        stays = [path for number, path in found if number <= step][:keep]
        for _, path in found:
            if path not in stays:
                _remove(path)
    return place


def latest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """Step and folder of the newest checkpoint that matches its manifest, or None; changes nothing on the disk."""
    for step, path in _checkpoints(folder):
        if _intact(path, {"step": step}):
            return step, path
        _log.warning("%s does not match its manifest; an earlier checkpoint is used if there is one", path)
    return None


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
            name = f"process {holder.read_text()}" if holder.exists() else "another process"
            raise StoreError(f"{folder} is in use by {name}; wait for it to end, or name another folder") from error
    try:
        write_atomic(holder, str(os.getpid()))
        for leftover in list(folder.rglob(".*.tmp")):
            _remove(leftover)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def seal(folder: Path, key: str) -> None:
    """Notes what a finished trial's files are, all but those outside the promise of equal bytes."""
    manifest = {"key": {"trial": key}, "files": _lasting(folder)}
    write_atomic(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")


def is_sealed(folder: Path, key: str) -> bool:
    """Whether a trial's folder holds exactly what its seal says."""
    label = _label(folder)
    if label != {"trial": key}:
        return False
    return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("files") == _lasting(folder))


def publish_copy(source: Path, target: Path, key: str, finish: Callable[[Path], None]) -> None:
    """Copies a trial's folder, all of it or nothing, and seals it once `finish(copy)` has changed what it wants to."""

    def fill(folder: Path) -> None:
        _copy(source, folder)
        finish(folder)

    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _publish(target, {"trial": key}, fill, _lasting)


def _copy(source: Path, target: Path) -> None:
    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name.startswith(".") or (name == MANIFEST and Path(folder) == source)]

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=left_out)


def _lasting(folder: Path) -> dict[str, str]:
    """Digests of a trial's files that equal runs leave equal, its result apart, which is written after them."""
    return {
        name: digest
        for name, digest in _digests(folder).items()
        if Path(name).name != "timing.jsonl" and name != "result.json" and not Path(name).name.startswith(".")
    }


def _label(folder: Path) -> Any:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError):
        return None


def _publish(
    folder: Path,
    label: Mapping[str, Any],
    fill: Callable[[Path], None],
    digests: Callable[[Path], dict[str, str]] | None = None,
) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    _remove(temporary)
    try:
        temporary.mkdir()
        fill(temporary)
        for path in temporary.rglob("*"):
            sync(path)
        manifest = {"key": label, "files": (digests or _digests)(temporary)}
        write_atomic(temporary / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
        _remove(folder)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        _remove(temporary)


def _intact(folder: Path, label: Mapping[str, Any]) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest == {"key": label, "files": _digests(folder)})


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Newest first; torn ones among them."""
    if not folder.is_dir():
        return []
    names = ((re.fullmatch(r"step-(\d+)", path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
