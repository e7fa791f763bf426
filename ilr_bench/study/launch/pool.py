"""The worker pool of one study, with the settings that change no number; failures go to `failures.jsonl`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.hardware import gpu_memory
from ilr_bench.core.settings import Options
from ilr_bench.core.signals import Interrupt, interruptible
from ilr_bench.storage.files import explained
from ilr_bench.study.launch.local import TIMEOUT, Local, log_name
from ilr_bench.study.launch.scheduler import RETRIES, Event, Executor, Failure, Job, JobSource, run_jobs
from ilr_bench.study.tracking import make_loggers
from ilr_bench.study.tracking.study_log import StudyLog

FAILURES = "failures.jsonl"
"""A line per attempt that failed; outside the promise of equal bytes."""


class WorkerPool:
    """Runs jobs for a study until it is stopped."""

    def __init__(
        self, out: Path, execution: Execution, executor: Executor, interrupt: Interrupt | None, log: StudyLog
    ) -> None:
        self._out, self._execution, self._executor, self._interrupt = out, execution, executor, interrupt
        self._log = log

    @property
    def stopped(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._interrupt is not None and self._interrupt.signal is not None

    def run(self, jobs: Sequence[Job] | JobSource, watch: Callable[[Event], None]) -> dict[str, Failure]:
        """See `run_jobs`. Raises Stopped once all that ran has been saved after a signal."""

        def note_and_watch(event: Event) -> None:
            if event.failure is not None:
                self._note(event, event.failure)
            watch(event)
            self._log(event)

        return run_jobs(jobs, self._executor, note_and_watch, self._execution.retries, self._interrupt)

    def _note(self, event: Event, failure: Failure) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "job": event.job,
            "outcome": "retried" if event.again else "failed" if failure.status is not None else "not run",
            "message": failure.message,
            "log": f"logs/{log_name(event.job)}",
            "tail": failure.tail,
        }
        path = self._out / FAILURES
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def open_worker_pool(out: Path, execution: Execution) -> Iterator[WorkerPool]:
    """A worker pool for a study's folder; its workers end with the context. Raises what `open_executor` raises."""
    # In this order: Ray has handlers of its own.
    with (
        closing(open_executor(execution, out)) as executor,
        interruptible() as interrupt,
        StudyLog(out, make_loggers(execution.log)) as log,
    ):
        yield WorkerPool(out, execution, executor, interrupt, log)


def note_time(out: Path, **what: float) -> None:
    """Adds a line to the study's `timing.jsonl`."""
    path = out / "timing.jsonl"
    with explained(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


EXECUTORS = ("local", "ray", "slurm")


@dataclass(frozen=True)
class Execution:
    """Where jobs run and what is done about those that get lost."""

    executor: str = "local"
    workers: int = 2
    retries: int = RETRIES
    """Further attempts at a job whose worker died, hung or ran out of memory."""
    timeout: float = TIMEOUT
    """Seconds without a heartbeat after which a worker counts as hung."""
    gpus_per_trial: int = 0
    """GPUs that every worker has to itself; 0 leaves the choice of GPUs as it is."""
    ray_address: str | None = None
    """Of a Ray cluster, `auto` for the one of this machine; None starts one."""
    slurm: Options = field(default_factory=Options)
    """What a SLURM job asks for, under the names of submitit."""
    log: tuple[str, ...] = ()
    """Loggers that get the trials' records (see `tracking`)."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what cannot be meant, MissingInputError for a logger that is not installed."""
        if self.executor not in EXECUTORS:
            raise ConfigurationError(f"--executor {self.executor}: choose one of {', '.join(EXECUTORS)}")
        if self.ray_address is not None and self.executor != "ray":
            raise ConfigurationError("--ray-address goes with --executor ray")
        if self.slurm and self.executor != "slurm":
            raise ConfigurationError("--slurm goes with --executor slurm")
        if self.executor == "slurm" and not self.slurm.keys() & {"time", "timeout_min"}:
            raise ConfigurationError(
                "--executor slurm: say how long a job may take, by --slurm time=MINUTES, and whatever else your "
                "cluster wants, such as time=240,partition=gpu,mem_gb=32"
            )
        make_loggers(self.log)


def open_executor(execution: Execution, out: Path) -> Executor:
    """The executor for a study's folder; close it.

    Raises ConfigurationError where there are fewer GPUs than asked for or SLURM takes no such option,
    MissingInputError where Ray or SLURM is missing or out of reach.
    """
    if execution.executor == "ray":
        from ilr_bench.study.launch.ray import Ray

        return Ray(execution.workers, out, execution.timeout, execution.gpus_per_trial, execution.ray_address)
    if execution.executor == "slurm":
        from ilr_bench.study.launch.slurm import Slurm

        return Slurm(execution.workers, out, execution.timeout, execution.gpus_per_trial, execution.slurm)
    environments = gpu_sets(visible_gpus(), execution.gpus_per_trial, execution.workers)
    return Local(execution.workers, out / "logs", execution.timeout, environments)


def gpu_sets(gpus: list[str], each: int, workers: int) -> list[dict[str, str]]:
    """The environment of every worker, in which it sees `each` GPUs that no other one does; nothing for `each` = 0.

    The assignment is tested by its environment variables alone. Raises ConfigurationError if there are not enough.
    """
    if each * workers > len(gpus):
        raise ConfigurationError(
            f"--workers {workers} with --gpus-per-trial {each} need {each * workers} GPUs and {len(gpus)} are visible "
            f"(nvidia-smi, CUDA_VISIBLE_DEVICES); lower one of them"
        )
    sets = [gpus[each * index : each * (index + 1)] for index in range(workers)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if each else {} for gpus in sets]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index, _ in enumerate(gpu_memory())]
