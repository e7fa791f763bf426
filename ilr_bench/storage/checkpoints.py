"""Joint checkpoints: everything that all agents need to go on from a step, or nothing of it.

A checkpoint is one folder that is published at once, so it never holds agents of different steps.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ilr_bench.storage.files import explained, is_intact, publish, remove

_log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path,
    step: int,
    write: Callable[[Path], None],
    keep: int = 1,
    best: int | None = None,
    regular: Callable[[int], bool] = lambda step: True,
) -> Path:
    """Saves what `write(empty folder)` writes as the checkpoint of `step`: all of it or nothing.

    Then removes the others, but for the newest `keep` of those at `regular` steps and the step `best`. The new one
    stays until a later one is saved even if it is not regular, so that a run may stop at any step and a finished run
    does not depend on where. Later steps go too: this run does not continue them. Raises StoreError, and whatever
    `write` raises.
    """
    if keep < 1:
        raise ValueError("keep: at least the new checkpoint has to stay")
    place = folder / step_folder(step)
    with explained(place):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in list(folder.glob(".step-*.tmp")):  # of a process that was killed
            remove(leftover)
        publish(place, {"step": step}, write)
        found = _found(folder)
        stays = {step, best, *[number for number, _ in found if number <= step and regular(number)][:keep]}
        for number, path in found:
            if number not in stays:
                _discard(path)
    return place


def step_folder(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step-{step:08d}"


def latest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """Step and folder of the newest checkpoint that matches its manifest, or None; changes nothing on the disk."""
    return next(intact_checkpoints(folder), None)


def torn_checkpoints(folder: Path, before: int) -> list[Path]:
    """Checkpoints of earlier steps than `before` that do not match their manifest, the newest first."""
    return [path for step, path in _found(folder) if step < before and not is_intact(path, {"step": step})]


def intact_checkpoints(folder: Path) -> Iterator[tuple[int, Path]]:
    """Step and folder of every checkpoint that matches its manifest, the newest first."""
    for step, path in _found(folder):
        if is_intact(path, {"step": step}):
            yield step, path
        else:
            _log.warning("%s does not match its manifest; an earlier checkpoint is used if there is one", path)


def _discard(path: Path) -> None:
    """Removes a checkpoint so that a kill leaves no torn one under its name."""
    hidden = path.with_name(f".{path.name}.tmp")
    remove(hidden)
    path.rename(hidden)
    remove(hidden)


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Newest first; torn ones among them."""
    if not folder.is_dir():
        return []
    names = ((re.fullmatch(r"step-(\d+)", path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)
