"""The process that starts programs: `python -S -s -P -c ... launcher.main(SETTINGS)`, started by `sandbox.host`.

It is small, holds neither a question nor an answer, and is itself in the jail's file system from the start. For every
program it forks a keeper, which makes the namespaces and forks the program's process. The keeper stays outside those
namespaces; on request, or when the process that asked is gone, it kills the program, and with this first process of a
process namespace the kernel ends every other one in it.

One message of one byte and two descriptors asks for a program: the keeper's line (errors out; closing it ends the
program) and the program's line (request in, replies out).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from typing import Any

from ilr_bench.grading.sandbox import isolation, program

# What programs import most often is there already when they are forked.
_WARM = (
    "abc array ast base64 bisect calendar cmath collections copy ctypes dataclasses datetime decimal enum fractions "
    "functools hashlib heapq inspect io itertools json math numbers operator queue random re statistics string "
    "struct textwrap threading time types typing unicodedata zlib"
)


def main(settings: str) -> None:
    """Serves until the process that started it closes the line (standard input)."""
    chosen = json.loads(settings)
    line = socket.socket(fileno=os.dup(0))
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    os.dup2(devnull, 1)
    os.close(devnull)
    for name in _WARM.split():
        importlib.import_module(name)
    isolation.die_with_parent(signal.SIGKILL)
    program.empty_environment()
    user = None
    if chosen["jail"]:
        try:
            _require_architecture()
            user = isolation.separate()
            library = [path for path in sys.path if path != chosen["root"]]
            isolation.require_readable(user, [*library, *chosen["packages"]])
            isolation.build_root(library, chosen["packages"])
        except OSError as error:
            line.sendall(json.dumps({"missing": str(error)}).encode() + b"\n")
            return
        sys.path[:] = [*library, isolation.PACKAGES]
    protection = "none" if user is None else "namespaces+landlock" if isolation.version() else "namespaces"
    line.sendall(json.dumps({"protection": protection}).encode() + b"\n")
    _serve(line, user)


def _require_architecture() -> None:
    machine = os.uname().machine
    if machine not in isolation.ARCHITECTURES:
        raise OSError(
            f"the filter of system calls is written for {' and '.join(isolation.ARCHITECTURES)}, not {machine}"
        )


def _serve(line: socket.socket, user: int | None) -> None:
    # The kernel cleans up after keepers; their exit status is not needed.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, 1, 2)
        if not message:
            return
        control, channel = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        if not os.fork():
            try:
                line.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(control, channel, user)
            finally:
                os._exit(0)
        control.close()
        channel.close()


def _keep(control: socket.socket, channel: socket.socket, user: int | None) -> None:
    """Starts one program; ends it when the other side closes the line."""
    folder = None
    try:
        if user is None:
            folder = tempfile.mkdtemp(prefix="ilr_bench-")
            os.chdir(folder)
        else:
            isolation.leave_everything(user)
    except OSError as error:
        control.sendall(f"refused {error}\n".encode())
        return
    child = os.fork()
    if not child:
        try:
            _become_program(control, channel, user)
        finally:
            os._exit(0)
    channel.close()
    control.sendall(f"pid {child}\n".encode())
    control.recv(1)
    os.kill(child, signal.SIGKILL)
    if user is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _become_program(control: socket.socket, channel: socket.socket, user: int | None) -> None:
    request: dict[str, Any] = program.receive(channel)
    try:
        if user is None:
            os.setsid()
        else:
            isolation.give_up_rights(user)
        program.limit_resources(request["cpu_seconds"], threads=user is not None)
    except OSError as error:
        control.sendall(f"refused {error}\n".encode())
        return
    # Nothing of the launcher's is left open: over the keeper's line a program could forge the jail's own messages.
    control.close()
    os.dup2(0, 2)
    own = channel.fileno()
    os.closerange(3, own)
    os.closerange(own + 1, 1 << 16)
    program.run(request, channel)
