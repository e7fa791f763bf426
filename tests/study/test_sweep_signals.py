"""A whole sweep that is interrupted as a terminal does it, and continued by the command that it names."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import fake_slurm
import pytest
from tiny_trials import SETTINGS, contents, tiny_checkpoints

from ilr_bench.storage.checkpoints import latest_checkpoint
from ilr_bench.storage.store import lock_study

HOLD = """
import os, pathlib, time
from ilr_bench.core import signals as stopping; from ilr_bench.storage import timing
write = timing.Stopwatch.write

def hold(self, step):
    write(self, step)
    marker = pathlib.Path(os.environ["HELD"])
    if step == 1 and not marker.exists():
        marker.touch()
        while not stopping.received():
            time.sleep(0.01)

timing.Stopwatch.write = hold
"""
"""Has the first trial wait after its first step until it is asked to stop."""


def command(models, out, executor="local"):
    words = [sys.executable, "-m", "ilr_bench.sweep", "--variants", "pure_competitive", "--models", ",".join(models)]
    settings = SETTINGS | {"training.steps": "4", "training.checkpoint_every": "4"}
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    options = {"local": (), "slurm": ("--executor", "slurm", "--slurm", "time=5")}
    return [*words, *options[executor], "--workers", "1", "--out", str(out)]


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/sitecustomize.py").write_text(HOLD)
    paths = os.pathsep.join(filter(None, (str(tmp_path / "hooks"), os.environ.get("PYTHONPATH"))))
    return os.environ | {"HELD": str(tmp_path / "held"), "PYTHONPATH": paths}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "executor"), [(signal.SIGINT, "local"), (signal.SIGTERM, "local"), (signal.SIGINT, "slurm")]
)
def test_an_interrupted_sweep_saves_its_step_and_ends_like_an_undisturbed_one(number, executor, tmp_path, environment):
    if executor == "slurm":
        pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
        (tmp_path / "books").mkdir()
        fake_slurm.install(tmp_path / "bin")
        environment |= {"FAKE_SLURM": str(tmp_path / "books"), "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}"}
    models = tiny_checkpoints(tmp_path)
    out = tmp_path / "interrupted/study"
    sweep = subprocess.Popen(
        command(models, out, executor), env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "held").exists() and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sweep.poll() is None, sweep.communicate()[1]
    os.killpg(sweep.pid, number)  # as Ctrl-C in a terminal: to the whole group
    _, output = sweep.communicate(timeout=300)
    assert sweep.returncode == 128 + number
    assert f"stopped by {number.name}" in output
    named = output.rpartition("to continue: ")[2].strip()
    assert shlex.split(named)[1:] == command(models, out, executor)[1:]
    [trial] = (out / "trials").glob("[!.]*")
    step, _ = latest_checkpoint(trial / "checkpoints")
    assert step in (1, 2)  # the second where the wish came when the first had been checked

    subprocess.run(shlex.split(named), check=True, capture_output=True, env=environment)
    undisturbed = tmp_path / "undisturbed/study"
    subprocess.run(command(models, undisturbed), check=True, capture_output=True)
    assert contents(out / "trials") == contents(undisturbed / "trials")


def test_a_second_sweep_on_a_folder_says_so_and_stops(tmp_path):
    out = tmp_path / "study"
    with lock_study(out):
        second = subprocess.run(command(("A", "B"), out), capture_output=True, text=True, check=False)
    assert second.returncode == 4
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert second.stderr.strip() == f"error: {out} is in use by {holder}; wait for it to end, or name another folder"
