"""Processes that may be killed at any moment: one line in, one line out.

What runs in them (a comparison of hostile formulas, a program that a model wrote) can take for ever or all
memory. The kernel ends such a process when one request has used up its CPU time: SIGPROF's default action is
taken even inside one long C call, which no Python exception can leave. The next request gets a new process.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ilr_bench.errors import MissingInputError

WALL_SECONDS = 120.0
"""A process silent for so long hangs outside its CPU limit, and is killed."""
START_SECONDS = 300.0
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")


class KillableWorker:
    """The side that asks. The process starts with the first request, without this process's environment."""

    def __init__(self, module: str, cpu_seconds: float) -> None:
        """`module` calls `serve` when run; `cpu_seconds` is the limit of one request."""
        self._command = [sys.executable, "-P", "-m", module, str(cpu_seconds)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's id; None where none is running yet."""
        return None if self._process is None else self._process.pid

    def ask(self, request: str) -> str | None:
        """The reply to one line; None where the process overran its limits or died of the request.

        A process that was ended by anything but its CPU limit gets a second chance, since that may have come
        from outside. Raises MissingInputError where the process cannot be started.
        """
        for _ in range(2):
            process = self._process or self._start()
            reply = self._exchange(process, request)
            if reply is not None:
                return reply
            ended = self._ending(process)
            self.close()
            if ended in (None, -signal.SIGPROF):
                return None
        return None

    def close(self) -> None:
        """Ends the process; the next request starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {**kept, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._process = process
        if self._read_line(process, START_SECONDS) != "ready":
            self.close()
            command = " ".join(self._command)
            raise MissingInputError(f"`{command}` does not start (see above); is this environment complete?")
        return process

    def _exchange(self, process: subprocess.Popen[bytes], request: str) -> str | None:
        assert process.stdin is not None
        try:
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._read_line(process, WALL_SECONDS)

    @staticmethod
    def _ending(process: subprocess.Popen[bytes]) -> int | None:
        """Exit status (negative: the signal), or None where the process is alive and silent."""
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return None

    @staticmethod
    def _read_line(process: subprocess.Popen[bytes], seconds: float) -> str | None:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line: bytes = process.stdout.readline() if ready else b""
        return line.decode().removesuffix("\n") if line.endswith(b"\n") else None


def serve(reply_to: Callable[[str], str], memory_bytes: int, *, sealed: bool) -> None:
    """The side that replies, until its input ends. Call it when all that takes time to set up is done.

    The limits: CPU seconds per request (first argument of the command line), address space, nothing written to
    files, no core dump. `sealed`: no file is opened either (so nothing can be imported any more), and no
    process or thread started (root excepted: the kernel does not count its processes).
    """
    cpu_seconds = float(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    # Parsers print; neither the protocol nor the user's terminal is the place for it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    limits = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if sealed:
        limits |= {resource.RLIMIT_NOFILE: 0, resource.RLIMIT_NPROC: 0}
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    replies.write("ready\n")
    for request in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        reply = reply_to(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(f"{reply}\n")
