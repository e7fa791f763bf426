"""What workers do in the tests of those who start them; imports little, so that they start fast."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from ilr_bench.core import signals
from ilr_bench.core.errors import MissingInputError, NumericalError
from ilr_bench.study.launch.scheduler import Event, emit


def touch(path: Path) -> None:
    path.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {os.environ.get('CUDA_VISIBLE_DEVICES')}")


def follow(path: Path, before: Path) -> None:
    path.write_text(before.read_text())


def fail() -> None:
    raise MissingInputError("no such model; install it")


def diverge() -> None:
    raise NumericalError("agent A, step 3: the loss is nan; lower update.learning_rate")


def divide() -> None:
    sys.stdout.write("about to divide\n")
    sys.stdout.write(str(1 / 0))


def die(starts: Path) -> None:
    count(starts)
    os.kill(os.getpid(), signal.SIGKILL)


def count(starts: Path) -> int:
    """How often a job has been started before this time."""
    before = len(starts.read_text()) if starts.exists() else 0
    with starts.open("a") as file:
        file.write(".")
    return before


def die_once(starts: Path) -> None:
    if count(starts) == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def lose_node_once(starts: Path, state: str) -> None:
    """Kills what looks after this process in a cluster's job, which ends in `state` by the books of fake_slurm."""
    if count(starts) == 0:
        if "FAKE_SLURM" in os.environ:
            (Path(os.environ["FAKE_SLURM"]) / f"{os.environ['SLURM_JOB_ID']}.ends").write_text(state)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


def save_when_warned(starts: Path, saved: Path) -> None:
    """The first time, warns what looks after this process, as SLURM does before a job's time is over."""
    if count(starts) == 0:
        os.kill(os.getppid(), signal.SIGUSR2)
        while not signals.received():
            signals.send_heartbeat()
            time.sleep(0.01)
        saved.touch()
        signals.stop_here("step 1")


def wait_for(starts: Path, other: Path, characters: int) -> None:
    """Goes on until another file has grown."""
    count(starts)
    while not other.exists() or len(other.read_text()) < characters:
        signals.send_heartbeat()
        time.sleep(0.01)


def hang_once(starts: Path) -> None:
    signals.send_heartbeat()
    if count(starts) == 0:
        while True:
            time.sleep(0.01)


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


def run_out_of_memory(starts: Path) -> None:
    before = count(starts)
    if before == 0:
        raise MemoryError("on the host")
    if before == 1:
        raise OutOfMemoryError("on the card")


def generate_stage(text: str) -> None:
    sys.stdout.write(f"printed {text}\n")
    sys.stderr.write(f"complained of {text}\n")
    os.system(f"echo a child says {text}")


def tick(path: Path) -> None:
    while True:
        path.write_text(str(time.monotonic()))
        time.sleep(0.02)


def report_progress() -> None:
    emit(Event("of the function's own", done=3.0))


def work_until_stopped(saved: Path) -> None:
    """Says that it has begun, and waits for a request to stop."""
    emit(Event("", done=1.0))
    while not signals.received():
        time.sleep(0.01)
    saved.touch()
    signals.stop_here("step 1")


def work_for_ever() -> None:
    emit(Event("", done=1.0))
    while True:
        time.sleep(0.01)


def meet(own: Path, other: Path) -> None:
    """Says on which node of a cluster it runs, and waits until another job has said so too."""
    own.write_text(os.environ["RAY_RAYLET_PID"])
    while not other.exists() or not other.read_text():
        time.sleep(0.01)


def stay_until(gone: Path) -> None:
    """Says on which node it runs, as units of progress that name it, and ends when a file is there."""
    emit(Event("", done=float(os.environ["RAY_RAYLET_PID"])))
    while not gone.exists():
        signals.send_heartbeat()
        time.sleep(0.01)
