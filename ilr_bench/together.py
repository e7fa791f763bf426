"""A study whose trials run one after the other, each of them on all the processes that were launched together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from ilr_bench import stopping
from ilr_bench.console import note, say
from ilr_bench.costs.pricing import check_and_keep
from ilr_bench.costs.seating import take_turns
from ilr_bench.distributed import PATIENCE, launched, leave
from ilr_bench.plan import Plan, PlannedTrial
from ilr_bench.records import Study, write_study
from ilr_bench.sharing import neighbours, take_over
from ilr_bench.store import Artifacts, is_finished, lock_study
from ilr_bench.sweep import extended_study, load_benchmarks
from ilr_bench.trial import run_trial
from ilr_bench.watchers import make_loggers
from ilr_bench.watchers.study_log import StudyLog


def run_together(
    plan: Plan,
    profile: str,
    out: Path,
    command: str,
    log: Sequence[str] = (),
    force: bool = False,
    patience: float = PATIENCE,
) -> None:
    """Runs a plan's trials on the processes of `accelerate launch`; called by every one of them.

    The first one takes over what the studies beside this one have finished, writes, and tells the loggers in `log`.
    `patience`: seconds that a process waits for another. Raises IlrError where another process ends early or hangs,
    DoesNotFitError where one process does not fit, unless `force`, Stopped where one is asked to stop, and what
    `run_trial` raises.
    """
    out = out.resolve()
    stopping.install()
    load_benchmarks(plan)
    loggers = make_loggers(log)
    ranks = launched(patience)
    beside = neighbours(out)
    artifacts = Artifacts(out / "artifacts", tuple(study / "artifacts" for study in beside))
    with ExitStack() as leading:
        curves: StudyLog | None = None
        if ranks.leads:
            leading.enter_context(lock_study(out))
            write_study(out, extended_study(out, Study(profile, command, plan.entries)))
            left = [trial for trial in plan.trials if not is_finished(out / trial.folder, trial.hash, artifacts)]
            taken = take_over(left, out, beside, artifacts)
            check_and_keep(plan, [trial for trial in left if trial.hash not in taken], 1, out, force)
            curves = leading.enter_context(StudyLog(out, loggers))
        # What killed runs left is removed, and what others have finished is here; until then nobody looks.
        note(f"process {ranks.rank + 1} of {ranks.led(ranks.size)} is ready")
        for trial in plan.trials:
            dependency = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
            # Those that keep shares of what the first one saves must not leave before it has saved.
            those = replace(ranks, attended=ranks.shards or trial != plan.trials[-1])
            watch = partial(_tell, trial, curves)
            with ranks.staying():
                run_trial(
                    trial.config, trial.hash, out / trial.folder, artifacts, dependency, watch, ranks=those,
                    take_turns=take_turns,
                )  # fmt: skip
    leave()
    if ranks.leads:
        say(f"{len(plan.trials)} trials in {out}; next: ilr-bench report {out}")


def _tell(trial: PlannedTrial, curves: StudyLog | None, step: int, evaluated: float) -> None:
    solo = f", {evaluated:.0%} of the agents' own answers" if evaluated else ""
    note(f"{trial.folder}: step {step} of {trial.config.training.steps}{solo}")
    if curves is not None:
        curves(step)
