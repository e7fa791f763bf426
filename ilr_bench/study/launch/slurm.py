"""Jobs through SLURM: one of its jobs each, submitted by submitit, which looks after one worker process on its node.

The worker is the same process as on one machine, under the same rules. Everything passes through the study's folder,
which all nodes must see under the same path: jobs and ends as submitit's files, progress as a number, and the wish to
stop by taking away the token that `announce` left.
"""

from __future__ import annotations

import pickle
import select
import shutil
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, IlrError, MissingInputError, StoreError
from ilr_bench.core.extras import require
from ilr_bench.core.signals import Interrupt
from ilr_bench.storage.files import write_atomic
from ilr_bench.study.launch.local import TAIL, explain, log_name, tail
from ilr_bench.study.launch.ray import TOKEN, NodeEnv, NodeWorker, announce
from ilr_bench.study.launch.scheduler import Event, Failure, Job, JobEnd

LOOK_SECONDS = 1.0
"""Between two looks at the shared folder, on both sides."""
STATE_SECONDS = 60.0
"""After which sacct is asked anew: a job that was killed leaves no file."""
EARLIER_SECONDS = 180.0
"""For jobs of an earlier command to end; SLURM's own patience with one that it cancels is half a minute."""
SHARED_NAMES = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "stderr_to_stdout")
"""Options that submitit has for every kind of cluster; it wants `slurm_` before all others."""
ONE_TASK = ("nodes", "tasks_per_node", "ntasks_per_node")
EXTRA = "additional_parameters"
ENDS = {
    "TIMEOUT": "its time was over (--slurm time=MINUTES)",
    "PREEMPTED": "it was preempted",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "OUT_OF_MEMORY": explain(-signal.SIGKILL).message,
}
"""State of a job that may succeed at another attempt -> what happened."""


@dataclass
class _Submitted:
    job: Job
    handle: Any
    """Submitit's."""
    progress: Path
    """Written by the job: units of work that are done; there as soon as it has begun."""
    done: float = 0.0


class Slurm:
    """Up to `slots` SLURM jobs at a time, waiting or running."""

    def __init__(
        self,
        slots: int,
        out: Path,
        timeout: float,
        gpus: int = 0,
        options: Mapping[str, Any] | None = None,
        cluster: str = "slurm",
    ) -> None:
        """`options`: what a job asks for, under submitit's names; `gpus`: for each job; `cluster`: submitit's name.

        Jobs that an earlier command has left in the queue are cancelled first. Raises MissingInputError where submitit
        or SLURM is missing, ConfigurationError for options that submitit does not take, StoreError where earlier jobs
        do not end.
        """
        require("slurm", "--executor slurm")
        import submitit
        import submitit.core.utils as submitit_errors

        self.slots = slots
        self._submitit, self._errors = submitit, submitit_errors
        self._out = out.resolve()
        self._folder = self._out / "slurm"
        self._named = "name" in (options or {})
        try:
            self._cluster = submitit.AutoExecutor(self._folder / "%j", cluster=cluster)
            self._cluster.update_parameters(**as_submitit(options or {}, gpus))
        except RuntimeError as error:
            raise MissingInputError(
                f"--executor slurm: {error} (sbatch, srun, sacct and scancel are needed)"
            ) from error
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise ConfigurationError(f"--slurm: {str(error).splitlines()[0]}") from error
        self._node_env = announce(self._out, timeout)
        self._submitted: list[_Submitted] = []
        self._refused: list[JobEnd] = []
        self._stopping = False
        self._state_asked = time.monotonic()
        if cluster == "slurm":
            self._end_earlier()

    def start(self, job: Job) -> None:
        """See Executor."""
        progress = self._folder / f"{self._node_env.token[:8]}-{log_name(job.name)}.progress"
        progress.unlink(missing_ok=True)
        if not self._named:
            self._cluster.update_parameters(name=f"ilr-{log_name(job.name).removesuffix('.log')}")
        try:
            handle = self._cluster.submit(work, self._node_env, pickle.dumps(job), progress)
        except (self._errors.FailedJobError, self._errors.FailedSubmissionError, OSError) as error:
            message = f"SLURM did not take it: {error}"
            self._refused.append(JobEnd(job.name, Failure(message, IlrError.exit_status)))
            return
        self._submitted.append(_Submitted(job, handle, progress))

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | JobEnd]:
        """See Executor."""
        while True:
            news: list[Event | JobEnd] = [*self._refused]
            self._refused.clear()
            if self._submitted and time.monotonic() - self._state_asked > STATE_SECONDS:
                self._state_asked = time.monotonic()
                self._submitted[0].handle.done(force_check=True)  # asks for all of them
            for submitted in list(self._submitted):
                news += self._news(submitted)
            if news or (interrupt is not None and interrupt.signal is not None):
                return news
            select.select([] if interrupt is None else [interrupt], [], [], LOOK_SECONDS)

    def stop(self) -> None:
        """See Executor."""
        self._stopping = True
        (self._out / TOKEN).unlink(missing_ok=True)
        for submitted in self._submitted:
            if not submitted.progress.exists():  # it waits in the queue
                submitted.handle.cancel(check=False)

    def close(self) -> None:
        """See Executor."""
        (self._out / TOKEN).unlink(missing_ok=True)
        for submitted in self._submitted:
            submitted.handle.cancel(check=False)
        if not self._submitted:  # else the next command waits for their end
            shutil.rmtree(self._folder, ignore_errors=True)

    def _news(self, submitted: _Submitted) -> list[Event | JobEnd]:
        over = is_over(submitted.handle)  # before progress is read, so that the last of it is not missed
        news: list[Event | JobEnd] = []
        done = float(submitted.progress.read_text()) if submitted.progress.exists() else 0.0
        if done != submitted.done:
            submitted.done = done
            news.append(Event(submitted.job.name, done=done))
        if over:
            self._submitted.remove(submitted)
            failure = self._failure(submitted)
            if failure is not None and self._stopping:
                failure = replace(failure, passing=True)
            news.append(JobEnd(submitted.job.name, failure))
            submitted.progress.unlink(missing_ok=True)
            shutil.rmtree(submitted.handle.paths.folder, ignore_errors=True)
        return news

    def _failure(self, submitted: _Submitted) -> Failure | None:
        """How a job has ended: by its own word, else by its state."""
        handle = submitted.handle
        try:
            if _state(handle) != "PREEMPTED" or handle.paths.result_pickle.exists():
                end: JobEnd = handle.result()
                return end.failure
        except self._errors.FailedJobError as error:
            return Failure("an error that should not happen ended it", IlrError.exit_status, tail=_last(str(error)))
        except self._errors.UncompletedJobError:
            pass
        failure = explain_state(_state(handle), submitted.progress.exists())
        log = tail(self._out / "logs" / log_name(submitted.job.name)) if submitted.progress.exists() else ""
        return replace(failure, tail=log or _last(handle.stderr() or ""))

    def _end_earlier(self) -> None:
        """A command that was killed leaves its jobs to SLURM, and two jobs at one trial would write over each other."""
        folders = [path for path in self._folder.glob("[0-9]*") if path.is_dir()]
        earlier: list[Any] = [self._submitit.SlurmJob(self._folder / "%j", path.name) for path in folders]
        running = [handle for handle in earlier if not is_over(handle)]
        if running:
            note(f"waiting for the end of {len(running)} SLURM jobs of an earlier command")
        for handle in running:
            handle.cancel(check=False)
        deadline = time.monotonic() + EARLIER_SECONDS
        while running := [handle for handle in running if not is_over(handle, force=True)]:
            if time.monotonic() > deadline:
                names = ", ".join(handle.job_id for handle in running)
                (self._out / TOKEN).unlink(missing_ok=True)
                raise StoreError(
                    f"SLURM jobs of an earlier command do not end: {names}; see squeue, and remove {self._folder} "
                    "when they are gone"
                )
            time.sleep(LOOK_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)


def as_submitit(options: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """Options as `AutoExecutor.update_parameters` takes them; sbatch's own ones come as `additional_parameters.NAME`.

    Raises ConfigurationError for several tasks.
    """
    for key in ONE_TASK:
        if key in options:
            raise ConfigurationError(f"--slurm {key}: a SLURM job of a sweep is one process on one node; leave it out")
    nested = {key.partition(".")[2]: value for key, value in options.items() if key.startswith(f"{EXTRA}.")}
    # A job that SLURM started again by itself would run beside the one that takes its place.
    extra = {"no-requeue": True, **options.get(EXTRA, {}), **nested}
    plain = {key: value for key, value in options.items() if key.partition(".")[0] != EXTRA}
    if gpus:
        plain.setdefault("gpus_per_node", gpus)
    return {key if key in SHARED_NAMES else f"slurm_{key}": value for key, value in plain.items()} | {
        f"slurm_{EXTRA}": extra
    }


def is_over(handle: Any, force: bool = False) -> bool:
    """Whether a job has ended. Submitit holds that a preempted one will go on, which `as_submitit` rules out."""
    return bool(handle.done(force_check=force)) or _state(handle) == "PREEMPTED"


def explain_state(state: str, begun: bool) -> Failure:
    """A job that left no word of its own; one that had not begun its work finds the same again."""
    if state in ENDS:
        return Failure(f"its SLURM job ended as {state}: {ENDS[state]}", IlrError.exit_status, passing=True)
    if state == "CANCELLED":
        return Failure("its SLURM job was cancelled (scancel)", IlrError.exit_status)
    when = "" if begun else " before its work began"
    return Failure(f"its SLURM job ended as {state}{when} and left no result", IlrError.exit_status, passing=begun)


def _state(handle: Any) -> str:
    """In one word, such as CANCELLED for `CANCELLED by 1000`."""
    return (str(handle.state).split() or ["UNKNOWN"])[0].rstrip("+")


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL:])


def work(node_env: NodeEnv, message: bytes, progress: Path) -> JobEnd:
    """Runs in a SLURM job: one job of a sweep, in a worker process of its own.

    It is asked to stop where the token is gone, and by the signals that SLURM sends before it ends a job.
    """
    worker = NodeWorker(node_env)
    asked, ended = threading.Event(), threading.Event()
    warnings = (signal.SIGUSR2, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in warnings}
    threading.Thread(target=_pass_on_stop, args=(node_env, worker, asked, ended), daemon=True).start()
    try:
        write_atomic(progress, "0")
        news = worker.poll(message)
        while True:
            for one in news:
                if isinstance(one, JobEnd):
                    return one
                write_atomic(progress, str(one.done))
            news = worker.poll(None)
    finally:
        ended.set()
        worker.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on_stop(node_env: NodeEnv, worker: NodeWorker, asked: threading.Event, ended: threading.Event) -> None:
    while not ended.wait(LOOK_SECONDS):
        if asked.is_set() or node_env.mismatch() is not None:
            worker.stop()
