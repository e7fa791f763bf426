"""A worker process as the process that started it sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Pipe
from pathlib import Path

from ilr_bench.core.errors import IlrError
from ilr_bench.study.launch.scheduler import Event, Failure, Job, JobEnd

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Two OpenMP threads of one tiny model on a busy machine are slower than one, by up to two hundred times."""
END_SECONDS = 10.0
"""How long an interpreter that has closed its pipe may take to end by itself."""
TAIL = 20
"""Lines of a log that a failure shows."""


class Worker:
    """Runs one job after the other, until one is lost with it or asks for a fresh process."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """`logs` is the folder of the jobs' logs, `environment` what differs from this process's."""
        self.connection, theirs = Pipe()
        self._logs = logs
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        # A session of its own: Ctrl-C in a terminal reaches the whole group, and the worker is told by its parent.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ilr_bench.study.launch.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **THREADS, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        theirs.close()
        self.job: Job | None = None
        self.heard = time.monotonic()
        """When its last sign of life came."""
        self.spent = False
        """Whether it takes no other job."""

    @property
    def pid(self) -> int:
        """Id of its process."""
        return self._process.pid

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
        message = f"its worker gave no sign of life for {timeout:.0f} s and was killed (--patience waits longer)"
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
    """What the exit status of a worker that died says: killed by a signal, or an error that is nobody's to mend."""
    if status < 0:
        cause = f"its worker process was killed by {signal.Signals(-status).name}"
        if -status == signal.SIGKILL:
            cause += ", as the kernel does where memory runs out"
        return Failure(cause, IlrError.exit_status, passing=True)
    return Failure(f"an error that should not happen ended it (status {status})", IlrError.exit_status)
