"""A sweep whose jobs say when they ran: `python -m bench.timed_sweep LOG <options of ilr_bench.sweep>`.

The sweep is the real one; only its jobs are wrapped, so that what lies between them can be told from what they do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilr_bench import sweep
from ilr_bench.executor import Job

_ran = False


def process_age() -> float:
    """Seconds since this process was started; 0 where the system does not say."""
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return 0.0
    ticks = float(stat.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def timed(log: Path, job: Job, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Runs a job in a worker and adds a line to the log; what it imports is timed apart, in a worker's first one."""
    global _ran
    age, begun = 0.0 if _ran else process_age(), time.monotonic()
    if not _ran:
        import ilr_bench.benchmarks.harness
        import ilr_bench.trial  # noqa: F401

        _ran = True
    imported = time.monotonic()
    function(*arguments)
    line = {
        "job": job.name,
        "needs": job.needs,
        "worker": os.getpid(),
        "age": age,
        "begun": begun,
        "imports": imported - begun,
        "seconds": time.monotonic() - imported,
        "ended": time.monotonic(),
    }
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """Runs the sweep in this process."""
    log = Path(sys.argv.pop(1)).resolve()
    study_jobs = sweep.study_jobs

    def wrapped(*arguments: Any) -> list[Job]:
        return [
            replace(job, function=timed, arguments=(log, replace(job, arguments=()), job.function, job.arguments))
            for job in study_jobs(*arguments)
        ]

    sweep.study_jobs = wrapped  # type: ignore[assignment]
    log.write_text(json.dumps({"start_up": process_age(), "begun": time.monotonic()}) + "\n", encoding="utf-8")
    sweep.app()


if __name__ == "__main__":
    from bench.timed_sweep import main as run  # jobs are looked up in the module, not in `__main__`

    run()
