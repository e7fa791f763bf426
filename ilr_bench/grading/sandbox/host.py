"""Outside the jail: starts the launcher, asks it for programs, watches their CPU time, and reads their replies.

What a program may take is CPU time, read from the kernel's clock of its process, so that a verdict does not
depend on what else the machine does. Two things cost no CPU time: to wait for ever, and to wait again and again.
A program whose clock stands still for `STILL_SECONDS`, or which has been watched for `WAITING_FACTOR` times its CPU
limit, in one step or altogether, has overrun as well, whatever it sends meanwhile; both are counted in intervals in
which this process itself was running. Nothing is read that could block.

A program that something else killed (the system, for want of memory) has not failed: KILLED says so.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import json
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ilr_bench
from ilr_bench.core.errors import IlrError
from ilr_bench.grading.killable_pool import ProcessOwner

STILL_SECONDS = 5.0
WAITING_FACTOR = 30.0
LONGEST_REPLY = 64 << 20
"""Bytes of one line that are accepted where the caller knows no better."""
_INTERVAL = 0.02
_START_SECONDS = _END_SECONDS = 120.0
_PACKAGES = ("numpy", "numpy.libs")
# The settings name paths, which programs could read in a command line.
_COMMAND = (
    "import json, os, sys; settings = json.loads(os.read(0, 1 << 16)); sys.path.insert(0, settings['root']); "
    "from ilr_bench.grading.sandbox.launcher import main; main(settings)"
)


class JailError(IlrError):
    """The kernel does not give what the jail needs."""

    exit_status = 3


class ProgramEnd(enum.Enum):
    """Why there is no further reply."""

    FAILED = "failed"
    """The program raised, ended itself, or wrote something that is no output."""
    OVERRAN = "overran"
    KILLED = "was killed from outside"
    """Neither by its limits nor by itself. (Without a jail, a program that kills itself looks the same.)"""


@dataclass(frozen=True)
class ProgramRequest:
    """One program and the calls to make."""

    source: str
    entry_point: str
    calls: tuple[Any, ...]
    """Each either the arguments of the entry point or an expression."""
    setup: str = ""
    """Statements to run between the program and the calls."""
    view: Literal["value", "items", "present"] = "value"
    """What of an output is sent: itself; for iterables of any kind, their items; whether it is not None."""
    cpu_seconds: float = 60.0
    """The kernel's own limit on the whole, above those that are watched call by call."""


class Jail(ProcessOwner):
    """Starts programs. The launcher starts with the first one; close it, or use it in a `with`. Thread-safe."""

    def __init__(self, *, jail: bool = True) -> None:
        """`jail=False` gives up the namespaces and filters; limits and the folder of its own remain."""
        self._jail = jail
        self._lock = threading.Lock()
        self._launcher: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._protection = "none"

    @property
    def protection(self) -> str:
        """`namespaces+landlock`, `namespaces` where the kernel has no Landlock, or `none`.

        Starts the launcher; raises JailError where the kernel refuses.
        """
        with self._lock:
            self._start()
        return self._protection

    @property
    def pid(self) -> int | None:
        """The launcher's process id; None where none is running yet."""
        return None if self._launcher is None else self._launcher.pid

    @contextlib.contextmanager
    def run(self, request: ProgramRequest) -> Iterator[Run]:
        """A running program; it is dead, and all that it started, when the block is left.

        Raises JailError where the kernel refuses what the jail needs.
        """
        # What stopped the launcher may have come from outside, so there is a second chance.
        run = self._begin(request) or self._begin(request)
        if run is None:
            raise refusal("its launcher ended without a word")
        try:
            yield run
        finally:
            run.end()

    def close(self) -> None:
        """See `ProcessOwner.close`."""
        if self._line is not None and self._launcher is not None:
            self._line.close()
            self._launcher.wait()
        self._line = self._launcher = None

    def _begin(self, request: ProgramRequest) -> Run | None:
        """None where the launcher is gone."""
        control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        replies, its_replies = os.pipe()
        run = Run(control, replies, request.cpu_seconds)
        file = os.memfd_create("request")
        line = None
        try:
            with its_control, open(file, "wb", closefd=False) as content:
                marshal.dump(vars(request), content)
                content.seek(0)
                with self._lock:
                    line = self._start()
                    socket.send_fds(line, [b"p"], [its_control.fileno(), file, its_replies])
            began = run.begin()
        except (BrokenPipeError, ConnectionResetError):
            began = False
        finally:
            os.close(file)
            os.close(its_replies)
            if not run.pid:
                run.end()
        if not began:
            with self._lock:
                if self._line is line:
                    self.close()
        return run if began else None

    def _start(self) -> socket.socket:
        if self._line is not None and self._launcher is not None and self._launcher.poll() is None:
            return self._line
        root = str(Path(ilr_bench.__file__).parents[1])
        settings = {"jail": self._jail, "root": root, "packages": _packages(), "asking": os.getpid()}
        command = [sys.executable, "-S", "-s", "-P", "-c", _COMMAND]
        # The order of a set of texts hangs on the hash seed, and outputs on that order.
        environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        self._line, its_line = socket.socketpair()
        with its_line:
            self._launcher = subprocess.Popen(
                command, stdin=its_line.fileno(), stdout=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        self._line.sendall(json.dumps(settings).encode())
        answer = json.loads(_receive(self._line, _START_SECONDS) or b"{}")
        if "protection" not in answer:
            self.close()
            reason = answer.get("missing", "its launcher does not start (see above)")
            raise refusal(reason)
        self._protection = answer["protection"]
        return self._line


class Run:
    """The replies of one program. The limits of a step begin where the step before it ended."""

    def __init__(self, control: socket.socket, replies: int, limit: float) -> None:
        """`control`: the keeper's line. `replies`: the pipe's end. `limit`: CPU seconds of the whole program."""
        self._control, self._replies, self._limit = control, replies, limit
        os.set_blocking(replies, False)
        self._readable = select.poll()
        self._readable.register(replies, select.POLLIN)
        self._received = bytearray()
        self._waited = 0.0
        self._ended_by: int | None = None
        self.pid = 0
        """Process id of the program, as seen from here."""
        self.cpu_seconds = 0.0
        """CPU time of the step before."""

    def begin(self) -> bool:
        """Waits until the program's process is there; False where the launcher or the keeper is gone."""
        word, _, rest = _receive(self._control, _START_SECONDS).decode().partition(" ")
        if word == "pid":
            self.pid = int(rest)
            return True
        if word == "refused":
            raise refusal(rest)
        return False

    def loaded(self, cpu_seconds: float) -> ProgramEnd | None:
        """Waits until the program is loaded; None where it is."""
        line = self.reply(cpu_seconds, 16)
        if isinstance(line, ProgramEnd):
            return line
        return None if line == b"true" else ProgramEnd.FAILED

    def end(self, *, patient: bool = False) -> int:
        """Kills the program and waits until nothing of it is left; returns the signal that ended it before, else 0.

        `patient`: an end that is under way may take a moment. Raises JailError where the program never started, or
        cannot be ended.
        """
        if self._ended_by is not None:
            return self._ended_by
        self._ended_by = signal.SIGKILL  # the keeper's own end, where it says nothing else
        with contextlib.suppress(OSError):
            if patient:
                self._control.send(b"?")
            self._control.shutdown(socket.SHUT_WR)
        with self._control:
            os.close(self._replies)
            while message := _receive(self._control, _END_SECONDS):
                word, _, rest = message.decode().partition(" ")
                if word == "refused":
                    raise refusal(rest)
                if word == "ended":
                    self._ended_by = int(rest)
        return self._ended_by

    def reply(self, cpu_seconds: float, longest: int = LONGEST_REPLY) -> bytes | ProgramEnd:
        """The line with the next call's output (see `sandbox.wire`), which the program may have forged.

        Reading stops at `longest` bytes: a longer line is a failure.
        """
        if self._ended_by is not None:
            return ProgramEnd.FAILED
        try:
            return self._await(cpu_seconds, longest)
        except ProcessLookupError:
            return self._why_ended()

    def _await(self, cpu_seconds: float, longest: int) -> bytes | ProgramEnd:
        start = at = _cpu_seconds(self.pid)
        waited = still = 0.0
        seen = time.monotonic()
        end = self._received.find(b"\n")
        while end < 0:
            if len(self._received) > longest:
                return ProgramEnd.FAILED
            part = self._part()
            now, before, seen = _cpu_seconds(self.pid), seen, time.monotonic()
            passed = min(seen - before, _INTERVAL)
            waited, still, at = waited + passed, still + passed if now == at else 0.0, now
            self._waited += passed
            if part == b"":
                return ProgramEnd.OVERRAN if now - start > cpu_seconds else self._why_ended()
            if part is not None:
                index = part.find(b"\n")
                end = -1 if index < 0 else len(self._received) + index
                self._received += part
            too_long = waited > WAITING_FACTOR * cpu_seconds or self._waited > WAITING_FACTOR * self._limit
            if now - start > cpu_seconds or too_long or still > STILL_SECONDS:
                return ProgramEnd.OVERRAN
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self.cpu_seconds = _cpu_seconds(self.pid) - start
        return line if len(line) <= longest else ProgramEnd.FAILED

    def _part(self) -> bytes | None:
        """What can be read now or within a moment: None where nothing, empty where nothing is to come."""
        try:
            return os.read(self._replies, 1 << 20) if self._readable.poll(1000 * _INTERVAL) else None
        except BlockingIOError:
            return None

    def _why_ended(self) -> ProgramEnd:
        """Of a program that has let go of its pipe, or is gone with its keeper."""
        with contextlib.suppress(ProcessLookupError):
            if _cpu_seconds(self.pid) >= self._limit:
                return ProgramEnd.OVERRAN
        return ProgramEnd.KILLED if self.end(patient=True) == signal.SIGKILL else ProgramEnd.FAILED


def _receive(line: socket.socket, seconds: float) -> bytes:
    """What is said next on a line of this module's own processes; empty where they are gone.

    Raises JailError where they stay silent for so long.
    """
    poller = select.poll()
    poller.register(line, select.POLLIN)
    if not poller.poll(1000 * seconds):
        raise JailError(
            f"the processes around a model-written program have been silent for {seconds:.0f} s: something stopped "
            "them (without a jail, the program may have), or the machine is far too busy; run the command again"
        )
    try:
        return line.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, dead or alive until its parent has waited for it.

    Raises ProcessLookupError afterwards.
    """
    # How Linux numbers these clocks (clock_getcpuclockid(3), which Python does not offer).
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error


def refusal(reason: str) -> JailError:
    """The error for a kernel that refuses, with what to do."""
    return JailError(
        f"the jail for model-written programs cannot be built here: {reason}. It needs user, mount, process, network "
        "and IPC namespaces and seccomp on Linux 5.12 or newer. Either allow them (as an ordinary user: "
        "`sysctl user.max_user_namespaces` above 0, on Ubuntu `kernel.apparmor_restrict_unprivileged_userns=0`; in "
        "Docker: `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN`), or, on "
        "a machine that you can afford to lose, say `--no-jail`, which every record then repeats"
    )


def _packages() -> list[str]:
    """Folders of the packages that programs may import."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parents[1]
    return [str(folder / name) for name in _PACKAGES if (folder / name).is_dir()]
