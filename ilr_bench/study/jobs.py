"""What a worker process does: make a model, measure an agent, run a trial; and the jobs that name it.

The process that schedules imports this module to name the functions; torch is only loaded inside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from filelock import FileLock

from ilr_bench.core.config import RunConfig
from ilr_bench.core.plugins import label_of
from ilr_bench.core.registry import forget_references
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.files import explained
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.cost.fits import take_turns
from ilr_bench.study.cost.memory import trial_memory
from ilr_bench.study.cost.timings import run_timing_here, unknown
from ilr_bench.study.launch.scheduler import Event, Job, emit
from ilr_bench.study.own_data import label
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.tasks.benchmarks import expand

GIB = 2.0**30
EVALUATION_UNITS = 10.0
"""Progress that the evaluation of all agents counts for, in training steps."""
MEASUREMENT_UNITS = 5.0
"""Progress that rankings and ability of one model count for, or a timing run."""
TIMING = "timing run"
"""What the jobs of `timing_jobs` are called, before a number."""


def make_model(name: str) -> None:
    """Prepares a model's folder in the cache."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    MODELS.get(name).prepare()


def measure_agent(model: str, config: RunConfig, artifacts: Artifacts) -> None:
    """Difficulty and ability of one untrained model, as artifacts that its trials will find."""
    from ilr_bench.grading.math import Grader
    from ilr_bench.learner.build import build_agents
    from ilr_bench.study.trial import load_questions, measure_agents

    forget_references()
    alone = _alone(model, config)
    with Grader() as grader:
        measure_agents(alone, build_agents(alone), load_questions(alone), artifacts, grader)


def evaluate_base_job(model: str, config: RunConfig, artifacts: Artifacts) -> None:
    """One untrained model's answers to the benchmarks, as artifacts that its trials will find."""
    from ilr_bench.evaluation.runner import EvaluationProgress
    from ilr_bench.grading.math import Grader
    from ilr_bench.learner.build import build_agents
    from ilr_bench.study.artifacts import CachedBenchmarkRun

    forget_references()
    (loaded_agent,) = build_agents(_alone(model, config))
    with Grader() as grader:
        for name in expand(config.evaluation.benchmarks):
            run = CachedBenchmarkRun(name, loaded_agent, config.evaluation, artifacts, 0, grader)
            run.shared(EvaluationProgress())


def _alone(model: str, config: RunConfig) -> RunConfig:
    return replace(config, models=(model,), update=replace(config.update, adapter="full"))


def run_planned(
    trial: PlannedTrial,
    study: Path,
    artifacts: Artifacts,
    dependency: Path | None,
    until: int | None = None,
    keep: int = 1,
) -> None:
    """Runs one trial of a study to its end, or `until` a step; `keep`: checkpoints that stay."""
    from ilr_bench.study.trial import run_trial

    def watch(step: int, evaluated: float) -> None:
        emit(Event(trial.folder, done=step + EVALUATION_UNITS * evaluated))

    folder = study / trial.folder
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A worker of another machine that counts as dead may live on for a moment beside its successor.
        lock = FileLock(folder.with_name(f".{folder.name}.lock")).acquire()
    with lock:
        run_trial(trial.config, trial.hash, folder, artifacts, dependency, watch, until, keep, take_turns=take_turns)


def model_jobs(trials: Sequence[PlannedTrial]) -> list[Job]:
    """A job per model that has to be made, unpacked or loaded down."""
    models = dict.fromkeys(model for trial in trials for model in trial.config.models if model in MODELS)
    return [Job(label_of(model), make_model, (model,), heeds_stop=False) for model in models]


def measurement_jobs(trials: Sequence[PlannedTrial], artifacts: Artifacts) -> tuple[list[Job], dict[str, list[str]]]:
    """A job per model and what is to be known of it untrained, and trial hash -> names of those it needs."""
    jobs: dict[object, Job] = {}
    needed: dict[str, list[str]] = {}
    for trial in trials:
        config = trial.config
        limits = replace(config.sampling, samples=1, samples_per_agent=None, match_tokens_of=None)
        for model, style in zip(config.models, config.styles, strict=True):
            arguments = (model, replace(config, prompt_style=style), artifacts)
            needs = (label_of(model),) if model in MODELS else ()
            what: tuple[object, ...] = (model, config.questions, config.difficulty, style, config.warm_start, limits)
            source = label("questions.source", config.questions.source)
            name = f"{label_of(model)} on {config.questions.train} {source} ({len(jobs) + 1})"
            wanted = [(what, Job(name, measure_agent, arguments, needs, heeds_stop=False))]
            if reuses_answers(config):
                what = (model, config.questions, config.evaluation, style, config.warm_start, limits)
                name = f"{label_of(model)} untrained ({len(jobs) + 2})"
                wanted.append((what, Job(name, evaluate_base_job, arguments, needs, heeds_stop=False)))
            for what, job in wanted:
                needed.setdefault(trial.hash, []).append(jobs.setdefault(what, job).name)
    return list(jobs.values()), needed


def reuses_answers(config: RunConfig) -> bool:
    """Whether a trial's evaluation is that of every trial with the same models, whatever its seed."""
    greedy = config.evaluation.temperature == 0
    return config.training.steps == 0 and config.inference.method == "none" and greedy


def trial_job(
    trial: PlannedTrial, study: Path, artifacts: Artifacts, dependency: PlannedTrial | None, needs: Sequence[str]
) -> Job:
    """The job of a trial, which matches the tokens of `dependency`."""
    folder = None if dependency is None else study / dependency.folder
    needed = trial_memory(trial.config)  # None where a model's size is not known here
    memory = ceil((needed.peak if needed else 0) / GIB) * GIB  # in whole GiB, for which workers can be used again
    return Job(trial.folder, run_planned, (trial, study, artifacts, folder), tuple(needs), {"memory": memory})


def timing_jobs(trials: Sequence[PlannedTrial]) -> list[Job]:
    """A job per timing run of micro models that is not there yet: seconds each, for the plan to compare with.

    For larger models they take minutes, and `ilr-bench plan` makes them.
    """
    # Brings numpy, which `--help` has no use for.
    from ilr_bench.models.micro.recipes import RECIPES

    micro = [
        trial
        for trial in trials
        if trial.config.sampling.engine != "tinker" and all(model in RECIPES for model in trial.config.models)
    ]
    return [
        Job(f"{TIMING} {number}", run_timing_here, (config,), tuple(dict.fromkeys(config.models)), {}, False)
        for number, config in enumerate(unknown(micro), start=1)
    ]


def prepares(job: Job) -> bool:
    """Whether a job only makes ready what others need, in a time that tells nothing of theirs."""
    return job.function in (make_model, run_timing_here)


def units(job: Job) -> float:
    """Units of progress that a job counts for: training steps, or as long as some of them take."""
    if job.function is run_planned:
        config = job.arguments[0].config
        return config.training.steps + (EVALUATION_UNITS if config.evaluation.benchmarks else 0.0) or 1.0
    if job.function is evaluate_base_job:
        return EVALUATION_UNITS
    return MEASUREMENT_UNITS if job.function in (measure_agent, run_timing_here) else 1.0
