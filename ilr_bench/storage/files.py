"""Files that are whole or absent, and errors that repeat what the disk said."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ilr_bench.core.errors import StoreError

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
