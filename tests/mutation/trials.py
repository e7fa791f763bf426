"""Tests run on a mutant, each time in a process forked from one that has imported all libraries but not our code."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
CHILDREN = Path(__file__).parent / "children"
FAST = "not slow and not visual and not data and not cluster and not vllm"
MEMORY = 12 * 2**30
"""Bytes of address space that tests on a mutant may take."""
Outcome = Literal["killed", "survived", "timeout"]
OUTCOMES: dict[int, Outcome] = {0: "survived", 1: "killed", 2: "killed", 3: "killed"}
"""By exit status of pytest; 2 is a module that cannot be imported."""


@dataclass(frozen=True)
class Baseline:
    """What the tests do on the module as it is."""

    seconds: float
    durations: dict[str, float]
    """By test."""
    callers: dict[int, list[str]]
    """By first line of a function: the tests that call it."""
    libraries: list[str]
    """Modules that were imported and are not ours."""


@dataclass
class Running:
    """A process that tests a mutant."""

    pid: int
    started: float
    folder: Path

    def kill(self) -> None:
        """Ends it, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Selection:
    """A plugin of pytest: the tests that call what is changed come first, quick ones before slow ones."""

    def __init__(self, first: set[str], durations: dict[str, float]) -> None:
        self.first = first
        self.durations = durations

    def pytest_configure(self) -> None:
        import hypothesis

        quick = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutants", parent=hypothesis.settings(), phases=quick)
        hypothesis.settings.load_profile("mutants")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        # At once: pytest would collect garbage several times, which takes longer than most tests.
        self.done()
        os._exit(int(exitstatus))

    def done(self) -> None:
        """For those who have something to keep."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: (item.nodeid not in self.first, self.durations.get(item.nodeid, 0.0)))


@dataclass
class Recorder(Selection):
    """A plugin of pytest: which tests call which functions of a file, and how long each test takes."""

    file: str
    kept: Path
    """Where the baseline is written."""
    first: set[str] = field(default_factory=set)
    durations: dict[str, float] = field(default_factory=dict)
    callers: dict[int, set[str]] = field(default_factory=dict)
    test: str = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0.0) + report.duration

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.test = nodeid

    def done(self) -> None:
        sys.settrace(None)
        found = {
            "seconds": sum(self.durations.values()),
            "durations": self.durations,
            "callers": {line: sorted(tests) for line, tests in self.callers.items()},
            "libraries": [name for name, module in list(sys.modules.items()) if _is_library(module)],
        }
        self.kept.write_text(json.dumps(found))

    def trace(self, frame: FrameType, event: str, argument: object) -> None:
        if self.test and frame.f_code.co_filename == self.file:
            self.callers.setdefault(frame.f_code.co_firstlineno, set()).add(self.test)


class Trials:
    """All trials on one module."""

    def __init__(self, module: str, file: Path, tests: list[Path], folder: Path) -> None:
        """folder: an empty one, for the files of the tests."""
        self.module = module
        self.file = file
        self.tests = [str(path) for path in tests]
        self.folder = folder
        self.baseline = self._record()
        for name in self.baseline.libraries:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()
        self.limit = 10 + 4 * self.baseline.seconds
        self._check_loaded()

    def start(self, number: int, source: str, first_line: int | None) -> Running:
        """Starts the tests on a mutant."""
        folder = self.folder / str(number)
        folder.mkdir()
        (folder / "mutant.py").write_text(source, encoding="utf-8")
        first = set(self.baseline.callers.get(first_line or 0, []))
        pid = os.fork()
        if pid:
            return Running(pid, time.monotonic(), folder)
        with _child(folder):
            os.environ["ILR_BENCH_MUTANT"] = f"{self.module}={self.file}={folder / 'mutant.py'}"
            importlib.import_module("sitecustomize")
            self._pytest(Selection(first, self.baseline.durations), folder)

    def finished(self, running: Running) -> Outcome | None:
        """How it ended, or None while it runs. Raises RuntimeError where the tests could not be run."""
        pid, status = os.waitpid(running.pid, os.WNOHANG)
        # Tests wait longer where other programs want the processors too.
        crowded = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        if pid == 0 and time.monotonic() - running.started < self.limit * crowded:
            return None
        running.kill()
        if pid == 0:
            os.waitpid(running.pid, 0)
        code = os.waitstatus_to_exitcode(status) if pid else None
        if code in (4, 5):
            raise RuntimeError((running.folder / "output").read_text())
        shutil.rmtree(running.folder, ignore_errors=True)
        return "timeout" if code is None else OUTCOMES.get(code, "killed")

    def _check_loaded(self) -> None:
        """Raises RuntimeError where the tests would not see mutants: a module that fails must fail them."""
        running, outcome = self.start(-1, "raise RuntimeError", None), None
        while outcome is None:
            time.sleep(0.01)
            outcome = self.finished(running)
        if outcome != "killed":
            raise RuntimeError(f"the tests of {self.file} load {self.module} from elsewhere than mutants are put")

    def _record(self) -> Baseline:
        folder = self.folder / "baseline"
        folder.mkdir()
        pid = os.fork()
        if pid == 0:
            with _child(folder):
                recorder = Recorder(str(self.file), folder / "baseline.json")
                threading.settrace(recorder.trace)
                sys.settrace(recorder.trace)
                self._pytest(recorder, folder)
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"the tests of {self.file} fail without any change:\n{(folder / 'output').read_text()}")
        found = json.loads((folder / "baseline.json").read_text())
        callers = {int(line): tests for line, tests in found.pop("callers").items()}
        return Baseline(callers=callers, **found)

    def _pytest(self, plugin: Selection, folder: Path) -> None:
        """Runs the tests, and ends the process."""
        import pytest

        # The cache of models is shared by all runs, as it is by the workers of pytest-xdist.
        os.environ |= {"PYTEST_XDIST_WORKER": "mutant", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        # Fixtures that several tests share are made once a file, by a test that then counts as their only caller.
        chosen = {test.split("::")[0] for test in plugin.first}
        files = [path for path in self.tests if not chosen or str(Path(path).relative_to(ROOT)) in chosen]
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-m", FAST]
        os._exit(int(pytest.main([*options, f"--basetemp={folder / 'pytest'}", *files], plugins=[plugin])))


@contextlib.contextmanager
def _child(folder: Path) -> Iterator[None]:
    """A process of its own group, which writes into `folder/output` and ends where the block ends."""
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(ROOT)
        sys.path[:0] = [str(ROOT), str(CHILDREN)]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CHILDREN), str(ROOT)])
        sys.modules.pop("sitecustomize", None)
        yield
    finally:
        os._exit(4)


def _is_library(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or not Path(file).is_relative_to(ROOT)
