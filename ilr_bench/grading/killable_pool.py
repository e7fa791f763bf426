"""Processes that may be killed at any moment: one request in, one reply out.

What runs in them (a comparison of hostile formulas, a program that a model wrote) can take for ever or all memory.
The kernel ends such a process when one request has used up its CPU time: SIGPROF's default action is taken even
inside one long C call, which no Python exception can leave.

A fork server does once what takes time to set up, then forks the workers, and at once a new one for each that dies: a
hostile request costs its own limit and a few milliseconds. Requests wait in sockets that keep them apart, so they are
sent ahead of the replies; a worker that dies loses the request at the head of its queue and no other. Of large
requests, which lie in a file in memory, the place in it is sent.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from ilr_bench.core.errors import MissingInputError

WALL_SECONDS = 120.0
"""Workers that are all silent for so long hang outside their CPU limit, and are killed."""
START_SECONDS = 300.0
LARGEST = 100_000
"""Bytes of one message: a reply, or a request that is not put by."""
_AHEAD = 32
"""Requests that wait at one worker."""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
_LOST = b"!"
_READY = b"ready"


class ProcessOwner(ABC):
    """An owner of other processes: `close` ends them, and so does leaving a `with`."""

    @abstractmethod
    def close(self) -> None:
        """Ends the processes; they start again when they are next needed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KillablePool(ProcessOwner):
    """The side that asks. Processes start with the first request, without this process's environment."""

    def __init__(self, module: str, cpu_seconds: float, copies: int = 1, largest: int = LARGEST) -> None:
        """`module` calls `serve` when run; `cpu_seconds` is the limit of one request; `copies`: number of workers.

        `largest`: bytes that a request may have.
        """
        self._largest = largest
        self._store: int | None = None
        self._command = [sys.executable, "-P", "-m", module, str(cpu_seconds)]
        self._copies = copies
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[socket.socket] = []
        self._asked = 0

    @property
    def pid(self) -> int | None:
        """Id of the fork server, which is that of its process group; None where none is running yet."""
        return None if self._process is None else self._process.pid

    def ask(self, request: str) -> str | None:
        """The reply to one request, see `ask_many`."""
        return self.ask_many([request])[0]

    def ask_many(self, requests: Sequence[str]) -> list[str | None]:
        """The reply to each request; None where its process overran its limits or died of it twice.

        Dying of anything but the CPU limit may have come from outside, so it gives a second chance. Raises
        MissingInputError where the processes cannot be started, and ValueError for a request that is too large.
        """
        # Numbers are never used twice: a worker killed between its reply and the next request replies once more.
        first = self._asked
        self._asked += len(requests)
        replies: dict[int, str | None] = {}
        waiting = deque(range(first, self._asked))
        if self._store is None:
            self._store = os.memfd_create("requests")
        os.ftruncate(self._store, 0)
        messages = [self._message(self._store, first + index, text) for index, text in enumerate(requests)]
        attempts_left = dict.fromkeys(waiting, 2)
        while len(replies) < len(messages):
            for number in self._exchange(waiting, messages, first, replies):
                attempts_left[number] -= 1
                if attempts_left[number] == 0:
                    replies[number] = None
                else:
                    waiting.append(number)
        return [replies[number] for number in range(first, self._asked)]

    def close(self) -> None:
        """Ends the processes; the next request starts others."""
        self._stop()
        if self._store is not None:
            os.close(self._store)
            self._store = None

    def _message(self, store: int, number: int, request: str) -> bytes:
        content = request.encode()
        message = b"%d =%b" % (number, content)
        if len(message) > self._largest:
            raise ValueError(f"a request to {self._command[3]} has more than {self._largest:,} bytes")
        if len(message) <= LARGEST:
            return message
        place = os.lseek(store, 0, os.SEEK_END)
        with open(store, "wb", closefd=False) as file:
            file.write(content)
        return b"%d @%d %d" % (number, place, len(content))

    def _stop(self) -> None:
        for end in self._sockets:
            end.close()
        self._sockets = []
        if self._process is not None:
            # The fork server leads a process group; a worker busy for ever ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _exchange(
        self, waiting: deque[int], messages: Sequence[bytes], first: int, replies: dict[int, str | None]
    ) -> list[int]:
        """Asks what waits until all is answered, or until the processes are gone: then the numbers that were lost."""
        if self._process is None:
            self._start()
        in_flight: dict[socket.socket, deque[int]] = {end: deque() for end in self._sockets}
        while waiting or any(in_flight.values()):
            for end, ahead in in_flight.items():
                while waiting and len(ahead) < _AHEAD and _send(end, messages[waiting[0] - first]):
                    ahead.append(waiting.popleft())
            readable = _readable(self._sockets, WALL_SECONDS)
            for end in readable:
                message = _receive(end)
                if not message:
                    return self._end_all(in_flight, waiting)
                number, _, reply = message.partition(b" ")
                if in_flight[end] and int(number) == in_flight[end][0]:
                    in_flight[end].popleft()
                    replies[int(number)] = None if reply == _LOST else reply[1:].decode()
            if not readable:
                for ahead in in_flight.values():
                    if ahead:
                        replies[ahead.popleft()] = None
                self._end_all(in_flight, waiting)
                return []
        return []

    def _end_all(self, in_flight: dict[socket.socket, deque[int]], waiting: deque[int]) -> list[int]:
        """Ends what is left of the processes; what was not at the head of a queue waits again."""
        heads = [ahead.popleft() for ahead in in_flight.values() if ahead]
        waiting.extend(number for ahead in in_flight.values() for number in ahead)
        self._stop()
        return heads

    def _start(self) -> None:
        assert self._store is not None
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {**kept, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1",
                       "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(self._copies)]
        self._sockets = [ours for ours, _ in pairs]
        theirs = [end.fileno() for _, end in pairs]
        self._process = subprocess.Popen(
            [*self._command, *map(str, [self._store, *theirs])],
            stdin=subprocess.DEVNULL, pass_fds=[self._store, *theirs], env=environment, start_new_session=True,
        )  # fmt: skip
        for _, end in pairs:
            end.close()
        if not _readable(self._sockets[:1], START_SECONDS) or _receive(self._sockets[0]) != _READY:
            self.close()
            command = " ".join(self._command)
            raise MissingInputError(f"`{command}` does not start (see above); is this environment complete?")


def serve(reply_to: Callable[[str], str], memory_bytes: int, *, isolated: bool) -> None:
    """The side that replies, as long as someone asks. Call it when all that takes time to set up is done.

    The limits: CPU seconds per request (first argument of the command line), address space, nothing written to
    files, no core dump. `isolated`: no file is opened either (so nothing can be imported any more), and no process or
    thread started (root excepted: the kernel does not count its processes).
    """
    cpu_seconds, store = float(sys.argv[1]), int(sys.argv[2])
    ends = [socket.socket(fileno=int(number)) for number in sys.argv[3:]]
    _limit({resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0})
    ends[0].send(_READY)
    # Parsers print, which should not reach the user's terminal.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)

    def fork(end: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            for other in ends:
                if other is not end:
                    other.close()  # or its queue would seem alive after its own worker's death
            if isolated:
                _limit({resource.RLIMIT_NOFILE: 0, resource.RLIMIT_NPROC: 0})
            _work(end, store, reply_to, cpu_seconds)
            os._exit(0)
        return pid

    indices = {fork(end): end for end in ends}
    blamed: dict[socket.socket, bytes] = {}
    while indices:
        pid, status = os.wait()
        end = indices.pop(pid)
        request = _head(end)
        if request == b"":
            continue  # the asking side is gone
        if request is not None:
            number = request.partition(b" ")[0]
            overran = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            if overran or blamed.get(end) == number:
                _reply(end, number, _LOST)
            blamed[end] = number
        indices[fork(end)] = end


def _work(end: socket.socket, store: int, reply_to: Callable[[str], str], cpu_seconds: float) -> None:
    # A request is taken from the queue only when it is answered: the fork server finds there what a worker died of.
    while request := _receive(end, socket.MSG_PEEK):
        number, _, text = request.partition(b" ")
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        if text[:1] == b"@":
            place, length = map(int, text[1:].split())
            text = b"=" + os.pread(store, length, place)
        reply = reply_to(text[1:].decode())
        signal.setitimer(signal.ITIMER_PROF, 0)
        _reply(end, number, b"=" + reply.encode())


def _readable(ends: Sequence[socket.socket], seconds: float) -> list[socket.socket]:
    """Those of which something can be read, as soon as there is one (not `select`: descriptors may be large)."""
    poller = select.poll()
    end_of = {end.fileno(): end for end in ends}
    for descriptor in end_of:
        poller.register(descriptor, select.POLLIN)
    return [end_of[descriptor] for descriptor, _ in poller.poll(1000 * seconds)]


def _limit(limits: dict[int, int]) -> None:
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _reply(end: socket.socket, number: bytes, reply: bytes) -> None:
    end.send(number + b" " + (reply if len(reply) < LARGEST else _LOST))
    end.recv(1)  # the rest of the message goes with its first byte


def _head(end: socket.socket) -> bytes | None:
    """The next request, which stays where it is; None where there is none yet."""
    try:
        return _receive(end, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def _send(end: socket.socket, message: bytes) -> bool:
    """False where the queue is full, or the worker is gone (which reading will show)."""
    try:
        end.send(message, socket.MSG_DONTWAIT)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        return False
    return True


def _receive(end: socket.socket, flags: int = 0) -> bytes:
    """One message; empty where the other side is gone."""
    try:
        return end.recv(LARGEST + 100, flags)
    except ConnectionResetError:
        return b""
