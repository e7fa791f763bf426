"""`python -m ilr_bench.sweep`: variants x models x seeds, on local worker processes, a Ray cluster or SLURM.

The study's folder is the record: the same command again continues, and repeats nothing that has finished.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.core.console import fail_in_one_line, note, say
from ilr_bench.core.errors import IlrError
from ilr_bench.core.extras import require
from ilr_bench.core.hardware import cores
from ilr_bench.core.settings import Options
from ilr_bench.core.signals import Stopped
from ilr_bench.models.catalogue import AcceptLicence, accept
from ilr_bench.storage.files import cache_folder
from ilr_bench.storage.provenance import TrialInputs
from ilr_bench.storage.records import Study, read_study, write_study
from ilr_bench.storage.store import Artifacts, is_finished, lock_study
from ilr_bench.storage.timing import stage_seconds
from ilr_bench.study.cost.fits import check_and_keep, seconds_left
from ilr_bench.study.cost.forecast import price
from ilr_bench.study.cost.show import say_cost
from ilr_bench.study.inputs import inputs_of_trials, settle
from ilr_bench.study.jobs import measurement_jobs, model_jobs, prepares, timing_jobs, trial_job, units
from ilr_bench.study.launch.local import TIMEOUT, log_name
from ilr_bench.study.launch.pool import Execution, note_time, open_worker_pool
from ilr_bench.study.launch.progress import Expected, SweepProgress
from ilr_bench.study.launch.scheduler import RETRIES, Failure, Job
from ilr_bench.study.own_data import AllowOverlap, check_overlap, overlap_of_plan
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import reuse_trials, with_artifacts
from ilr_bench.study.servers import EngineName, Insecure, ReductionName, TinkerUrls, note_servers_asked, with_engine
from ilr_bench.study.spec import (
    ConfigFile,
    Models,
    Profile,
    Request,
    Seeds,
    Settings,
    Variants,
    Workers,
    as_text,
    ask,
    split,
)

EXAMPLES = """Examples:

  python -m ilr_bench.sweep --variants ilr,grpo --models A,B --seeds 0,1,2 --out runs/first

  python -m ilr_bench.sweep --variants pure_cooperative,pure_competitive,agents_3 --seeds 0 --out runs/modes

  python -m ilr_bench.sweep --variants ilr --set training.steps=10,20 --out runs/steps --dry-run

  python -m ilr_bench.sweep --search example --trials 20 --pruner asha --out runs/search
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep."""

    failed: dict[str, Failure]
    """Job -> why."""
    seconds: float
    """On the clock."""


def run_sweep(
    plan: Plan,
    profile: str,
    out: Path,
    workers: int,
    command: str,
    fresh: bool = False,
    execution: Execution | None = None,
    force: bool = False,
    keep: int = 1,
    allow_overlap: bool = False,
) -> Outcome:
    """Runs what is left of a plan: models, then measurements, then trials, each as soon as it has what it needs.

    Reuses what the studies beside this one have finished, unless it is to start `fresh`. `execution` says more
    of how jobs are run than the number of local `workers`; `keep` checkpoints of a trial stay. Raises
    ConfigurationError where training questions stand in a benchmark or validate, unless `allow_overlap`; Stopped where
    a signal has asked to stop, and everything is saved; DoesNotFitError where this machine has too little memory or
    disk, unless `force`.
    """
    out = out.resolve()  # workers may run in another folder
    start = time.perf_counter()
    overlaps = check_overlap([trial.config for trial in plan.trials], allow_overlap)
    now = inputs_of_trials(plan.trials)
    with lock_study(out):
        artifacts, siblings = with_artifacts(out, fresh)
        left = begin(plan, now, profile, command, out, artifacts, siblings, overlaps)
        local = execution is None or execution.executor == "local"
        check_and_keep(plan, left, workers, out, force or not local)
        if left:
            note(f"models are made or unpacked once (the micro ones in a minute or two) and kept in {cache_folder()}")
        timing = timing_jobs(left) if local else []  # seconds are those of this machine
        jobs = study_jobs(plan, left, out, artifacts, keep, timing)
        expect = partial(expected, plan, left, jobs, workers, out)
        progress = SweepProgress("jobs", {job.name: units(job) for job in jobs}, out, expect=expect)
        with open_worker_pool(out, execution or Execution(workers=workers)) as pool, progress:
            failed = pool.run(jobs, progress)
        if timing:
            check_and_keep(plan, [], workers, out)
            for job in timing:
                if job.name in failed:
                    note(f"{job.name}: {failed.pop(job.name).message}; the plan's tokens are upper bounds")
        seconds = time.perf_counter() - start
        note_time(out, workers=workers, trials=len(left), seconds=seconds)
    return Outcome(failed, seconds)


def run_alone(asked: Request, plan: Plan, out: Path, force: bool = False) -> None:
    """Runs what was asked for, and planned, on one worker process; raises what `run_sweep` and `finish` raise."""
    spec = asked.spec
    outcome = run_sweep(
        plan, spec.profile, out, 1, asked.command(), execution=Execution(workers=1, log=spec.log), force=force,
        allow_overlap=spec.allow_overlap,
    )  # fmt: skip
    finish(plan, out, outcome)


def expected(plan: Plan, left: Sequence[PlannedTrial], jobs: Sequence[Job], workers: int, out: Path) -> Expected:
    """What the plan says of the jobs: seconds of trials by their timings; other work by the mean of those."""
    seconds = seconds_left(plan, left, workers, out)
    size = {job.name: units(job) for job in jobs}
    mean = sum(seconds.values()) / sum(size[name] for name in seconds) if seconds else 1.0
    return Expected(
        {
            job.name: 0.0 if prepares(job) else seconds[job.name] / size[job.name] if job.name in seconds else mean
            for job in jobs
        },
        min(workers, cores()),
        is_timed=bool(seconds),
    )


def begin(
    plan: Plan,
    now: Mapping[str, TrialInputs],
    profile: str,
    command: str,
    out: Path,
    artifacts: Artifacts,
    siblings: Sequence[Path],
    overlaps: Sequence[str] = (),
) -> list[PlannedTrial]:
    """Writes the study down, reuses what has finished in the studies `siblings`, and returns the trials left.

    `now`: trial hash -> its inputs; what others made is not kept, and notes say what changed. `overlaps`: what reports
    are to say of training questions that stand elsewhere.
    """
    versions = {name: [found] for inputs in now.values() for name, found in inputs.digests.items()}
    write_study(out, extended_study(out, Study(profile, command, plan.entries, versions, tuple(overlaps))))
    settled = Counter(settle(out / trial.folder, now[trial.hash], artifacts) for trial in plan.trials)
    for changed, count in settled.items():
        if changed:
            note(f"{changed} ({count} trials)")
    left = [trial for trial in plan.trials if not is_finished(out / trial.folder, trial.hash, artifacts)]
    if len(left) < len(plan.trials):
        note(f"{len(plan.trials) - len(left)} of {len(plan.trials)} trials have finished before")
    taken = reuse_trials(left, now, out, siblings, artifacts)
    return [trial for trial in left if trial.hash not in taken]


def extended_study(out: Path, study: Study) -> Study:
    """The study with what an earlier command left in the folder: another command adds to it.

    A trial takes the place of one that had its name, models and seed with other settings, as where a variant was
    edited: one row of a table has one configuration. The earlier one's folder stays.
    """
    if not (out / "study.json").exists():
        return study
    earlier = read_study(out)
    commands = earlier.command.split(" && ")
    new = {(entry.variant, entry.models, entry.seed): entry for entry in study.trials}
    kept = [entry for entry in earlier.trials if new.get((entry.variant, entry.models, entry.seed), entry) == entry]
    for entry in earlier.trials:
        if entry not in kept:
            note(
                f"{entry.variant}, {'+'.join(entry.agents)}, seed {entry.seed} has other settings now: not in the "
                f"tables any more, but still in {out / entry.folder}"
            )
    others = [entry for entry in kept if entry not in study.trials]  # what was said of these still holds
    history = {
        name: list(dict.fromkeys([*found, *earlier.inputs.get(name, [])])) for name, found in study.inputs.items()
    }
    return Study(
        profile=earlier.profile,
        command=" && ".join(commands if study.command in commands else [*commands, study.command]),
        trials=(*kept, *(entry for entry in study.trials if entry not in kept)),
        inputs=earlier.inputs | history,
        overlaps=tuple(dict.fromkeys((*(earlier.overlaps if others else ()), *study.overlaps))),
    )


def study_jobs(
    plan: Plan,
    left: Sequence[PlannedTrial],
    out: Path,
    artifacts: Artifacts,
    keep: int = 1,
    timing: Sequence[Job] = (),
) -> list[Job]:
    """What is left to do, the trials in the order of the plan; `timing`: what is done once the models are made."""
    measurements, needed = measurement_jobs(left, artifacts)
    jobs = [*model_jobs(left), *timing, *measurements]
    for trial in left:
        dependency = None if trial.dependency is None else plan.by_hash(trial.dependency)
        after = [dependency.folder] if dependency is not None and dependency in left else []
        job = trial_job(trial, out, artifacts, dependency, needed[trial.hash] + after)
        jobs.append(replace(job, arguments=(*job.arguments, None, keep)))
    return jobs


@app.command(epilog=EXAMPLES)
def sweep(
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command again continues it.")],
    config: ConfigFile = None,
    variants: Variants = None,
    profile: Profile = None,
    models: Models = None,
    seeds: Seeds = None,
    workers: Workers = None,
    settings: Settings = None,
    executor: Annotated[
        str | None,
        typer.Option(help="local: worker processes of this machine; ray or slurm: a cluster.", show_default="local"),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster (auto: this machine's); without it one is started here.")
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(help="What each SLURM job asks for: time=MINUTES,partition=gpu,mem_gb=32,account=... (submitit)."),
    ] = None,
    gpus_per_trial: Annotated[int, typer.Option(help="GPUs that a trial has to itself; 0: all see all.", min=0)] = 0,
    retries: Annotated[
        int, typer.Option(help="Further attempts where a worker died, hung or ran out of memory.", min=0)
    ] = RETRIES,
    patience: Annotated[float, typer.Option(help="Seconds of silence after which a worker hangs.", min=1)] = TIMEOUT,
    search: Annotated[
        str | None, typer.Option(help="Space to search in place of a grid: a TOML file, or the name of one: example.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Points of a search, each trained with every seed.", min=1)] = 20,
    sampler: Annotated[str, typer.Option(help="Optuna's (tpe, random, gp, qmc, cmaes, ...), or file.py:NAME.")] = "tpe",
    sampler_seed: Annotated[int, typer.Option(help="Seed of the sampler.", min=0)] = 0,
    pruner: Annotated[str, typer.Option(help="asha, hyperband, wilcoxon or none.")] = "none",
    objectives: Annotated[
        str, typer.Option(help="accuracy (on validation questions), or accuracy,tokens for the Pareto front of both.")
    ] = "accuracy",
    round_size: Annotated[
        int, typer.Option("--round", help="Points asked for at a time, whatever the number of workers.", min=1)
    ] = 4,
    log: Annotated[
        str | None,
        typer.Option(
            help="Where curves go as well, with commas: tensorboard (DIR/events), trackio, wandb, mlflow, comet_ml, "
            "swanlab, aim."
        ),
    ] = None,
    keep_checkpoints: Annotated[
        int, typer.Option(help="Newest checkpoints of a trial that stay, beside the best by validation.", min=1)
    ] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Take nothing over from the studies beside this one.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what it will run and cost, as `ilr-bench plan`, and stop; exit status 7: does not fit here.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Start even what does not seem to fit this machine.")] = False,
    engine: EngineName = None,
    tinker_urls: TinkerUrls = None,
    tinker_insecure: Insecure = False,
    tinker_reduction: ReductionName = None,
    allow_overlap: AllowOverlap = False,
    accept_licence: AcceptLicence = None,
) -> None:
    """Trains and evaluates variants x models x seeds, and leaves the records that reports are made of."""
    with fail_in_one_line():
        require("train", "a sweep")
        accept(accept_licence)
        note_servers_asked(tinker_urls, tinker_insecure, tinker_reduction)
        asked = ask(
            config, with_engine(settings, engine), profile=profile, variants=variants, models=models, seeds=seeds,
            workers=workers, executor=executor, slurm=slurm, log=log, allow_overlap=allow_overlap or None,
        )  # fmt: skip
        spec = asked.spec
        # A file may hold them for when it is run there.
        asked_of_slurm = spec.slurm if spec.executor == "slurm" or slurm is not None else Options()
        execution = Execution(
            spec.executor, spec.workers, retries, patience, gpus_per_trial, ray_address, asked_of_slurm, spec.log
        )
        anyhow = force or spec.executor != "local"
        if search is not None:
            from ilr_bench.study.search.plan import SearchOptions, describe_search, first_round, plan_search
            from ilr_bench.study.search.run import conclude, run_search

            if spec.config is not None:
                raise IlrError(f"--search: starts from a profile; {config} holds a whole configuration")
            options = SearchOptions(search, trials, sampler, sampler_seed, pruner, split(objectives), round_size)
            texts = {key: [as_text(key, value) for value in values] for key, values in spec.overrides.items()}
            planned = plan_search(options, spec.profile, spec.variants, spec.models, spec.seeds, texts)
            check_overlap([planned.planner.start], spec.allow_overlap)
            if dry_run:
                say(describe_search(planned))
                say_cost(price(first_round(planned), spec.workers, out, fresh), out, force=anyhow)
                return
            with how_to_continue():
                found = run_search(planned, out, execution, fresh, force, keep_checkpoints)
            conclude(planned, found, out)
            return
        plan = asked.plan()
        if dry_run:
            say_cost(price(plan, spec.workers, out, fresh), out, force=anyhow)
            overlap_of_plan(plan, spec.allow_overlap)
            return
        with how_to_continue():
            outcome = run_sweep(
                plan,
                spec.profile,
                out,
                spec.workers,
                asked.command(),
                fresh,
                execution,
                force,
                keep_checkpoints,
                spec.allow_overlap,
            )
        finish(plan, out, outcome)
        say(f"{len(plan.trials)} trials in {out}; next: ilr-bench report {out}")


@contextmanager
def how_to_continue() -> Iterator[None]:
    """Adds this process's own command to the message of a stop."""
    try:
        yield
    except Stopped as stop:
        raise Stopped(f"{stop}; to continue: {shlex.join(sys.orig_argv)}", stop.exit_status - 128) from stop


def finish(plan: Plan, out: Path, outcome: Outcome) -> None:
    """Reports how a sweep ended; raises IlrError if any job failed, with the failures' own exit status if it is one."""
    note(f"seconds on the clock: {outcome.seconds:.0f}")
    note("seconds of the workers: " + _work_split(out, plan))
    for job, failure in outcome.failed.items():
        note(f"{job}: {failure.message}")
        if failure.tail:
            note(f"its log ends ({out / 'logs' / log_name(job)}):\n{textwrap.indent(failure.tail, '  | ')}")
    if outcome.failed:
        error = IlrError(f"{len(outcome.failed)} jobs failed; the same command again continues with what is left")
        statuses = {failure.status for failure in outcome.failed.values()} - {None}
        if len(statuses) == 1:
            error.exit_status = statuses.pop() or IlrError.exit_status
        raise error


def _work_split(out: Path, plan: Plan) -> str:
    """Where the trials' own seconds went, over all sweeps of this study."""
    spent = stage_seconds(out / trial.folder / "timing.jsonl" for trial in plan.trials)
    groups = {
        "loading": ("models",),
        "sampling": dict.fromkeys(stage for trial in plan.trials for stage in trial.config.discussion.labels),
        "update": ("update",),
        "grading": ("grading",),
        "validation": ("validation",),
        "evaluation": ("evaluation",),
    }
    split = {name: sum(spent.get(stage, 0.0) for stage in stages) for name, stages in groups.items()}
    split["the rest"] = spent.get("total", 0.0) - sum(split.values())
    return ", ".join(f"{name} {seconds:.0f}" for name, seconds in split.items())
