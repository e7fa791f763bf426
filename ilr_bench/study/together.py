"""A study whose trials run one after the other, each of them on all the processes that were launched together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from ilr_bench.core import signals
from ilr_bench.core.console import note
from ilr_bench.learner.distributed import TIMEOUT, dist_from_environment, leave_process_group
from ilr_bench.storage.store import lock_study
from ilr_bench.study.cost.fits import check_and_keep, take_turns
from ilr_bench.study.inputs import inputs_of_trials
from ilr_bench.study.own_data import check_overlap
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import with_artifacts
from ilr_bench.study.sweep import begin
from ilr_bench.study.tracking import make_loggers
from ilr_bench.study.tracking.study_log import StudyLog
from ilr_bench.study.trial import run_trial


def run_distributed(
    plan: Plan,
    profile: str,
    out: Path,
    command: str,
    log: Sequence[str] = (),
    force: bool = False,
    timeout: float = TIMEOUT,
    allow_overlap: bool = False,
) -> bool:
    """Runs a plan's trials on the processes of `accelerate launch`; called by every one, True for rank 0.

    Rank 0 reuses what the studies beside this one have finished, writes, and passes records to the loggers in `log`.
    `timeout`: seconds that a process waits for another; `allow_overlap`: see `run_sweep`. Raises IlrError where another
    process ends early or hangs, DoesNotFitError where one process does not fit, unless `force`, Stopped where one is
    asked to stop, and what `run_trial` raises.
    """
    out = out.resolve()
    signals.install()
    overlaps = check_overlap([trial.config for trial in plan.trials], allow_overlap)
    now = inputs_of_trials(plan.trials)
    loggers = make_loggers(log)
    dist = dist_from_environment(timeout)
    artifacts, siblings = with_artifacts(out)
    with ExitStack() as main:
        curves: StudyLog | None = None
        if dist.is_main:
            main.enter_context(lock_study(out))
            left = begin(plan, now, profile, command, out, artifacts, siblings, overlaps)
            check_and_keep(plan, left, 1, out, force)
            curves = main.enter_context(StudyLog(out, loggers))
        # What killed runs left is removed, and what others have finished is here; until then no process looks.
        note(f"process {dist.rank + 1} of {dist.from_rank0(dist.size)} is ready")
        for trial in plan.trials:
            dependency = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
            # Those that hold shards of what rank 0 saves must not leave before it has saved.
            those = replace(dist, others_wait=dist.shards or trial != plan.trials[-1])
            watch = partial(_log_trial, trial, curves)
            with dist.until_saved():
                run_trial(
                    trial.config, trial.hash, out / trial.folder, artifacts, dependency, watch, dist=those,
                    take_turns=take_turns,
                )  # fmt: skip
    leave_process_group()
    return dist.is_main


def _log_trial(trial: PlannedTrial, curves: StudyLog | None, step: int, evaluated: float) -> None:
    standalone = f", {evaluated:.0%} of the agents' own answers" if evaluated else ""
    note(f"{trial.folder}: step {step} of {trial.config.training.steps}{standalone}")
    if curves is not None:
        curves(step)
