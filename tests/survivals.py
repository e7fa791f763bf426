"""A tiny trial, killed and refused at stated moments and run again: `python survivals.py FOLDER [NAME...]`.

Prints a line of JSON for each: its name, how the process ended there, how it ended when it was run again, and which
files differ from those of a trial that nothing disturbed. A process of its own, so that it can fork.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faults
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

import ilr_bench.identity
import ilr_bench.ilr
import ilr_bench.training_state
import ilr_bench.trial
from ilr_bench.benchmarks.journal import Journal
from ilr_bench.policy_update import PolicyUpdater

SMALLER = {
    "training__steps": "3",
    "training__validate_every": "1",
    "evaluation__benchmarks": "micro_ood",
    "sampling__samples": "2",
}
KILLS: dict[str, Callable[[Path], object]] = {
    "sampling the last step": lambda out: faults.die_at_call(ilr_bench.ilr, "fuse", 3),
    "between the updates of two agents": lambda out: faults.die_at_call(PolicyUpdater, "update", 6),
    "between the records of a step": lambda out: faults.die_at_call(ilr_bench.training_state, "save_checkpoint", 2),
    "in the middle of a file of weights": lambda out: faults.die_at_byte(60_000),
    "in an evaluation": lambda out: faults.die_at_call(Journal, "add", 2, after=True),
    "before the result": lambda out: faults.die_at_call(ilr_bench.trial, "seal", 1),
}


def main(folder: Path, names: list[str]) -> None:
    # Commit and code may move on meanwhile.
    ilr_bench.identity.code_hash()
    ilr_bench.trial.versions = lambda: {"commit": "test"}
    plan = tiny_plan(tiny_checkpoints(folder), "ilr", **SMALLER)
    calm = folder / "calm"
    assert faults.attempt(partial(run_plan, plan, calm)) == "done"
    wanted = contents(calm)
    for name, arm in KILLS.items():
        if not names or name in names:
            out = folder / name
            first = faults.attempt(partial(run_plan, plan, out), partial(arm, out))
            again = faults.attempt(partial(run_plan, plan, out))
            found = contents(out)
            other = sorted(file for file in wanted.keys() | found.keys() if wanted.get(file) != found.get(file))
            sys.stdout.write(json.dumps([name, first, again, other]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
