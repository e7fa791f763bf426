"""Trials of tiny models with rewards that teach them something, on one process or on two."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from unittest import mock

from tiny_trials import tiny_plan

from ilr_bench.core import signals
from ilr_bench.core.signals import send_heartbeat
from ilr_bench.learner import grpo
from ilr_bench.learner.distributed import SINGLE, DistContext, dist_from_environment, leave_process_group
from ilr_bench.method import rewards
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.rewards import Score
from ilr_bench.storage.records import TrialResult, Verdict
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.trial import run_trial
from ilr_bench.tasks.types import Question

PATIENCE = 1800
"""Seconds for two processes, on a machine that has other work."""
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["shared_trials"])
HOW = {"dies": signal.SIGKILL, "hangs": signal.SIGSTOP, "is asked to stop": signal.SIGTERM}
COMMON = {
    "questions__train": "8",
    "training__steps": "3",
    "training__questions_per_step": "5",
    "training__checkpoint_every": "1",
}
SCENES: dict[str, tuple[str, dict[str, str]]] = {
    "full": ("ilr", {"update__rows_per_micro_batch": "4"}),
    "lora": ("twins", {"update__adapter": "lora", "update__beta": "0.1", "advantages__scale": "batch"}),
    "critic": ("ppo", {"update__iterations": "2"}),
    "pooled": ("peer_pooling", {}),
    "few": ("ilr", {"training__questions_per_step": "1", "interaction__ability": "online"}),
}


def odd_lengths_win(questions: Sequence[Question], turns: Sequence[Turn], *_: Any) -> list[Score]:
    """Whether a text is right depends on the text alone, and about half of them are."""
    digests = [hashlib.sha256(turn.text.encode()).digest() for turn in turns]
    return [
        Score(Verdict.CORRECT, 1.0) if digest[0] % 2 else Score(Verdict.WRONG, digest[1] / 512) for digest in digests
    ]


def play(
    scene: str, models: tuple[str, ...], out: Path, dist: DistContext = SINGLE, until: int | None = None
) -> TrialResult | None:
    """Runs a scene's trial with the rewards of `odd_lengths_win`."""
    variant, changes = SCENES[scene]
    (trial,) = tiny_plan(models, variant, **(COMMON | changes)).trials
    before, rewards.score = rewards.score, odd_lengths_win  # type: ignore[attr-defined, assignment]
    try:
        with dist.until_saved():
            return run_trial(
                trial.config, trial.hash, out / scene, Artifacts(out / "artifacts"), until=until, dist=dist
            )
    finally:
        rewards.score = before  # type: ignore[attr-defined]


class Process:
    """One of several processes that play scenes together, and what it said."""

    def __init__(self, said: Path, *given: Any) -> None:
        self._said = said
        # Torch is imported once for all processes, by the server that they are forked from.
        with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
            forkserver.ensure_running()
        self._process = SERVER.Process(target=_play_together, args=(said, *given), daemon=True)
        self._process.start()

    def end(self) -> tuple[int | None, str]:
        """Waits for it; its exit status, and its output."""
        self._process.join(PATIENCE)
        return self._process.exitcode, self._said.read_text()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.join()


def launch(
    models: tuple[str, ...],
    out: Path,
    scenes: Sequence[str],
    fails: tuple[int, int] = (-1, 0),
    how: Literal["dies", "hangs", "is asked to stop"] = "dies",
    patience: float = PATIENCE,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[Process]:
    """Two processes that play scenes together; `fails`: a rank that dies or hangs, and at which of its updates.

    `environment`: what a launch sets beside the processes' places.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    out.mkdir(parents=True, exist_ok=True)
    given = (port, models, out, scenes, fails, how, patience, dict(environment))
    return [Process(out / f"said.{rank}", rank, *given) for rank in (0, 1)]


def _play_together(
    said: Path,
    rank: int,
    port: str,
    models: tuple[str, ...],
    out: Path,
    scenes: Sequence[str],
    fails: tuple[int, int],
    how: str,
    patience: float,
    environment: dict[str, str],
) -> None:
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    signals.install()
    if fails[0] == rank:
        _fail_at_update(fails[1], HOW[how])
    _tell_moments()
    dist = dist_from_environment(patience)
    for scene in scenes:
        if scene in SCENES:
            play(scene, models, out, replace(dist, others_wait=dist.shards or scene != scenes[-1]))
        else:
            dist.rank0_first(partial(_work, float(scene.split()[-2]) if dist.is_main else 0.0))
    leave_process_group()


def _tell_moments() -> None:
    """After each update a process says how many numbers its optimizer keeps of how many weights."""
    update = grpo.GRPOLearner.update

    def telling(self: Any, *given: Any) -> Any:
        metrics = update(self, *given)
        kept = sum(state[name].numel() for state in self.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq"))
        sys.stdout.write(f"{self.agent} keeps {kept} for {sum(weight.numel() for weight in self.weights)}\n")
        sys.stdout.flush()
        return metrics

    grpo.GRPOLearner.update = telling  # type: ignore[method-assign]


def _work(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        send_heartbeat()


def _fail_at_update(count: int, sent: signal.Signals) -> None:
    update, left = grpo.GRPOLearner.update, [count]

    def deadly(self: Any, *given: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), sent)
        return update(self, *given)

    grpo.GRPOLearner.update = deadly  # type: ignore[method-assign]
