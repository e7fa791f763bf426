"""Commands in processes that are forked from this one, which has imported everything: seconds instead of ten each.

What a command starts as a worker is forked as well. Everything else is as in a fresh interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).parents[2]))  # what a fresh interpreter finds in this folder

import ilr_bench.cli
import ilr_bench.evaluation.lm_eval_model
import ilr_bench.storage.provenance
import ilr_bench.study.launch.local
import ilr_bench.study.sweep
import ilr_bench.study.trial
import reports
import reports.frames

HOOKS = Path(__file__).parent / "hooks" / "sitecustomize.py"


class Forked:
    """A forked process, as far as it is used like a `subprocess.Popen`."""

    def __init__(self, run: Callable[[], None], keep: Sequence[int] = ()) -> None:
        """`keep`: descriptors of this process that stay open in the other one."""
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _end_with(run, keep)

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(0.005)
        return self.returncode or 0

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def preload(names: Sequence[str]) -> None:
    """What commands import as they go (these reports), and what is the same for all of them."""
    for name in names:
        reports.get(name)
    ilr_bench.storage.provenance.code_hash()


def command(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
    """`python -m ARGUMENTS` with an environment and its output in a file, in a session of its own."""

    def run() -> None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ.update(environment)
        spec = importlib.util.spec_from_file_location("hooks", HOOKS)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        process: Any = ilr_bench.study.launch.local
        process.subprocess = SimpleNamespace(
            Popen=_worker, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
        )
        sys.argv = list(arguments)
        sys.orig_argv = [sys.executable, "-m", *arguments]
        ilr_bench.study.sweep.app() if arguments[0] == "ilr_bench.sweep" else ilr_bench.cli.main()

    return Forked(run)


def _worker(arguments: Sequence[str], pass_fds: Sequence[int], env: Mapping[str, str], **_: Any) -> Forked:
    """In place of a fresh interpreter that runs `ilr_bench.study.launch.local`."""

    def run() -> None:
        os.environ.clear()
        os.environ.update(env)
        ilr_bench.study.launch.local.main(int(arguments[-1]))

    return Forked(run, pass_fds)


def _end_with(run: Callable[[], None], keep: Sequence[int]) -> NoReturn:
    os.setsid()
    # Locks and the other ends of pipes belong to the process that this one was forked from.
    last = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    indices = [2, *sorted(keep), last]
    for low, high in pairwise(indices):
        os.closerange(low + 1, high)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    status = 1
    try:
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 (as an interpreter that ends)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
