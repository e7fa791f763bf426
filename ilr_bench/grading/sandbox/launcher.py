"""The process that starts programs: `launcher.main` in an interpreter of its own, started by `sandbox.host`.

It is small, holds neither a question nor an answer, and is itself in the jail's file system from the start. For every
program it forks a keeper, which makes the namespaces and forks the program's process. The keeper stays outside those
namespaces; on request, or when the process that asked is gone, it kills the program, and with this first process of a
process namespace the kernel ends every other one in it. Keeper and program each lead a session, so that no program has
a process group in common with anything else.

One message of one byte and three descriptors asks for a program: the keeper's line, the request (a file in memory) and
the pipe for replies. The keeper answers `refused WHY`, or `pid NUMBER`, and when the program has been killed or has
ended `ended SIGNAL`: the signal that ended it before the keeper did, else 0. Asked with `?` before the line is closed,
it waits a moment for an end that is under way.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from ilr_bench.grading.sandbox import isolation, program

# What programs import most often is there already when they are forked.
_WARM = (
    "abc array ast base64 bisect calendar cmath collections copy ctypes dataclasses datetime decimal enum fractions "
    "functools hashlib heapq inspect io itertools json math numbers operator queue random re statistics string "
    "struct textwrap threading time types typing unicodedata zlib"
)
_GRACE_SECONDS = 1.0
"""A process lets go of its files a little before it can be waited for."""


def main(settings: dict[str, Any]) -> None:
    """Serves until the process that started it is gone or closes the line (standard input)."""
    line = socket.socket(fileno=os.dup(0))
    asking = _watch(settings["asking"])
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    os.dup2(devnull, 1)
    os.close(devnull)
    for name in _WARM.split():
        importlib.import_module(name)
    program.empty_environment()
    sys.argv, sys.orig_argv = [""], []
    users: Sequence[int | None] = [None]
    if settings["jail"]:
        try:
            _require_architecture()
            users = own_users = isolation.separate()
            library = [path for path in sys.path if path != settings["root"]]
            isolation.require_readable(own_users[0], [*library, *settings["packages"]])
            isolation.build_root(library, settings["packages"])
        except OSError as error:
            line.sendall(json.dumps({"missing": str(error)}).encode() + b"\n")
            return
        sys.path[:] = [*library, isolation.PACKAGES]
    protection = "none" if users[0] is None else "namespaces+landlock" if isolation.version() else "namespaces"
    line.sendall(json.dumps({"protection": protection}).encode() + b"\n")
    _serve(line, asking, users)


def _watch(process: int) -> int | None:
    """A descriptor that tells when a process (not only the thread of it that started this one) is gone."""
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        sys.exit()
    except OSError:
        return None  # a kernel that has no such thing; the line's end tells as well, unless a child holds it


def _require_architecture() -> None:
    machine = os.uname().machine
    if machine not in isolation.ARCHITECTURES:
        raise OSError(
            f"the filter of system calls is written for {' and '.join(isolation.ARCHITECTURES)}, not {machine}"
        )


def _serve(line: socket.socket, asking: int | None, users: Sequence[int | None]) -> None:
    # The kernel cleans up after keepers; their exit status is not needed.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    poller = _poll(line.fileno(), asking)
    for user in itertools.cycle(users):
        if asking in {ready for ready, _ in poller.poll()}:
            return
        message, descriptors, _, _ = socket.recv_fds(line, 1, 3)
        if not message:
            return
        control_file, request, replies = descriptors
        control = socket.socket(fileno=control_file)
        if not os.fork():
            try:
                line.close()
                os.setsid()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(control, request, replies, asking, user)
            finally:
                os._exit(0)
        control.close()
        os.close(request)
        os.close(replies)


def _keep(control: socket.socket, request: int, replies: int, asking: int | None, user: int | None) -> None:
    """Starts one program; ends it when the other side closes the line."""
    folder = None
    try:
        if user is None:
            folder = tempfile.mkdtemp(prefix="ilr_bench-")
            os.chdir(folder)
        else:
            isolation.leave_everything(user)
    except OSError as error:
        control.sendall(f"refused {error}".encode())
        return
    # No descriptor is shared with other programs, not even of /dev/null, on which they could leave locks and notes.
    nothing, writer = os.pipe()
    printed, its_output = os.pipe()
    os.close(writer)
    child = os.fork()
    if not child:
        try:
            for copy, original in ((0, nothing), (1, its_output), (2, its_output)):
                os.dup2(original, copy)
            _become_program(control, request, replies, user)
        finally:
            os._exit(0)
    for descriptor in (request, replies, nothing, its_output):
        os.close(descriptor)
    control.sendall(f"pid {child}".encode())
    ended_by = _end(child, user, patient=_drop_output(printed, control, asking))
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    control.sendall(f"ended {ended_by}".encode())


def _poll(*descriptors: int | None) -> select.poll:
    poller = select.poll()
    for descriptor in descriptors:
        if descriptor is not None:
            poller.register(descriptor, select.POLLIN)
    return poller


def _drop_output(printed: int, control: socket.socket, asking: int | None) -> bool:
    """Reads what the program prints, until it is to end; returns whether its own end may be waited for."""
    poller = _poll(control.fileno(), asking, printed)
    while (ready := {descriptor for descriptor, _ in poller.poll()}) == {printed}:
        if not os.read(printed, 1 << 16):
            poller.unregister(printed)
    return control.fileno() in ready and control.recv(1) == b"?"


def _end(child: int, user: int | None, *, patient: bool) -> int:
    """Kills the program; returns the signal that had ended it before, else 0."""
    deadline = time.monotonic() + (_GRACE_SECONDS if patient else 0.0)
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_PID, child, look)) is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    if user is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return ended.si_status if ended is not None and ended.si_code == os.CLD_KILLED else 0


def _become_program(control: socket.socket, request_file: int, replies: int, user: int | None) -> None:
    request = program.read_request(request_file)
    try:
        os.setsid()
        if user is not None:
            isolation.give_up_rights(user)
        program.limit_resources(request["cpu_seconds"], threads=user is not None)
    except OSError as error:
        control.sendall(f"refused {error}".encode())
        return
    # Nothing of the launcher's is left open: over the keeper's line a program could forge the jail's own messages.
    control.close()
    os.closerange(3, replies)
    os.closerange(replies + 1, 1 << 16)
    program.run(request, replies)
