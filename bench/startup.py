"""Start-up, and what is made once: `import ilr_bench`, `--help`, the libraries, a micro model.

Fastest of several processes, CPU seconds of each whole process, Python's own start included.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rows import Row

PROCESSES = 5
LIBRARIES = "import torch, transformers, trl, peft, lm_eval"


def measure(making: bool = True) -> list[Row]:
    """A row per start; `making`: also a micro model made from nothing, which takes minutes of a busy machine."""
    rows: list[Row] = [
        {"what": "python, nothing else", "ours": fastest("-c", "pass")},
        {"what": "import ilr_bench", "ours": fastest("-c", "import ilr_bench")},
        {"what": "ilr-bench --help", "ours": fastest("-m", "ilr_bench", "--help")},
        {"what": "python -m ilr_bench.sweep --help", "ours": fastest("-m", "ilr_bench.sweep", "--help")},
        {"what": "the libraries (torch, transformers, trl, peft, lm-eval)", "ours": fastest("-c", LIBRARIES, times=2)},
        {"what": "all that a trial imports", "ours": fastest("-c", "import ilr_bench.trial", times=2)},
    ]
    if making:
        rows.append({"what": "making a micro model (A)", "ours": make_model()})
    return rows


def fastest(*arguments: str, times: int = PROCESSES) -> float:
    """Seconds of a Python process with these arguments."""
    return min(_seconds(arguments) for _ in range(times))


def make_model() -> float:
    """CPU seconds from nothing; it is kept where the machine had none."""
    # Torch comes with it, and the processes above are measured without.
    from ilr_bench.models.base import MODELS

    entry = MODELS.get("A")
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        if entry.folder().exists():
            entry.make(Path(folder))
        else:
            entry.prepare()
        return time.process_time() - start


def _seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
