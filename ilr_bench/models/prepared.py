"""Model folders in the cache are whole or absent, made by one process at a time; none of it needs torch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

from ilr_bench.core.config import content_hash
from ilr_bench.storage.files import explained, sync
from ilr_bench.storage.folders import digests, remove
from ilr_bench.storage.locks import held

LISTING = "files.sha256"
"""Digests of a folder's files, as `sha256sum --check` reads them."""
_log = logging.getLogger(__name__)


def prepare_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` unless it is there: whole or absent, and made by one process at a time.

    One with files that changed since is reported in the log and made anew. Raises StoreError where the disk is full or
    cannot be written.
    """
    if is_whole(folder):
        return folder
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(folder.with_name(f".{folder.name}.lock")):
            if is_whole(folder):
                return folder
            if folder.exists():
                _log.warning("%s does not match its %s; it is made anew", folder, LISTING)
            temporary = folder.with_name(f".{folder.name}.tmp")
            remove(temporary)
            temporary.mkdir()
            try:
                make(temporary)
                listing = "".join(f"{digest}  {name}\n" for name, digest in digests(temporary).items())
                (temporary / LISTING).write_text(listing, encoding="utf-8")
                for path in temporary.rglob("*"):
                    sync(path)
                remove(folder)
                temporary.rename(folder)
                sync(folder.parent)
            finally:
                remove(temporary)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a prepared folder is there with its files as they were made; without a list of them it is trusted."""
    if not (folder / LISTING).exists():
        return folder.exists()
    lines = (folder / LISTING).read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {LISTING}
    return listed.keys() == names and all(file_hash(folder / name) == listed[name] for name in names)


@cache
def conversion() -> str:
    """Content hash of what turns GGUF files into model folders: our code, and the libraries under it."""
    code = file_hash(Path(__file__).with_name("gguf.py"))
    libraries = {name: version(name) for name in ("torch", "transformers", "tokenizers", "gguf", "safetensors")}
    return content_hash([code, libraries])


def file_hash(path: Path) -> str:
    """SHA-256 of a file, computed again only where its size or time has changed."""
    state = path.stat()
    return _file_hash(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
