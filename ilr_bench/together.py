"""A study whose trials run one after the other, each of them on all the processes that were launched together."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from ilr_bench import stopping
from ilr_bench.console import note, say
from ilr_bench.distributed import launched, leave
from ilr_bench.plan import Plan, PlannedTrial
from ilr_bench.records import Study, write_study
from ilr_bench.sharing import neighbours
from ilr_bench.store import Artifacts, lock_study
from ilr_bench.sweep import extended_study, load_benchmarks
from ilr_bench.trial import run_trial


def run_together(plan: Plan, profile: str, out: Path, command: str) -> None:
    """Runs a plan's trials on the processes of `accelerate launch`; called by every one of them.

    Raises IlrError where another process ends early, Stopped where one is asked to stop, and what `run_trial` raises.
    """
    out = out.resolve()
    stopping.install()
    load_benchmarks(plan)
    ranks = launched()
    with lock_study(out) if ranks.leads else nullcontext():
        if ranks.leads:
            write_study(out, extended_study(out, Study(profile, command, plan.entries)))
        # The lock removes what killed runs left in the folder; until then nobody writes there.
        note(f"process {ranks.rank + 1} of {ranks.led(ranks.size)} is ready")
        artifacts = Artifacts(out / "artifacts", tuple(study / "artifacts" for study in neighbours(out)))
        for trial in plan.trials:
            dependency = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
            watch = partial(_tell, trial)
            run_trial(trial.config, trial.hash, out / trial.folder, artifacts, dependency, watch, ranks=ranks)
    leave()
    if ranks.leads:
        say(f"{len(plan.trials)} trials in {out}; next: ilr-bench report {out}")


def _tell(trial: PlannedTrial, step: int, evaluated: float) -> None:
    solo = f", {evaluated:.0%} of the agents' own answers" if evaluated else ""
    note(f"{trial.folder}: step {step} of {trial.config.training.steps}{solo}")
