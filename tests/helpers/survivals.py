"""A tiny trial, disturbed at stated moments and run again: `python survivals.py FOLDER quick|all|FIRST-LAST`.

Prints a line of JSON for each: its name, how every attempt ended, and which files differ in the end from those of a
trial that nothing disturbed. FIRST-LAST asks for torn files only, by number. A process of its own, so that it can fork.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faults
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

import ilr_bench.evaluation.runner
import ilr_bench.method.loop
import ilr_bench.storage.provenance
import ilr_bench.study.trial
import ilr_bench.study.trial_state
from ilr_bench.core import signals
from ilr_bench.evaluation.batching import Journal
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.inputs import SUPERSEDED
from ilr_bench.study.plan import Plan

SMALLER = {
    "training__steps": "3",
    "training__validate_every": "1",
    "evaluation__benchmarks": "micro_ood",
    "sampling__samples": "2",
}
KILLS: dict[str, Callable[[], object]] = {
    "sampling the last step": lambda: faults.die_at_call(ilr_bench.method.loop, "fuse", 3),
    "between the updates of two agents": lambda: faults.die_at_call(GRPOLearner, "update", 6),
    "between a step's records and its checkpoint": lambda: faults.die_at_call(
        ilr_bench.study.trial_state, "save_checkpoint", 2
    ),
    "in the middle of a file of weights": lambda: faults.die_at_byte(60_000),
    "in an evaluation": lambda: faults.die_at_call(Journal, "add", 2, after=True),
    "before the result": lambda: faults.die_at_call(ilr_bench.study.trial, "finalize", 1),
}
STOPS: dict[str, tuple[Any, str, int]] = {
    "in a step": (ilr_bench.method.loop, "fuse", 1),
    "in an evaluation": (Journal, "add", 1),
}
ASIDE = f"{SUPERSEDED}/"
"""What an unfinished trial had made whose configuration was torn, so that nobody can say from what: made anew."""
UNSEALED = (".lock", "timing.jsonl", "study.json", "/events.jsonl")
Outcome = tuple[str, list[str], Path]


class Disturbances:
    """Every way to disturb one plan's trial; each yields its name, how the attempts ended, and the study's folder."""

    def __init__(self, folder: Path, most: int, refusals: int, tears: Sequence[int]) -> None:
        """`most`: kills; `refusals`: refused writes, less one; `tears`: numbers of torn files, which name places."""
        self.folder, self.most, self.refusals, self.tears = folder, most, refusals, tears
        self.plan: Plan = tiny_plan(tiny_checkpoints(folder), "ilr", **SMALLER)
        self.calm = folder / "calm"
        assert self.attempt(self.calm) == "done"

    def attempt(self, out: Path, arm: Callable[[], object] = lambda: None) -> str:
        return faults.attempt(partial(run_plan, self.plan, out), arm)

    def kills(self) -> Iterator[Outcome]:
        for name, arm in list(KILLS.items())[: self.most]:
            out = self.folder / f"kill {name}"
            yield f"kill {name}", [self.attempt(out, arm), self.attempt(out)], out

    def stops(self) -> Iterator[Outcome]:
        for name, (owner, function, number) in STOPS.items():
            out = self.folder / f"stop {name}"
            yield (
                f"stop {name}",
                [self.attempt(out, partial(stop_at_call, owner, function, number)), self.attempt(out)],
                out,
            )

    def parts(self) -> Iterator[Outcome]:
        """Trained up to a step at a time."""
        out = self.folder / "parts"
        (trial,) = self.plan.trials
        folder, artifacts = out / trial.folder, Artifacts(out / "artifacts")
        shutil.copytree(self.calm, out, ignore=shutil.ignore_patterns("trials", "artifacts"))
        run = partial(ilr_bench.study.trial.run_trial, trial.config, trial.hash, folder, artifacts)
        output = [faults.attempt(partial(run, until=step)) for step in (1, 2)]
        yield "parts", [*output, self.attempt(out)], out

    def full_disks(self) -> Iterator[Outcome]:
        changes = faults.last_change(partial(run_plan, self.plan, self.folder / "count"), self.folder / "count")
        shutil.rmtree(self.folder / "count")
        for number in sorted({1 + (changes - 2) * part // self.refusals for part in range(self.refusals + 1)}):
            out = self.folder / f"full {number}"
            out.mkdir()
            ended = [self.attempt(out, partial(faults.Changes, out, number, faults.full)), self.attempt(out)]
            yield f"full disk at change {number} of {changes}", ended, out

    def torn_files(self) -> Iterator[Outcome]:
        """One bit flipped, or the file cut there, in a finished trial and in one that was killed in its evaluation."""
        half = self.folder / "half"
        assert self.attempt(half, KILLS["in an evaluation"]) == "killed"
        for number in self.tears:
            rng = random.Random(f"tear {number}")
            state, whole = rng.choice([("finished", self.calm), ("unfinished", half)])
            files = [path for path in sorted(whole.rglob("*")) if path.is_file() and path.stat().st_size]
            path = rng.choice([path for path in files if not path.name.endswith(UNSEALED)]).relative_to(whole)
            out = self.folder / f"tear {number}"
            shutil.copytree(whole, out)
            how = tear(out / path, rng)
            yield f"{how} of {path} of a trial that is {state} ({number})", [self.attempt(out)], out


def tear(path: Path, rng: random.Random) -> str:
    """Flips one bit of a file, or cuts it somewhere, and says so."""
    data = path.read_bytes()
    index, cut = rng.randrange(len(data)), rng.random() < 0.5
    flipped = data[:index] + bytes([data[index] ^ (1 << rng.randrange(8))]) + data[index + 1 :]
    path.write_bytes(data[:index] if cut else flipped)
    return f"{'cut' if cut else 'flip'} at byte {index} of {len(data)}"


def stop_at_call(owner: Any, name: str, number: int) -> None:
    """SIGTERM at the n-th call of a function."""
    signals.install()
    function, calls = getattr(owner, name), [0]

    def counted(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            signal.raise_signal(signal.SIGTERM)
        return function(*given, **named)

    setattr(owner, name, counted)


def main(folder: Path, how: str) -> None:
    # Commit and code may move on meanwhile.
    ilr_bench.storage.provenance.code_hash()
    ilr_bench.study.trial.versions = lambda: {"commit": "test"}
    if how in ("quick", "all"):
        one = Disturbances(folder, *((5, 1, range(3)) if how == "quick" else (len(KILLS), 40, range(60))))
        kinds = [one.kills, one.stops, one.parts, one.full_disks, one.torn_files]
    else:
        first, last = map(int, how.split("-"))
        one = Disturbances(folder, 0, 0, range(first, last + 1))
        kinds = [one.torn_files]
    wanted = contents(one.calm)
    for kind in kinds:
        for name, ended, out in kind():
            found = contents(out)
            files = {file for file in wanted.keys() | found.keys() if not file.startswith(ASIDE)}
            other = sorted(file for file in files if wanted.get(file) != found.get(file))
            sys.stdout.write(json.dumps([name, ended, other]) + "\n")
            sys.stdout.flush()
            shutil.rmtree(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
