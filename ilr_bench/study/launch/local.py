"""Jobs on worker processes of this machine, one thread each, each with a set of GPUs to itself where wanted.

`Local` is the executor, `Worker` one process as it sees it, `main` what runs in that process: `python -m
ilr_bench.study.launch.local DESCRIPTOR` takes jobs from that end of a pipe, and answers with their events, their ends
and heartbeats (None). What a job prints goes to its log. An error that is neither the user's to mend nor a want of
memory ends the process: the log's tail says why.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from ilr_bench.core import signals
from ilr_bench.core.errors import IlrError, LostServiceError, MemoryShortageError
from ilr_bench.core.signals import Interrupt
from ilr_bench.storage.recovery import is_out_of_memory
from ilr_bench.study.launch import scheduler
from ilr_bench.study.launch.scheduler import Event, Failure, Job, JobEnd

TIMEOUT = 1800.0
"""Seconds: more than any one call takes that sends no heartbeat, such as a large batch sampled by vLLM."""
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Two OpenMP threads of one tiny model on a busy machine are slower than one, by up to two hundred times."""
END_SECONDS = 10.0
"""How long an interpreter that has closed its pipe may take to end by itself."""
TAIL = 20
"""Lines of a log that a failure shows."""
HEARTBEAT_SECONDS = 1.0


@dataclass
class _Slot:
    environment: dict[str, str]
    worker: Worker | None = None


class Local:
    """As many workers as there are slots; the death of one touches no other."""

    def __init__(
        self, workers: int, logs: Path, timeout: float = TIMEOUT, environments: Sequence[dict[str, str]] = ()
    ) -> None:
        """`logs` is the folder of the jobs' logs, `environments` holds variables of each worker's own."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._timeout = timeout
        self._slots = [_Slot(environment) for environment in environments or [{} for _ in range(workers)]]

    @property
    def slots(self) -> int:
        """See Executor."""
        return len(self._slots)

    def start(self, job: Job) -> None:
        """See Executor."""
        free = [slot for slot in self._slots if slot.worker is None or slot.worker.job is None]
        # A process that runs has its libraries loaded.
        slot = max(free, key=lambda slot: slot.worker is not None and not slot.worker.spent)
        if slot.worker is not None and slot.worker.spent:
            slot.worker.close()
            slot.worker = None
        if slot.worker is None:
            slot.worker = Worker(self._logs, slot.environment)
        slot.worker.start(job)

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | JobEnd]:
        """See Executor."""
        busy = {worker.connection: worker for worker in self._busy()}
        remaining = min(worker.heard for worker in busy.values()) + self._timeout - time.monotonic()
        received = wait([*busy, *([] if interrupt is None else [interrupt.fileno()])], max(0.0, remaining))
        news: list[Event | JobEnd] = []
        for connection, worker in busy.items():
            if connection in received:
                news += worker.news()
            elif time.monotonic() - worker.heard > self._timeout:
                news.append(worker.kill_silent(self._timeout))
        return news

    def stop(self) -> None:
        """See Executor."""
        for worker in self._busy():
            worker.ask_to_stop()

    def close(self) -> None:
        """See Executor."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.close()
                slot.worker = None

    def _busy(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.job is not None]


class Worker:
    """Runs one job after the other, until one is lost with it or asks for a fresh process."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """`logs` is the folder of the jobs' logs, `environment` what differs from this process's."""
        self.connection, theirs = Pipe()
        self._logs = logs
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        # A session of its own: Ctrl-C in a terminal reaches the whole group, and the worker hears from its parent.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ilr_bench.study.launch.local", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **THREADS, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        theirs.close()
        self.job: Job | None = None
        self.heard = time.monotonic()
        """When its last message came, on the monotonic clock."""
        self.spent = False
        """Whether it takes no other job."""

    def start(self, job: Job) -> None:
        """Hands over a job. A worker that has died since the last one shows that when it is listened to."""
        self.job, self.heard = job, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((str(self._log(job)), pickle.dumps(job)))

    def news(self) -> list[Event | JobEnd]:
        """What has come, at least one message being there; the end of the job is the last of it."""
        self.heard = time.monotonic()
        received: list[Event | JobEnd] = []
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, JobEnd):
                    lost = message.failure is not None and message.failure.passing
                    return [*received, self._end(message.failure, lost)]
                if message is not None:
                    received.append(message)
        except (EOFError, ConnectionResetError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self.kill()
            return [*received, self._end(explain(self._process.returncode), lost=True)]
        return received

    def kill_silent(self, timeout: float) -> JobEnd:
        """Kills a worker that has been silent for `timeout` seconds."""
        self.kill()
        message = f"its worker sent no heartbeat for {timeout:.0f} s and was killed (--patience waits longer)"
        return self._end(Failure(message, IlrError.exit_status, passing=True), lost=True)

    def ask_to_stop(self) -> None:
        """Has the job end where everything is saved; kills it if it does not heed that."""
        if self.job is not None and self.job.heeds_stop:
            self._process.terminate()
        else:
            self.kill()

    def kill(self) -> None:
        """Ends the process and those of its group at once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Ends the process and gives the pipe back."""
        self.kill()
        self.connection.close()

    def _end(self, failure: Failure | None, lost: bool) -> JobEnd:
        job, self.job = self.job, None
        if job is None:
            raise RuntimeError("a worker without a job has ended one")
        self.spent = lost
        if failure is not None and lost:
            failure = replace(failure, tail=tail(self._log(job)))
        return JobEnd(job.name, failure)

    def _log(self, job: Job) -> Path:
        return self._logs / log_name(job.name)


def log_name(job: str) -> str:
    """The file that holds what a job printed: its name, without the folders that its trial lies in."""
    return re.sub(r"[^\w.+=-]+", "_", job.rpartition("/")[2]) + ".log"


def tail(log: Path) -> str:
    """The last lines of a log; empty where there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])


def explain(status: int) -> Failure:
    """The exit status of a worker that died: killed by a signal, or an error in this program."""
    if status < 0:
        cause = f"its worker process was killed by {signal.Signals(-status).name}"
        if -status == signal.SIGKILL:
            cause += ", as the kernel does where memory runs out"
        return Failure(cause, IlrError.exit_status, passing=True)
    return Failure(f"an error that should not happen ended it (status {status})", IlrError.exit_status)


def main(descriptor: int) -> None:
    """Runs jobs until the other end of the pipe is closed."""
    signals.install()
    os.set_inheritable(descriptor, False)
    connection: Connection[Any, Any] = Connection(descriptor)
    messages: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, messages), daemon=True).start()
    signals.subscribe_heartbeat(_Heartbeat(connection))
    while True:
        log, message = messages.get()
        _print_to(log)
        job: Job = pickle.loads(message)
        scheduler.subscribe(partial(_pass_on, connection, job.name))
        connection.send(_run(job))


def _pass_on(connection: Connection[Any, Any], job: str, event: Event) -> None:
    connection.send(replace(event, job=job))


def _receive(connection: Connection[Any, Any], messages: queue.SimpleQueue[tuple[str, bytes]]) -> None:
    """Ends this process when the one that started it is gone.

    With that process the study's lock is gone: a worker that went on would write beside the next sweep's.
    """
    while True:
        try:
            messages.put(connection.recv())
        except (EOFError, ConnectionResetError):
            os._exit(1)


class _Heartbeat:
    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._last = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_SECONDS:
            self._last = now
            self._connection.send(None)


def _print_to(log: str) -> None:
    """From here on, what this process and its children print goes to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _run(job: Job) -> JobEnd:
    try:
        job.function(*job.arguments)
    except signals.Stopped as stop:
        return JobEnd(job.name, Failure(str(stop), stop.exit_status, passing=True))
    except IlrError as error:
        traceback.print_exc()
        # Another process may have taken the memory for a while; a server may come back.
        passing = isinstance(error, MemoryShortageError | LostServiceError)
        return JobEnd(job.name, Failure(str(error), error.exit_status, passing=passing))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.print_exc()
        return JobEnd(job.name, Failure(f"out of memory: {error}", IlrError.exit_status, passing=True))
    return JobEnd(job.name)


if __name__ == "__main__":
    main(int(sys.argv[1]))
