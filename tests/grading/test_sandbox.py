"""The jail: what a program gets, what it may take, and what remains of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from processes import run_python

from ilr_bench.grading.sandbox import host, isolation
from ilr_bench.grading.sandbox.host import Jail, JailError, ProgramEnd, ProgramRequest
from ilr_bench.grading.sandbox.program import THREADS
from ilr_bench.grading.sandbox.wire import decode


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
    monkeypatch.setattr(host, "WAITING_FACTOR", 3)
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
    control, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    replies, its_replies = os.pipe()
    with keeper:
        keeper.send(b"pid %d" % os.getpid())
        keeper.send(b"refused seccomp filter: EINVAL")
        run = host.Run(control, replies, 60.0)
        assert run.begin()
    with pytest.raises(JailError, match="seccomp filter: EINVAL"):
        run.end()
    os.close(its_replies)


def test_a_library_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(OSError, match=rf"cannot read {tmp_path}"):
        isolation.require_readable(os.geteuid() + 1, ["/nowhere", str(tmp_path)])
    isolation.require_readable(os.geteuid(), [str(tmp_path)])


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


def test_the_jail_imports_no_heavy_library() -> None:
    listing = run_python(
        "import sys, ilr_bench.grading.sandbox.launcher, ilr_bench.grading.sandbox.host; print(*sys.modules)"
    )
    modules, _ = listing.communicate()
    assert {"numpy", "torch", "transformers"}.isdisjoint(modules.split())
    assert sys.executable


def test_what_was_killed_from_outside_has_not_failed(jail: Jail) -> None:
    with jail.run(ProgramRequest("import time\ndef f(): time.sleep(99)", "f", ([],))) as run:
        assert run.loaded(5) is None
        os.kill(run.pid, signal.SIGKILL)
        assert run.reply(5) is ProgramEnd.KILLED
    with jail.run(ProgramRequest("import time\ndef f(): time.sleep(99)", "f", ([],))) as run:
        assert run.loaded(5) is None
        os.kill(parent_of(run.pid), signal.SIGKILL)
        assert run.reply(5) is ProgramEnd.KILLED
    itself = "import os\ndef f(how):\n os.closerange(0, 64)\n if how: os._exit(9)\n while True: pass"
    assert replies(jail, itself, [True]) == [ProgramEnd.FAILED]
    assert replies(jail, itself, [False]) == [ProgramEnd.FAILED]


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_every_program_has_a_session_and_a_user_of_its_own(jail: Jail) -> None:
    sessions, users = set(), set()
    waiting = ProgramRequest("import time\ntime.sleep(99)", "f", ())
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            run = stack.enter_context(jail.run(waiting))
            assert isinstance(run.loaded(0.01), ProgramEnd)
            for process in (run.pid, parent_of(run.pid)):
                sessions.add(os.getsid(process))
            users.add(Path(f"/proc/{run.pid}").stat().st_uid)
    assert len(sessions | {os.getsid(jail.pid or 0)}) == 5
    if os.geteuid() == 0 and isolation._ids_exist():
        assert len(users) == 2
        assert all(0x70000000 <= user < 0x80000000 for user in users)


def test_it_does_not_matter_which_thread_starts_the_launcher() -> None:
    with Jail() as jail:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(replies, jail, "def f(): return 1", []).result() == [1]
            first = jail.pid
        time.sleep(0.3)
        assert replies(jail, "def f(): return 2", []) == [2]
        assert jail.pid == first


def test_a_child_that_holds_the_line_does_not_keep_the_launcher() -> None:
    asking = run_python("""
        import os, time
        from ilr_bench.grading.sandbox.host import Jail
        jail = Jail()
        jail.protection
        print(jail.pid, flush=True)
        if os.fork():
            os._exit(0)
        time.sleep(30)
    """)
    assert asking.stdout is not None
    launcher = int(asking.stdout.readline())
    assert vanishes(launcher)
    asking.kill()


def test_a_program_that_dribbles_runs_into_the_deadline(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "WAITING_FACTOR", 1.0)
    dribbling = (
        "import os, time\ndef f():\n while True:\n  time.sleep(0.005)\n  for d in range(3, 64):\n"
        "   try: os.write(d, b'9')\n   except OSError: pass"
    )
    begin = time.monotonic()
    assert replies(jail, dribbling, [], seconds=0.5) == [ProgramEnd.OVERRAN]
    assert time.monotonic() - begin < 10


def test_all_steps_together_have_a_deadline(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "WAITING_FACTOR", 1.0)
    napping = "import time\ndef f(): time.sleep(0.3); return 1"
    assert ProgramEnd.OVERRAN in replies(jail, napping, *[[]] * 9, seconds=0.5, cpu_seconds=1.0)


def test_descriptors_above_a_thousand_are_no_hindrance(jail: Jail) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1030):
            stack.enter_context(Path(os.devnull).open())
        assert replies(jail, "def f(): return 1", []) == [1]
        with Jail() as another:
            assert replies(another, "def f(): return 1", []) == [1]


def test_a_program_that_prints_much_is_not_held_up(jail: Jail) -> None:
    assert replies(jail, "def f():\n for _ in range(200): print('a' * 100_000)\n return 1", []) == [1]
    assert replies(jail, "import sys\ndef f(): return sys.stdin.read(), input", [])[0] is ProgramEnd.FAILED
    assert replies(jail, "import sys\ndef f(): return sys.stdin.read()", []) == [""]


def test_locks_pairs_of_sockets_threads_and_databases_are_a_programs_own(jail: Jail) -> None:
    program = """
import asyncio, concurrent.futures, fcntl, os, socket, sqlite3
def f():
    base = sqlite3.connect("a.db")
    base.execute("create table t (x)")
    base.commit()
    fcntl.lockf(open("b", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    one, other = socket.socketpair()
    one.send(b"x")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [other.recv(1), sum(pool.map(abs, [-1, -2])), asyncio.run(asyncio.sleep(0, 4)), os.dup(0) > 2]
"""
    assert replies(jail, program, []) == [[b"x", 3, 4, True]]


@pytest.mark.skipif(isolation.version() < 6, reason="Landlock knows no scope of signals here")
def test_signals_stay_among_those_that_the_second_wall_holds() -> None:
    process = run_python("""
        import os
        from ilr_bench.grading.sandbox import isolation
        isolation.forbid_new_privileges()
        isolation.restrict("/tmp")
        os.kill(os.getpid(), 0)
        try:
            os.kill(os.getppid(), 0)
        except PermissionError:
            print("refused")
    """)
    output, complaints = process.communicate()
    assert output.split() == ["refused"], complaints
