"""On what the numbers were measured."""

from __future__ import annotations

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from ilr_bench.core import hardware
from ilr_bench.storage.provenance import code_hash, versions

PACKAGES = ("torch", "transformers", "accelerate", "peft", "trl", "numpy", "triton")
QUERY = "name,memory.total,driver_version,clocks.max.sm,power.limit"


def describe(device: str, commit: str | None = None) -> dict[str, str]:
    """Card, processor, versions, date and commit; imports no torch, which would take memory on the card.

    `commit`: for a copy that is no checkout.
    """
    return {
        "card": _card() if device == "cuda" else "none: on the CPU",
        "processor": hardware.machine(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit or versions()["commit"],
        "code": code_hash(),
    }


def _card() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: no nvidia-smi"
    done = subprocess.run([tool, f"--query-gpu={QUERY}", "--format=csv,noheader"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return "; ".join(done.stdout.split("\n")).strip("; ") or f"unknown: nvidia-smi said {done.stderr.strip()[:80]}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
