"""Attacks on the jail (tests/redteam/attacks.py): none passes, stays, leaves a file, or stalls the run."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "redteam"))
from attacks import ATTACKS, CANARY, MARK, WAITING
from processes import run_python

from ilr_bench.grading import code
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.sandbox import host
from ilr_bench.storage.records import Verdict

PROJECT = Path(__file__).parents[2]
SECRET: dict[str, Any] = {
    "task_id": "Test/secret", "prompt": f"# {CANARY}\n", "entry_point": "f", "canonical_solution": "def f(x): return 7",
    "base_input": [[3]], "plus_input": [], "atol": 0,
}  # fmt: skip
NEEDLE = f"str().join(({CANARY[:9]!r}, {CANARY[9:]!r}))"
HONEST = "import math\ndef f(x): return math.isqrt(49)"
NEIGHBOUR = "import time\ndef f(x):\n for _ in range(15): time.sleep(0.02)\n print(x); return 7"
"""Right, and there long enough to be disturbed."""
OUTSIDE = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/usr/lib", str(Path.home()), str(PROJECT), str(Path.cwd())]


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeJudge]:
    with CodeJudge() as judge:
        assert judge.judge(HONEST, SECRET) is Verdict.CORRECT
        yield judge


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_succeeds(judge: CodeJudge, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = ATTACKS[name]
    names = {"MARK": MARK, "NEEDLE": NEEDLE, "HOSTNAME": socket.gethostname(), "HOME": str(Path.home()),
             "PROJECT": str(PROJECT)}  # fmt: skip
    for word, meaning in names.items():
        attack = attack.replace(word, meaning)
    with monkeypatch.context() as hurry, ThreadPoolExecutor(3) as threads:
        hurry.setattr(code, "TEST_SECONDS", 0.25)
        hurry.setattr(code, "LOAD_SECONDS", 0.5)
        hurry.setattr(host, "STILL_SECONDS", 0.4)
        hurry.setattr(host, "WAITING_FACTOR", 10)
        problem = dict(SECRET)  # judged anew, under these limits
        assert judge.judge(HONEST, problem) is Verdict.CORRECT
        before = launcher_of(judge)
        beside, attacked, after = threads.map(judge.judge, (NEIGHBOUR, attack, NEIGHBOUR), (problem,) * 3)
    assert (beside, after, launcher_of(judge)) == (Verdict.CORRECT, Verdict.CORRECT, before)
    verdict = attacked
    assert verdict in (Verdict.WRONG, Verdict.TIMEOUT)
    assert verdict is Verdict.TIMEOUT or name not in WAITING
    assert_alone(judge)
    assert [folder for folder in OUTSIDE if (Path(folder) / MARK).exists()] == []
    assert judge.judge(HONEST, SECRET) is Verdict.CORRECT


def assert_alone(judge: CodeJudge) -> None:
    """Nothing is left of a program. Its keeper may still be leaving: it lets go of the line before it is gone."""
    deadline = time.monotonic() + 10
    while (left := descendants(judge)) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert left == []


def descendants(judge: CodeJudge) -> list[int]:
    """Processes that the launcher has started, in whatever namespace, and that are still there."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [launcher_of(judge)]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def launcher_of(judge: CodeJudge) -> int:
    pid = judge.launcher_pid
    assert pid is not None
    assert Path(f"/proc/{pid}").exists()
    return pid


def test_there_are_many_attacks() -> None:
    assert len(set(ATTACKS.values())) == len(ATTACKS) >= 60


def test_programs_find_no_process_but_their_own(judge: CodeJudge) -> None:
    program = "import os\ndef f(x): return 7 if (os.getpid(), os.getppid(), os.listdir('/tmp')) == (1, 0, []) else 5"
    assert judge.judge(program, SECRET) is Verdict.CORRECT
    assert os.getpid() != 1


@pytest.mark.skipif(os.geteuid() != 0, reason="others are tested so everywhere")
def test_no_neighbour_is_reached_without_rights_either() -> None:
    attacks = [attack for name, attack in ATTACKS.items() if "kill" in name or "group" in name]
    assert len(attacks) >= 9
    asking = run_python(f"""
        from concurrent.futures import ThreadPoolExecutor
        from ilr_bench.grading.sandbox import isolation
        isolation.drop_capabilities()
        from ilr_bench.grading.code import CodeJudge
        with CodeJudge() as judge, ThreadPoolExecutor(3) as threads:
            for attack in {attacks!r}:
                programs = ({NEIGHBOUR!r}, attack, {NEIGHBOUR!r})
                verdicts = list(threads.map(lambda program: judge.judge(program, {SECRET!r}), programs))
                print(verdicts[0], verdicts[1] != "correct", verdicts[2], judge.launcher_pid)
    """)
    output, complaints = asking.communicate()
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) == len(attacks), complaints
    assert all(line[:3] == ["correct", "True", "correct"] for line in lines), output
    assert len({line[3] for line in lines}) == 1
