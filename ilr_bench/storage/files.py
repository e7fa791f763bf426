"""Files and folders that are whole or not there at all, however the process ends, and locks between processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ilr_bench.core.errors import StoreError, first_line
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
    """Turns errors of a disk (full, read-only, another file in the way) into a StoreError about `path`.

    Errors of safetensors and of PyTorch's zip writer are understood as well; any other exception passes.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        advice = _advice(error)
        if advice is None:
            raise
        raise StoreError(f"cannot write {path}: {advice}") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an error of reading `path` (a folder in its place, no right to read it) into a StoreError about it.

    A missing file passes as FileNotFoundError, which callers know.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror}); mend or delete it and run the same command again"
        ) from error


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
    """Replaces a file: after a kill it is the old or the new one, after a return the new one survives a power cut.

    Makes missing folders. Raises StoreError where the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(_encoded(path, data) if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def _encoded(path: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # Python's stand-ins for bytes that are no text
        raise StoreError(
            f"cannot write {str(path)!a}: a name or a text in it is not UTF-8 ({text[error.start : error.end]!a}); "
            "rename the file or folder, or mend the text"
        ) from error


def write_noted(path: Path, data: str) -> None:
    """As `write_atomic`, with a hidden note of the file's digest beside it, which `as_noted` checks.

    The note is written first: a kill in between leaves a file that counts as damaged, and is made anew.
    """
    write_atomic(note_name(path), hashlib.sha256(data.encode()).hexdigest())
    write_atomic(path, data)


def as_noted(path: Path) -> bool:
    """Whether a file has the digest in its note; one without a note, which was at least written whole, is trusted.

    Raises StoreError where either cannot be read.
    """
    note = note_name(path)
    with readable(path):
        return not note.exists() or note.read_bytes() == sha256(path).encode()


def note_name(path: Path) -> Path:
    """The path of the note on a file."""
    return path.with_name(f".{path.name}.sha256")


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """What is kept between studies: `ILR_BENCH_CACHE`, else `ilr_bench` in the user's cache folder."""
    configured = os.environ.get("ILR_BENCH_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ilr_bench"


LARGE = 2**20
"""Bytes from which on a file's hash is remembered: reading a smaller one takes no longer than reading the note."""
SETTLED = 2 * 10**9
"""Nanoseconds after a change for which a hash is not remembered: another change might leave the same times."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered in the cache folder under its path, size, inode and times.

    A link counts as what it points to. Whoever sets a modification time back changes the inode's own time by it.
    """
    state = _state(path)
    if state[0] < LARGE:
        return sha256(path)
    note = cache_folder() / "hashes" / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    with suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or torn
        noted = parse_json(note.read_bytes())
        if noted["state"] == state:
            return str(noted["sha256"])
    found = sha256(path)
    if _state(path) == state and time.time_ns() - max(state[-2:]) > SETTLED:
        with suppress(StoreError):  # a cache that cannot be written costs time only
            write_atomic(note, json.dumps({"state": state, "sha256": found}))
    return found


def _state(path: Path) -> list[int]:
    """Size, device, inode, and when content and inode were changed last, in nanoseconds."""
    found = path.stat()
    return [found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


DEEPEST = 100
"""Levels of nested JSON that are read. No file of ours has ten; of a thousand, reading or writing it may overflow the
interpreter's stack."""
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def parse_json(text: bytes | str) -> Any:
    """The value of JSON text; raises ValueError, and nothing else, for whatever is no UTF-8, no JSON or too deep."""
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    if text.count("[") + text.count("{") > DEEPEST:
        depth = 0
        for sign in re.findall(r"[\[{\]}]", _STRINGS.sub("", text)):
            depth += 1 if sign in "[{" else -1
            if depth > DEEPEST:
                raise ValueError(f"nested more than {DEEPEST} levels deep")
    return json.loads(text)


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises StoreError, with `advice` on what to do, where the file is missing, cannot be read or holds something else.
    """
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise StoreError(f"{path} cannot be read ({reason}); {advice}") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path} holds no JSON object; {advice}")
    return data


def readable_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects in a file of one a line; a missing file has none, and a line that a kill tore is skipped."""
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with suppress(ValueError):
            if isinstance(data := parse_json(line), dict):
                yield data


MANIFEST = "manifest.json"


def publish(
    folder: Path,
    label: Mapping[str, Any],
    fill: Callable[[Path], None],
    listed: Callable[[Path], dict[str, str]] | None = None,
) -> None:
    """Replaces a folder as `replace_folder` does, and adds a manifest.

    `listed` returns the files of the manifest (name -> digest), all of them by default.
    """

    def fill_and_list(temporary: Path) -> None:
        fill(temporary)
        write_manifest(temporary, label, (listed or digests)(temporary))

    replace_folder(folder, fill_and_list)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replaces whatever is at `folder` by what `fill(empty folder)` writes, whole or not at all.

    Raises what `fill` and the disk raise.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    remove(temporary)
    try:
        temporary.mkdir()
        fill(temporary)
        for path in temporary.rglob("*"):
            sync(path)
        remove(folder)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        remove(temporary)


def write_manifest(folder: Path, label: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Writes a folder's manifest: its label and its files (name -> digest)."""
    write_atomic(folder / MANIFEST, _text({"key": label, "files": files}))


def is_intact(folder: Path, label: Mapping[str, Any]) -> bool:
    """Whether a folder has the label and exactly the files of its manifest."""
    return read_manifest(folder) == (label, digests(folder))


def read_manifest(folder: Path) -> tuple[Any, dict[str, str]] | None:
    """Label and files (name -> digest), or None where there is no manifest that is as it was written."""
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        manifest = parse_json(text)
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.keys() != {"key", "files"} or not isinstance(manifest["files"], dict):
        return None
    # A byte between the values may be lost too, which only the whole text shows.
    return (manifest["key"], manifest["files"]) if text == _text(manifest) else None


def _text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"


def digests(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, str]:
    """Name -> SHA-256 of every file in a folder but its manifest, or of those that are wanted."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: sha256(path) for name, path in files.items() if name != MANIFEST and wanted(name)}


def copy_content(source: Path, target: Path) -> None:
    """Copies a folder's content into another one, but for its manifest and hidden files."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name.startswith(".") or (name == MANIFEST and Path(folder) == source)]

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=left_out)


def remove(path: Path) -> None:
    """Removes a file or a folder with its content; a missing one is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


SECONDS_BETWEEN_SIGNS = 1.0


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Holds a lock file; while another process holds it, this one waits and sends heartbeats.

    The lock of a process that dies is released.
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
