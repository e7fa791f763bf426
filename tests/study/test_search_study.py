"""A search in a study's folder: real trials of tiny models, run in this process."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from tiny_trials import SETTINGS, contents, tiny_checkpoints

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.study.launch import pool
from ilr_bench.study.launch.pool import Execution
from ilr_bench.study.launch.scheduler import JobEnd
from ilr_bench.study.search.planned import SearchOptions, plan_search
from ilr_bench.study.search.running import run_search
from ilr_bench.study.search.study_file import NAME, STORAGE, claim, write_storage
from reports import Settings
from reports.frames import load
from reports.tables.search import REPORT

SPACE = """
[space]
variant = {choices = ["ilr", "grpo"]}
"update.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"""
DISPOSABLE = ("optuna.db", "logs/", ".lock", "failures.jsonl", "plan.json")


class Killed(BaseException):
    """The end of the process."""


class Inline:
    """Runs jobs in this process; the one that was started last ends first."""

    def __init__(self, slots, kill_at=None):
        self.slots, self.kill_at = slots, kill_at
        self.started = 0
        self.waiting = []

    def start(self, job):
        self.started += 1
        if self.started == self.kill_at:
            raise Killed
        self.waiting.append(job)

    def wait(self, interrupt):
        job = self.waiting.pop()
        job.function(*job.arguments)
        return [JobEnd(job.name)]

    def close(self):
        self.waiting.clear()


@pytest.fixture
def run(monkeypatch):
    def run_in(out, planned, slots=1, kill_at=None):
        executor = Inline(slots, kill_at)

        monkeypatch.setattr(pool, "open_executor", lambda execution, out: executor)
        return run_search(planned, out, Execution(), fresh=True), executor

    return run_in


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Two points a round, three in all; each may be given up after its first step."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "space.toml").write_text(SPACE)
    changes = {"training.validate_every": "1", "training.steps": "2", "evaluation.benchmarks": "micro_code"}
    settings = {key: (value,) for key, value in (SETTINGS | changes).items()}
    search = SearchOptions(str(folder / "space.toml"), trials=3, pruner="asha", round=2)
    return search, tiny_checkpoints(folder), settings


def planned(options, seeds=(0,), **changes):
    search, models, settings = options
    return plan_search(replace(search, **changes), "micro", [], [models], seeds, settings)


def lasting(folder):
    return {name: data for name, data in contents(folder).items() if not any(part in name for part in DISPOSABLE)}


def test_workers_kills_and_a_lost_storage_change_nothing(run, options, tmp_path, capsys):
    search = planned(options)
    _, executor = run(tmp_path / "one", search)
    whole = lasting(tmp_path / "one")
    found = json.loads(whole["search.json"])
    assert [point["number"] for point in found["points"]] == [0, 1, 2]
    assert found["best"]

    for kill_at in (4, 2):  # between prune steps, then after one more job
        with pytest.raises(Killed):
            run(tmp_path / "other", search, slots=2, kill_at=kill_at)
    run(tmp_path / "other", search, slots=2)
    assert lasting(tmp_path / "other") == whole

    table = REPORT.write(load(tmp_path / "one"), tmp_path, Settings()).read_text()
    assert table.count("| 0") == 1
    assert "†" in table
    assert REPORT.applies(load(tmp_path / "one")) is None

    for harm, output in (
        (Path.unlink, 0),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), 1),
        (lambda path: path.write_text("?"), 1),
    ):
        harm(tmp_path / "one" / "optuna.db")
        capsys.readouterr()
        _, executor = run(tmp_path / "one", search)
        assert executor.started == 0
        assert lasting(tmp_path / "one") == whole
        assert (tmp_path / "one" / "optuna.db").stat().st_size > 10_000
        assert capsys.readouterr().err.count("optuna.db is damaged; it is made anew") == output


def test_a_storage_is_damaged_where_any_page_of_it_is(tmp_path, capsys):
    path = tmp_path / STORAGE
    for harm, output in (
        (None, 0),
        (lambda: None, 0),
        (lambda: path.write_bytes(path.read_bytes()[:8192] + b"\xff" * 4096 + path.read_bytes()[12288:]), 1),
        (lambda: path.write_bytes(path.read_bytes()[:-5000]), 1),
        (lambda: path.write_bytes(b""), 1),
    ):
        if harm is not None:
            harm()
        write_storage(optuna.create_study(), tmp_path)
        assert capsys.readouterr().err.count("is damaged; it is made anew") == output
        assert optuna.load_study(study_name=NAME, storage=f"sqlite:///{path}").trials == []


def test_more_points_may_be_asked_for_and_nothing_else_may_change(run, options, tmp_path, capsys):
    search = planned(options)
    claim(tmp_path, search.identity)
    (tmp_path / "search.json").write_text(json.dumps({"rules": search.identity}))
    claim(tmp_path, planned(options, trials=5).identity)
    with pytest.raises(ConfigurationError, match=r"another search \(other sampler_seed\); choose another --out"):
        claim(tmp_path, planned(options, sampler_seed=1).identity)
    with pytest.raises(ConfigurationError, match="other seeds"):
        claim(tmp_path, planned(options, seeds=(0, 1)).identity)
    (tmp_path / "search.json").write_text('{"rules": {"sam')
    claim(tmp_path, search.identity)
    assert "made anew" in capsys.readouterr().err
    (tmp_path / "search.json").unlink()
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no search"):
        claim(tmp_path, search.identity)


@pytest.mark.slow
def test_two_worker_processes_stopped_by_a_signal_leave_what_one_process_leaves(run, options, tmp_path):
    search, models, settings = options
    run(tmp_path / "one", planned(options))
    words = [
        "--search",
        search.space,
        "--trials",
        "3",
        "--round",
        "2",
        "--pruner",
        "asha",
        "--models",
        ",".join(models),
    ]
    words += [word for key, [value] in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "ilr_bench.sweep", *words, "--out", str(tmp_path / "two"), "--fresh"]
    sweep = subprocess.Popen(command)
    deadline = time.monotonic() + 600
    while sweep.poll() is None and not any((tmp_path / "two").glob("trials/*/checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sweep.send_signal(signal.SIGTERM)
    assert sweep.wait(300) in (143, 0)  # 0 where a very fast machine has finished first
    subprocess.run(command, check=True)
    assert lasting(tmp_path / "two") == lasting(tmp_path / "one")
