"""The machine: processor, cores, memory, graphics cards; outside every hash."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

CPUS = Path("/proc/cpuinfo")
GPUS = Path("/proc/driver/nvidia/gpus")


def machine(cpus: Path = CPUS, gpus: Path = GPUS) -> str:
    """Processor, cores that this process may use, memory and graphics cards in one line.

    Reads the kernel's files (`cpus`, `gpus`), so that neither torch nor a driver's library is loaded; without them
    (not Linux) the processor is the architecture and graphics cards are not listed.
    """
    name = re.search(r"^model name\s*:\s*(.+)$", cpus.read_text(), re.MULTILINE) if cpus.exists() else None
    parts = [name[1].strip() if name else platform.machine() or "unknown processor", f"{cores()} cores"]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    for card in sorted(gpus.glob("*/information")):
        model = re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE)
        parts.append(model[1].strip() if model else "NVIDIA card")
    return ", ".join(parts)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_memory() -> tuple[int, ...]:
    """Bytes of each NVIDIA card, from its driver; () where there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return tuple(int(line) * 2**20 for line in done.stdout.split()) if done.returncode == 0 else ()


def yield_idle_cores() -> None:
    """Makes OpenMP threads that wait for each other sleep at once; call it before torch is imported.

    Beside other processes, two threads that spin were fifteen times slower than two that sleep (linear layers of
    SmolLM2's size, two cores).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
