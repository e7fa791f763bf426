"""Inside the jail: the process of one program, from its request to its last reply."""

from __future__ import annotations

import gc
import marshal
import os
import random
import resource
from typing import Any

from ilr_bench.grading.sandbox.wire import encode

MEMORY_BYTES = 2 << 30
FILE_BYTES = 16 << 20
OPEN_FILES = 64
THREADS = 32


def limit_resources(cpu_seconds: float, *, threads: bool) -> None:
    """The kernel's own limits: memory, CPU time, files, threads, no core dump.

    `threads` only in a user namespace of one's own: elsewhere the limit counts all processes of the user.
    """
    seconds = int(cpu_seconds) + 1
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_STACK: MEMORY_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if threads:
        limits[resource.RLIMIT_NPROC] = THREADS
    for limit, value in limits.items():
        _, hardest = resource.getrlimit(limit)
        value = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
        resource.setrlimit(limit, (value, value))


def read_request(file: int) -> dict[str, Any]:
    """The request: `marshal` of plain data, which only the trusted side writes; closes the file."""
    with open(file, "rb") as opened:
        request: dict[str, Any] = marshal.load(opened)
    return request


def run(request: dict[str, Any], replies: int) -> None:
    """Runs a program and replies, one line when it is loaded and one per call.

    Whatever it raises passes through here and ends the process: a program that fails one test has failed. As in
    EvalPlus, it runs in a namespace without a name.
    """
    names: dict[str, Any] = {}
    view = request["view"]
    # Not the time of day and not the launcher's state: the same program sees the same random numbers.
    random.seed(0)
    gc.collect()
    exec(compile(request["source"], "<program>", "exec"), names)
    if request["setup"]:
        exec(compile(request["setup"], "<setup>", "exec"), names)
    _write(replies, b"true\n")
    for call in request["calls"]:
        output = eval(call, names) if isinstance(call, str) else names[request["entry_point"]](*call)
        if view == "present" and not isinstance(output, bool):
            output = output is not None
        _write(replies, encode(output, items=view == "items").encode() + b"\n")


def _write(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def empty_environment() -> None:
    """No variable is left that a program could read."""
    os.environ.clear()
    # Not for programs to see, but for numpy: it would start a thread per core, and fail on large machines.
    os.putenv("OPENBLAS_NUM_THREADS", "1")
