"""The jail: what a program gets, what it may take, and what remains of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python

from ilr_bench.grading.sandbox import host, isolation, wire
from ilr_bench.grading.sandbox.host import Jail, JailError, ProgramEnd, ProgramRequest
from ilr_bench.grading.sandbox.program import THREADS
from ilr_bench.grading.sandbox.wire import DEEPEST, decode, encode


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail() as jail:
        yield jail


def replies(jail: Jail, program: str, *calls: Any, seconds: float = 5.0, **more: Any) -> list[Any]:
    """The value of every call, or why there is none."""
    with jail.run(ProgramRequest(program, "f", calls, **more)) as run:
        ended = run.loaded(seconds)
        if ended is not None:
            return [ended]
        said = []
        for _ in calls:
            line = run.reply(seconds)
            output = line if isinstance(line, ProgramEnd) else decode(line)
            said.append(output if isinstance(output, ProgramEnd) else None if output is None else output.value)
        return said


def test_every_call_is_answered_in_turn(jail: Jail) -> None:
    assert replies(jail, "def f(x, y=1): return x / y", [1], [1, 4], [7, 2]) == [1.0, 0.25, 3.5]


def test_expressions_see_the_program_and_what_was_set_up(jail: Jail) -> None:
    assert replies(jail, "class A: n = 2\ndef f(a): return a.n", "f(a)", "1.0 / f(a)", setup="a = A()") == [2, 0.5]


def test_failure_ends_the_answers(jail: Jail) -> None:
    assert replies(jail, "def f(x): return 1 // x", [1], [0], [1]) == [1, ProgramEnd.FAILED, ProgramEnd.FAILED]
    assert replies(jail, "def f(x: return", [1]) == [ProgramEnd.FAILED]
    assert replies(jail, "g = 1", [1]) == [ProgramEnd.FAILED]


def test_cpu_time_is_limited_per_call(jail: Jail) -> None:
    program = "import time\ndef f(s):\n e = time.process_time() + s\n while time.process_time() < e: pass\n return s"
    assert replies(jail, program, [0.05], [0.05], [9.0], seconds=0.3) == [0.05, 0.05, ProgramEnd.OVERRAN]


def test_waiting_for_ever_is_an_overrun(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STILL_SECONDS", 0.3)
    assert replies(jail, "import time\ndef f(s): time.sleep(s)", [99]) == [ProgramEnd.OVERRAN]
    monkeypatch.setattr(host, "STILL_SECONDS", 99)
    monkeypatch.setattr(host, "SILENCE_SECONDS", 3)
    napping = "import time\ndef f(s):\n while True: time.sleep(s)"
    assert replies(jail, napping, [0.01], seconds=0.1) == [ProgramEnd.OVERRAN]


def test_memory_threads_files_and_descriptors_are_limited(jail: Jail) -> None:
    program = """
import os, threading, time
def f(what):
    n = 0
    try:
        while n < 1000:
            if what == "memory": bytes(1 << 31)
            if what == "threads": threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
            if what == "files": os.open(str(n), os.O_CREAT)
            if what == "bytes": open("a", "ab").write(bytes(1 << 20))
            n += 1
    except (MemoryError, RuntimeError, OSError) as error:
        return n, type(error).__name__
"""
    output = [replies(jail, program, [what])[0] for what in ("memory", "threads", "files", "bytes")]
    assert output == [(0, "MemoryError"), (THREADS - 1, "RuntimeError"), (60, "OSError"), (16, "OSError")]


def test_a_program_sees_python_and_an_empty_folder(jail: Jail) -> None:
    program = "import os\ndef f(): return os.getcwd(), os.listdir(), dict(os.environ), os.path.exists('/proc')"
    assert replies(jail, program, []) == [("/tmp", [], {}, False)]
    assert replies(jail, "def f(): open('a', 'w').write('b'); return open('/tmp/a').read()", []) == ["b"]
    assert replies(jail, program, []) == [("/tmp", [], {}, False)]


def test_programs_may_use_the_standard_library_and_numpy(jail: Jail) -> None:
    modules = "sqlite3, ssl, email.mime.text, xml.etree.ElementTree, concurrent.futures, asyncio, lzma, unittest"
    assert replies(jail, f"import {modules}\ndef f(): return 1", []) == [1]
    assert replies(jail, "import numpy as np\ndef f(x): return np.linalg.det(np.eye(x))", [3]) == [1.0]
    assert replies(jail, "import torch", []) == [ProgramEnd.FAILED]


def test_random_numbers_and_the_order_of_sets_are_always_the_same() -> None:
    output = []
    for _ in range(2):
        with Jail() as jail:
            program = "import random\ndef f(): return random.random(), list({'a', 'b', 'c', 'd', 'e'})"
            output += [replies(jail, program, []), replies(jail, program, [])]
    assert output[0] == output[1] == output[2] == output[3]


def test_what_a_program_prints_goes_nowhere(jail: Jail, capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys, os\ndef f(x): print(x); print(x, file=sys.stderr); os.write(1, b'x'); os.write(2, b'x')"
    assert replies(jail, program, [1]) == [None]
    assert capfd.readouterr() == ("", "")


def test_large_requests_and_replies_pass(jail: Jail) -> None:
    text = "abc" * 1_000_000
    assert replies(jail, "def f(x): return x", [text], [list(range(200_000))]) == [text, list(range(200_000))]


def test_a_reply_that_is_too_long_is_a_failure(jail: Jail) -> None:
    with jail.run(ProgramRequest("def f(): return 'a' * 100000", "f", ([], []))) as run:
        assert run.loaded(5) is None
        assert run.reply(5, longest=1000) is ProgramEnd.FAILED


def test_the_second_wall_stands_where_the_kernel_has_it(jail: Jail) -> None:
    assert jail.protection == ("namespaces+landlock" if isolation.version() else "namespaces")


def test_a_kernel_that_refuses_is_named_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = (
        "import socket, json; socket.socket(fileno=0).send(json.dumps({'missing': 'user namespace: EPERM'}).encode())"
    )
    monkeypatch.setattr(host, "_COMMAND", refusing)
    with pytest.raises(JailError, match=r"user namespace: EPERM.*user.max_user_namespaces.*--no-jail") as caught:
        _ = Jail().protection
    assert caught.value.exit_status == 3


def test_a_refusal_after_the_program_has_its_process_stops_the_run() -> None:
    control, keeper = socket.socketpair()
    channel, program = socket.socketpair()
    with control, channel, program:
        with keeper:
            keeper.sendall(b"pid %d\nrefused seccomp filter: EINVAL\n" % os.getpid())
            run = host.Run(control, channel, ProgramRequest("", "f", ()))
        with pytest.raises(JailError, match="seccomp filter: EINVAL"):
            run.end()


def test_a_library_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(OSError, match=rf"cannot read {tmp_path}"):
        isolation.require_readable(65534, ["/nowhere", str(tmp_path)])
    isolation.require_readable(os.geteuid() or 1, [str(tmp_path)])


def test_a_call_that_the_kernel_refuses_is_named() -> None:
    with pytest.raises(OSError, match=r"mount of nothing on /nowhere: .*\(E[A-Z]+\)"):
        isolation.mount("x", "/nowhere", "nothing", 0)


def test_without_a_jail_limits_remain_and_nothing_else() -> None:
    with Jail(jail=False) as free:
        assert free.protection == "none"
        assert replies(free, "def f(x): return x + 1", [1]) == [2]
        assert replies(free, "def f():\n while True: pass", [], seconds=0.2) == [ProgramEnd.OVERRAN]
        assert replies(free, "def f(): return bytes(1 << 32)", []) == [ProgramEnd.FAILED]
        (folder,) = replies(free, "import os\ndef f(): open('a', 'w').close(); return os.getcwd()", [])
        assert "ilr_bench-" in folder
        assert not Path(folder).exists()
        started = "import os, time\ndef f():\n p = os.fork()\n if not p: time.sleep(99)\n return p"
        assert vanishes(replies(free, started, [])[0])


def test_a_launcher_that_was_killed_is_replaced() -> None:
    with Jail() as jail:
        assert replies(jail, "def f(): return 1", []) == [1]
        assert jail.pid is not None
        os.kill(jail.pid, signal.SIGKILL)
        assert vanishes(jail.pid) or replies(jail, "def f(): return 2", []) == [2]
        assert replies(jail, "def f(): return 2", []) == [2]


def test_nothing_outlives_whoever_asked() -> None:
    asking = run_python("""
        from ilr_bench.grading.sandbox.host import Jail, ProgramRequest
        with Jail() as jail, jail.run(ProgramRequest("while True: pass", "f", ())) as run:
            print(jail.pid, run.pid, flush=True)
            run.loaded(999)
    """)
    assert asking.stdout is not None
    processes = [int(word) for word in asking.stdout.readline().split()]
    assert len(processes) == 2
    asking.kill()
    asking.communicate()
    assert all(vanishes(process) for process in processes)


def vanishes(process: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = Path(f"/proc/{process}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="others take this way everywhere")
def test_root_without_rights_is_as_any_user() -> None:
    asking = run_python("""
        from ilr_bench.grading.sandbox import isolation
        isolation.drop_capabilities()
        from ilr_bench.grading.sandbox.host import Jail, ProgramRequest
        with Jail() as jail, jail.run(ProgramRequest("import os\\ndef f(): return os.listdir()", "f", ([],))) as run:
            print(jail.protection, run.loaded(9), run.reply(9))
    """)
    output, complaints = asking.communicate()
    assert output.split() == ["namespaces+landlock", "None", "b'[[],", "true]'"], complaints


@pytest.mark.slow
def test_verdicts_are_the_same_when_the_machine_is_overloaded(jail: Jail) -> None:
    program = """
import time
def f(cpu, sleep):
    end = time.process_time() + cpu
    while time.process_time() < end: pass
    time.sleep(sleep)
    return True
"""
    calls = [[0.0, 0.0], [0.5, 0.0], [0.0, 1.0], [1.6, 0.0], [0.0, 999.0]]

    def verdicts() -> list[list[Any]]:
        return [replies(jail, program, call, seconds=1.0) for call in calls]

    idle = verdicts()
    assert idle == [[True], [True], [True], [ProgramEnd.OVERRAN], [ProgramEnd.OVERRAN]]
    load = [run_python("while True: pass") for _ in range(8 * (os.cpu_count() or 1))]
    try:
        assert verdicts() == idle
    finally:
        for process in load:
            process.kill()
            process.communicate()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False) | st.text() | st.binary() | st.fractions(),
    lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.sets(st.integers() | st.text())
    | st.frozensets(st.text()) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), parts),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(value: Any) -> None:
    output = decode(encode(value).encode())
    assert output is not None
    assert output.value == value
    assert type(output.value) is type(value)
    assert output.exact is not isinstance(value, Fraction)


@given(st.binary(max_size=60) | st.text("[]{}\"',:truefalsn0123456789eint.-x ", max_size=60).map(str.encode))
def test_whatever_is_said_is_data_or_nothing(line: bytes) -> None:
    output = decode(line)
    assert output is None or decode(encode(output.value).encode()) is not None or isinstance(output.value, float)


@pytest.mark.parametrize(
    "line",
    [b'[{"int": "9", "set": []}, true]', b'[{"set": [[1]]}, true]', b'[{"fraction": ["1", "0"]}, true]', b"[1]",
     b'[{"dict": [[1]]}, true]', b'[{"eval": "1"}, true]', b"[" * 100_000, b'[{"int": 5}, true]', b"\xff", b"",
     b'[{"bytes": "zz"}, true]', b'[{"complex": ["a", 1]}, true]', b'[{"tuple": 5}, true]'],
)  # fmt: skip
def test_malformed_replies_are_no_outputs(line: bytes) -> None:
    assert decode(line) is None


def test_subclasses_come_out_as_what_they_extend() -> None:
    class Word(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    output = decode(encode([Word("a"), {Word("b"): Decimal("0.5")}]).encode())
    assert output is not None
    assert output.value == ["a", {"b": 0.5}]
    assert type(output.value[0]) is str
    assert decode(encode(Word("a")).encode()) == ("a", False)


def test_iterables_tell_their_items_where_asked_to() -> None:
    assert json.loads(encode(iter([1, 2]), items=True)) == [[1, 2], False]
    with pytest.raises(TypeError, match="not plain"):
        encode(iter([1, 2]))


def test_what_is_too_deep_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST", 10_000)
    nested: list[Any] = []
    for _ in range(DEEPEST):
        nested = [nested]
    doubled: list[Any] = [nested] * 2
    with pytest.raises(ValueError, match="too deep"):
        encode(doubled)
    broad: list[Any] = [1]
    for _ in range(40):
        broad = [broad, broad]
    with pytest.raises(ValueError, match="too large"):
        encode(broad)


def test_the_jail_imports_no_heavy_library() -> None:
    listing = run_python(
        "import sys, ilr_bench.grading.sandbox.launcher, ilr_bench.grading.sandbox.host; print(*sys.modules)"
    )
    modules, _ = listing.communicate()
    assert {"numpy", "torch", "transformers"}.isdisjoint(modules.split())
    assert sys.executable
