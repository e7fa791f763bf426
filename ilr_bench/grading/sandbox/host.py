"""Outside the jail: starts the launcher, asks it for programs, watches their CPU time, and reads their replies.

What a program may take is CPU time, read from the kernel's clock of its process, so that a verdict does not
depend on what else the machine does. Two things cost no CPU time: to wait for ever, and to wait again and again.
A program whose clock stands still for `STILL_SECONDS`, or which has been watched for `SILENCE_SECONDS` times its CPU
limit, has overrun as well; both are counted in intervals in which this process itself was running.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import json
import marshal
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import ilr_bench
from ilr_bench.core.errors import IlrError
from ilr_bench.grading.killable_pool import ProcessOwner
from ilr_bench.grading.sandbox.program import LENGTH

STILL_SECONDS = 5.0
SILENCE_SECONDS = 30.0
LONGEST_REPLY = 64 << 20
"""Bytes of one line that are accepted where the caller knows no better."""
_INTERVAL = 0.02
_START_SECONDS = 120.0
_PACKAGES = ("numpy", "numpy.libs")
_COMMAND = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from ilr_bench.grading.sandbox.launcher import main; main(sys.argv[2])"
)


class JailError(IlrError):
    """The kernel does not give what the jail needs."""

    exit_status = 3


class ProgramEnd(enum.Enum):
    """Why there is no further reply."""

    FAILED = "failed"
    """The program raised, ended itself, or wrote something that is no output."""
    OVERRAN = "overran"


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
        control, its_control = socket.socketpair()
        channel, its_channel = socket.socketpair()
        with control, channel:
            with its_control, its_channel:
                descriptors = [its_control.fileno(), its_channel.fileno()]
                with self._lock:
                    socket.send_fds(self._start(), [b"p"], descriptors)
            run = Run(control, channel, request)
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

    def _start(self) -> socket.socket:
        if self._line is not None and self._launcher is not None and self._launcher.poll() is None:
            return self._line
        root = str(Path(ilr_bench.__file__).parents[1])
        settings = json.dumps({"jail": self._jail, "root": root, "packages": _packages()})
        command = [sys.executable, "-S", "-s", "-P", "-c", _COMMAND, root, settings]
        # The order of a set of texts hangs on the hash seed, and outputs on that order.
        environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        self._line, its_line = socket.socketpair()
        with its_line:
            self._launcher = subprocess.Popen(
                command, stdin=its_line.fileno(), stdout=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        ready, _, _ = select.select([self._line], [], [], _START_SECONDS)
        answer = json.loads((self._line.recv(1 << 16) if ready else b"") or b"{}")
        if "protection" not in answer:
            self.close()
            reason = answer.get("missing", "its launcher does not start (see above)")
            raise refusal(reason)
        self._protection = answer["protection"]
        return self._line


class Run:
    """The replies of one program. The limits of a step begin where the step before it ended."""

    def __init__(self, control: socket.socket, channel: socket.socket, request: ProgramRequest) -> None:
        """Waits until the program's process is there."""
        self._control, self._channel = control, channel
        self._keeper = control.makefile("rb")
        self._received = bytearray()
        self.pid = self._pid()
        """Process id of the program, as seen from here."""
        self.cpu_seconds = 0.0
        """CPU time of the step before."""
        content = marshal.dumps(asdict(request))
        # The process may be gone, then the first reply is missing as well.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            channel.sendall(LENGTH.pack(len(content)) + content)

    def loaded(self, cpu_seconds: float) -> ProgramEnd | None:
        """Waits until the program is loaded; None where it is."""
        line = self.reply(cpu_seconds, 16)
        if isinstance(line, ProgramEnd):
            return line
        return None if line == b"true" else ProgramEnd.FAILED

    def end(self) -> None:
        """Kills the program and waits until nothing of it is left; raises JailError where it never started."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        message = self._keeper.read()
        if message.startswith(b"refused "):
            raise refusal(message.removeprefix(b"refused ").decode().strip())

    def _pid(self) -> int:
        word, _, rest = self._keeper.readline().decode().partition(" ")
        if word != "pid":
            raise refusal(rest.strip() or "its launcher ended without a word")
        return int(rest)

    def reply(self, cpu_seconds: float, longest: int = LONGEST_REPLY) -> bytes | ProgramEnd:
        """The line with the next call's output (see `sandbox.wire`), which the program may have forged.

        Reading stops at `longest` bytes: a longer line is a failure.
        """
        start = at = _cpu_seconds(self.pid)
        waited = still = 0.0
        end = self._received.find(b"\n")
        while end < 0:
            if len(self._received) > longest:
                return ProgramEnd.FAILED
            ready, _, _ = select.select([self._channel], [], [], _INTERVAL)
            now = _cpu_seconds(self.pid)
            if ready:
                part = self._receive()
                if not part:
                    return ProgramEnd.OVERRAN if now - start > cpu_seconds else ProgramEnd.FAILED
                index = part.find(b"\n")
                end = -1 if index < 0 else len(self._received) + index
                self._received += part
            else:
                waited += _INTERVAL
                still = still + _INTERVAL if now == at else 0.0
                at = now
            if now - start > cpu_seconds or waited > SILENCE_SECONDS * cpu_seconds or still > STILL_SECONDS:
                return ProgramEnd.OVERRAN
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self.cpu_seconds = _cpu_seconds(self.pid) - start
        return line if len(line) <= longest else ProgramEnd.FAILED

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(1 << 20)
        except ConnectionResetError:
            return b""


def _cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, dead or alive until its parent has waited for it."""
    # How Linux numbers these clocks (clock_getcpuclockid(3), which Python does not offer).
    return time.clock_gettime((~pid << 3) | 2)


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
