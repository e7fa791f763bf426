"""Model folders in the cache are whole or absent, made by one process at a time; none of it needs torch."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

from ilr_bench.config import content_hash
from ilr_bench.files import explained
from ilr_bench.locks import held


def prepare_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` unless it is there: whole or absent, and made by one process at a time.

    Raises StoreError where the disk is full or cannot be written.
    """
    if folder.exists():
        return folder
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(folder.with_name(f".{folder.name}.lock")):
            if folder.exists():
                return folder
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                make(temporary)
                temporary.chmod(0o755)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


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
