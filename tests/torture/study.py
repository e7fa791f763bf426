"""The study that is tortured: its commands, and what is compared."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import warm

SETTINGS = {
    "training.steps": "4",
    "training.questions_per_step": "2",
    "training.checkpoint_every": "2",
    "training.validate_every": "2",
    "questions.train": "8",
    "questions.validation": "6",
    "sampling.samples": "4",
    "sampling.max_new_tokens": "24",
    "sampling.max_analysis_tokens": "16",
    "evaluation.limit": "4",
    "evaluation.max_new_tokens": "16",
}
COSTS = {f"costs.{suffix}" for suffix in ("md", "csv", "tex", "json")}
"""The one report that holds seconds."""
REPORTS = ("ranking", "table2", "training_curves", "variants")
"""Tables and a figure; the table of costs, and the page that holds it, state seconds and cannot be the same."""
PASSING = {"timing.jsonl", "events.jsonl", "failures.jsonl", "plan.json"} | COSTS
"""Files outside the promise of equal bytes, beside folders of logs and what is hidden."""
SECONDS = 0.005
Process = warm.Forked | subprocess.Popen[bytes]


@dataclass(frozen=True)
class Ended:
    """How the commands ended."""

    killed: str
    """The stage in which they were killed; empty where they were not."""
    status: int
    said: str


class TorturedStudy:
    """A micro study of two trials in `folder/study`, with its own cache of models."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.marks = folder, folder / "study", folder / "marks"
        sweep = ["ilr_bench.sweep", "--variants", "ilr,grpo_matched", "--models", "A,B", "--seeds", "0", "--fresh"]
        settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        self.seconds: list[float] = []
        """From the beginning of the first stage to the end of each command of the last run."""
        self.commands = [[*sweep, "--out", str(self.out), *settings], ["ilr_bench", "report", str(self.out), *REPORTS]]
        hooks = str(Path(__file__).parent / "hooks")
        paths = os.pathsep.join(filter(None, [hooks, os.environ.get("PYTHONPATH")]))
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ILR_BENCH_CACHE": str(folder / "cache"),
            "TORTURE_MARKS": str(self.marks),
            "PYTHONPATH": paths,
        }

    def run(
        self, kill: str = "", disturb: Callable[[float], bool] = lambda seconds: False, cold: bool = False
    ) -> Ended:
        """The study's commands, one after the other, until one fails or is killed.

        `kill` is for the hooks (TORTURE_KILL). `disturb(seconds since the first stage began)` is asked often, and says
        when to kill everything. `cold`: in fresh interpreters.
        """
        shutil.rmtree(self.marks, ignore_errors=True)
        self.marks.mkdir(parents=True)
        self.seconds.clear()
        said, began = "", 0.0
        for command in self.commands:
            log = self.folder / "command.log"
            process = self._start(command, {**self.environment, "TORTURE_KILL": kill}, log, cold)
            while process.poll() is None:
                began = began or (time.monotonic() if self.in_stage() else 0.0)
                if disturb(time.monotonic() - began if began else 0.0):
                    stage = self.in_stage() or "starting"
                    end(process)
                    return Ended(stage, -signal.SIGKILL, "")
                time.sleep(SECONDS)
            self.seconds.append(time.monotonic() - began if began else 0.0)
            said += log.read_text(encoding="utf-8", errors="replace")
            if process.returncode:
                return Ended("", process.returncode, said)
        return Ended("", 0, said)

    @staticmethod
    def _start(command: list[str], environment: dict[str, str], log: Path, cold: bool) -> Process:
        if not cold:
            return warm.command(command, environment, log)
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def in_stage(self) -> str:
        """The last stage that any process noted since it was last between two; empty before the first."""
        notes = [path for path in self.marks.iterdir() if alive(path.name)]
        last = [(path.stat().st_mtime_ns, path.read_text().splitlines()[-1]) for path in notes if path.stat().st_size]
        busy = [(when, stage) for when, stage in last if stage not in ("between", "starting")]
        return max(busy)[1] if busy else "between" if any(stage == "between" for _, stage in last) else ""

    def digests(self) -> dict[str, str]:
        """Name -> SHA-256 of everything in the study that equal runs leave equal."""
        found = {}
        for path in sorted(self.out.rglob("*")):
            name = path.relative_to(self.out)
            hidden = any(part.startswith(".") for part in name.parts)
            if path.is_file() and not hidden and path.name not in PASSING and name.parts[0] not in ("logs", "events"):
                found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def alive(process: str) -> bool:
    return Path("/proc", process).exists()


def family(process: int) -> list[int]:
    """A process and all that it started, and they."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for member in found:
        found += parents.get(member, [])
    return found


def end(process: Process) -> None:
    """kill -9 of a command and of all that it started; returns once none is left."""
    members = family(process.pid)
    for member in members:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    while any(alive(str(member)) and not zombie(member) for member in members):
        time.sleep(SECONDS)


def zombie(process: int) -> bool:
    try:
        return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
