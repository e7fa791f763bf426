"""Files and folders that are whole or not there at all, however the process ends, and locks between processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ilr_bench.core.errors import StoreError
from ilr_bench.core.signals import send_heartbeat

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file would be larger than this system allows; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "not permitted; choose a folder that you may write to",
    errno.ENOTDIR: "a file lies where a folder is needed; move it or choose another folder",
    errno.EEXIST: "a file lies where a folder is needed; move it or choose another folder",
    errno.EISDIR: "a folder lies where a file is needed; move it or choose another folder",
    errno.EIO: "the disk reports an error; choose another one",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what a disk can say (full, read-only, in the way) into a StoreError about `path`.

    Writers that hide the system's error (safetensors, PyTorch's zip writer) are understood as well; any
    other exception passes as it is.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        advice = _advice(error)
        if advice is None:
            raise
        raise StoreError(f"cannot write {path}: {advice}") from error


def _advice(error: Exception) -> str | None:
    if isinstance(error, OSError):
        return _ADVICE.get(error.errno or 0)
    number = re.search(r"os error (\d+)", str(error))
    if number is not None:
        return _ADVICE.get(int(number[1]))
    if "inline_container" in str(error) or "PytorchStreamWriter" in str(error):
        return "a file could not be written to its end, most likely for want of space; free some and run again"
    return None


def sync(path: Path) -> None:
    """Flushes a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a whole file, or leaves the earlier one intact.

    After a return the new file survives a power cut; after a kill either the old or the new one is there.
    Makes missing folders. Raises StoreError where the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def write_noted(path: Path, data: str) -> None:
    """As `write_atomic`, with a hidden note of the file's digest beside it, by which `as_noted` knows it again.

    The note comes first: a kill in between leaves a file that is taken for a damaged one, and is made anew.
    """
    write_atomic(note_name(path), hashlib.sha256(data.encode()).hexdigest())
    write_atomic(path, data)


def as_noted(path: Path) -> bool:
    """Whether a file is what its note says; one without a note, which was at least written whole, is trusted."""
    note = note_name(path)
    if not note.exists():
        return True
    with path.open("rb") as file:
        return note.read_bytes() == hashlib.file_digest(file, "sha256").hexdigest().encode()


def note_name(path: Path) -> Path:
    """Where the note on a file lies."""
    return path.with_name(f".{path.name}.sha256")


MANIFEST = "manifest.json"


def publish(
    folder: Path,
    label: Mapping[str, Any],
    fill: Callable[[Path], None],
    listed: Callable[[Path], dict[str, str]] | None = None,
) -> None:
    """Puts a folder that `fill(empty folder)` has filled in the place of whatever is there.

    `listed` names the files that the manifest speaks of, all of them by default. Raises what `fill` and the disk raise.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    remove(temporary)
    try:
        temporary.mkdir()
        fill(temporary)
        for path in temporary.rglob("*"):
            sync(path)
        write_manifest(temporary, label, (listed or digests)(temporary))
        remove(folder)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        remove(temporary)


def write_manifest(folder: Path, label: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Says what a folder is for and what its files are (name -> digest)."""
    write_atomic(folder / MANIFEST, _text({"key": label, "files": files}))


def is_intact(folder: Path, label: Mapping[str, Any]) -> bool:
    """Whether a folder is for `label` and holds exactly the files of its manifest."""
    return read_manifest(folder) == (label, digests(folder))


def read_manifest(folder: Path) -> tuple[Any, dict[str, str]] | None:
    """Label and files (name -> digest), or None where there is no manifest that is as it was written."""
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        manifest = json.loads(text)
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.keys() != {"key", "files"} or not isinstance(manifest["files"], dict):
        return None
    # A byte between the values may be lost, too: nothing else tells of it.
    return (manifest["key"], manifest["files"]) if text == _text(manifest) else None


def _text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"


def digests(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, str]:
    """Name -> SHA-256 of every file in a folder but its manifest, or of those that are wanted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST and wanted(name):
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def copy_content(source: Path, target: Path) -> None:
    """Copies what a folder holds into another one, but for its manifest and what is hidden."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name.startswith(".") or (name == MANIFEST and Path(folder) == source)]

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=left_out)


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it; a missing one is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


SECONDS_BETWEEN_SIGNS = 1.0


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Holds a lock file; while another process holds it, this one waits and says that it is alive.

    A process that dies lets go of what it holds.
    """
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=SECONDS_BETWEEN_SIGNS)
        except Timeout:
            send_heartbeat()
    try:
        yield
    finally:
        lock.release()
