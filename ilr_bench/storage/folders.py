"""Folders that are whole or known to be torn: filled under a hidden name, the manifest last, published by a rename.

The manifest holds a SHA-256 of every file, and a label that says what the folder is for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ilr_bench.storage.files import sync, write_atomic

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
