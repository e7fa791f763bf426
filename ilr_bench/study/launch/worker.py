"""A worker process: `python -m ilr_bench.study.launch.worker DESCRIPTOR` takes jobs from that end of a pipe.

It answers with the jobs' news, their ends, and None as a mere sign of life. What a job prints goes to its log. An
error that is neither the user's to mend nor a want of memory ends the process: the log's tail says why.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ilr_bench.core import signals
from ilr_bench.core.errors import IlrError, MemoryShortageError
from ilr_bench.storage.recovery import is_out_of_memory
from ilr_bench.study.launch import scheduler
from ilr_bench.study.launch.scheduler import Event, Failure, Job, JobEnd

HEARTBEAT_SECONDS = 1.0


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
        # Another process may have taken the memory for a while.
        return JobEnd(job.name, Failure(str(error), error.exit_status, passing=isinstance(error, MemoryShortageError)))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.print_exc()
        return JobEnd(job.name, Failure(f"out of memory: {error}", IlrError.exit_status, passing=True))
    return JobEnd(job.name)


if __name__ == "__main__":
    main(int(sys.argv[1]))
