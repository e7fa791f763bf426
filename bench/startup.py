"""Start-up, and what is made once: `import ilr_bench`, `--help`, the libraries, a micro model.

Fastest of several processes, CPU seconds of each whole process, Python's own start included.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.clock import fastest
from bench.results import BenchRow

LIBRARIES = "import torch, transformers, trl, peft, lm_eval"
STARTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "python, nothing else": (5, ("-c", "pass")),
    "import ilr_bench": (5, ("-c", "import ilr_bench")),
    "ilr-bench --help": (5, ("-m", "ilr_bench", "--help")),
    "python -m ilr_bench.sweep --help": (5, ("-m", "ilr_bench.sweep", "--help")),
    "the libraries (torch, transformers, trl, peft, lm-eval)": (2, ("-c", LIBRARIES)),
    "all that a trial imports": (2, ("-c", "import ilr_bench.study.trial")),
}
"""Name -> how often, and Python's arguments."""


def time_startup() -> list[BenchRow]:
    """A row per start, and one for a micro model made from nothing, which takes minutes of a busy machine."""
    rows: list[BenchRow] = []
    for what, (repeats, arguments) in STARTS.items():
        start = partial(subprocess.run, [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        (seconds,) = fastest(start, repeats=repeats, warm=False, clock=children_time)
        rows.append({"group": "start-up", "what": what, "ours": seconds})
    return [*rows, {"group": "start-up", "what": "making a micro model (A)", "ours": make_model()}]


def children_time() -> float:
    """CPU seconds of all processes under this one that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def make_model() -> float:
    """CPU seconds from nothing; it is kept where the machine had none."""
    # Torch comes with it, and the processes above are measured without.
    from ilr_bench.models.catalogue import MODELS

    entry = MODELS.get("A")
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        if entry.folder().exists():
            entry.make(Path(folder))
        else:
            entry.prepare()
        return time.process_time() - start
