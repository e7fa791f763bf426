"""Whole trials: a micro one, one of SmolLM2 that is killed and continued, a deterministic one, and evidence."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from bench.gpu.random_model import SETTINGS as RANDOM
from bench.gpu.random_model import prepared
from bench.gpu.runner import ResultRow, Setup
from bench.gpu.wheels import MICRO
from ilr_bench.core.errors import MissingInputError
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.checkpoints import latest_checkpoint
from ilr_bench.storage.files import digests, write_atomic
from ilr_bench.storage.records import SampleRecord, StepRecord, Study, Verdict, read, write_study
from ilr_bench.storage.store import Artifacts, lock_study
from ilr_bench.study.cost.fits import take_turns
from ilr_bench.study.plan import Plan, PlannedTrial, plan_study
from ilr_bench.study.trial import run_trial
from ilr_bench.study.trial_state import CHECKPOINTS

COMMAND = "python -m bench.gpu"
KILLED_AFTER, STEPS = 2, 3
MICRO_SETTINGS = {
    "training.steps": "3",
    "training.validate_every": "0",
    "training.checkpoint_every": "1",
    "evaluation.limit": "60",
}
MICRO_TINY = {
    "questions.train": "16",
    "questions.validation": "8",
    "training.questions_per_step": "4",
    "sampling.samples": "4",
    "sampling.max_new_tokens": "12",
    "sampling.max_analysis_tokens": "12",
    "evaluation.limit": "10",
    "evaluation.max_new_tokens": "12",
}
SMOLLM2_SETTINGS = {
    "questions.train": "64",
    "questions.validation": "32",
    "training.steps": str(STEPS),
    "training.validate_every": "0",
    "training.checkpoint_every": "1",
    "evaluation.limit": "50",
}
SMOLLM2_TINY = SMOLLM2_SETTINGS | {
    "questions.train": "8",
    "questions.validation": "4",
    "training.questions_per_step": "2",
    "sampling.samples": "2",
    "sampling.rows_per_call": "8",
    "sampling.max_prompt_tokens": "400",
    "evaluation.limit": "4",
    "evaluation.max_new_tokens": "8",
}
SEEDS = 10
"""At most so many of the `small` study."""


def micro_trial(setup: Setup) -> Iterator[ResultRow]:
    """Table 2's trial `ilr`, but for its number of steps."""
    settings = MICRO_SETTINGS | (MICRO_TINY if setup.tiny else {})
    (trial,) = _plan("micro", ["ilr"], micro_models(setup), settings).trials
    folder = _empty(setup.work / "micro") / trial.folder
    start = time.perf_counter()
    _train(trial, folder)
    yield {"what": "the trial, models loaded and agents scored", "value": time.perf_counter() - start, "unit": "s"}
    yield from _rows(folder, trial, int(MICRO_SETTINGS["training.steps"]))


def micro_models(setup: Setup) -> tuple[str, ...]:
    """Folders of prepared models, where they are at hand; else names, and the models are made."""
    folders = [setup.models / name for name in MICRO]
    return tuple(map(str, folders)) if all(folder.is_dir() for folder in folders) else MICRO


def smollm2(setup: Setup) -> Iterator[ResultRow]:
    """Three steps of `small`'s `ilr`: a process that is killed after the second, and another one that continues."""
    models, settings, what = _smollm2_models(setup)
    settings = (SMOLLM2_TINY if setup.tiny else SMOLLM2_SETTINGS) | settings
    yield {"what": "models", "value": what}
    (trial,) = _plan("small", ["ilr"], models, settings).trials
    folder = _empty(setup.work / "smollm2") / trial.folder
    start = time.perf_counter()
    killed = _in_process(_train, trial, folder, KILLED_AFTER) == "killed"
    yield {"what": f"until the kill after step {KILLED_AFTER}", "value": time.perf_counter() - start, "unit": "s",
           "ok": killed}  # fmt: skip
    saved = latest_checkpoint(folder / CHECKPOINTS)
    yield _equal("step of the newest checkpoint", KILLED_AFTER, 0 if saved is None else saved[0])
    start = time.perf_counter()
    _train(trial, folder)
    yield {"what": "from there to the end, agents scored", "value": time.perf_counter() - start, "unit": "s"}
    yield from _rows(folder, trial, STEPS)


def deterministic(setup: Setup) -> Iterator[ResultRow]:
    """The same micro steps uninterrupted and resumed, with torch's deterministic algorithms: bytes, and the cost."""
    steps, stop = (3, 1) if setup.tiny else (5, 2)
    settings = MICRO_SETTINGS | (MICRO_TINY if setup.tiny else {}) | {"training.steps": str(steps + 1)}
    (trial,) = _plan("micro", ["ilr"], micro_models(setup), settings).trials
    base = _empty(setup.work / "deterministic")
    seconds = {}
    for name, until, mode in (("usual", steps, "off"), ("whole", steps, "on"), ("resumed", stop, "on")):
        if refused := _attempt(_train, trial, base / name, 0, until, mode):
            yield {"what": f"{name}: torch's strict deterministic mode", "ok": False, "note": refused}
            _train(trial, base / name, 0, until, "warn")
        if until == steps:
            seconds[name] = _step_seconds(base / name)
    # In a process of its own, which nothing of the first half has touched.
    if _in_process(_train, trial, base / "resumed", 0, steps, "on") != "done":
        _in_process(_train, trial, base / "resumed", 0, steps, "warn")
    yield {"what": "a step as usual", "value": seconds["usual"], "unit": "s"}
    yield {"what": "a deterministic step, times the usual", "value": seconds["whole"] / seconds["usual"]}
    whole, resumed = (digests(base / name / CHECKPOINTS) for name in ("whole", "resumed"))
    unlike = sorted(name for name in whole.keys() | resumed.keys() if whole.get(name) != resumed.get(name))
    yield _equal(
        "files of the last checkpoint with other bytes after a resume", 0, len(unlike), ", ".join(unlike)[:200]
    )
    for name in ("train.jsonl", "dialogues.jsonl"):
        same = (base / "whole" / name).read_bytes() == (base / "resumed" / name).read_bytes()
        yield {"what": f"{name} after a resume", "value": "same bytes" if same else "other bytes", "ok": same}


def evidence(setup: Setup) -> Iterator[ResultRow]:
    """The `small` study, `ilr` against `grpo_matched`, seed by seed; the same folder continues in a later run."""
    models, settings, what = _smollm2_models(setup)
    yield {"what": "models", "value": what}
    if models != ("smollm2", "smollm2") and not setup.tiny:
        yield {"what": "left out: a random model has nothing to learn from"}
        return
    settings = (SMOLLM2_TINY | {"training.steps": "1"} if setup.tiny else {}) | settings
    out = setup.work / "evidence"
    found: list[dict[str, Any]] = []
    longest = 0.0
    for seed in range(1 if setup.tiny else SEEDS):
        if setup.left < 1.2 * longest:
            yield {"what": f"seed {seed} would not fit", "value": setup.left, "unit": "s left"}
            return
        start = time.perf_counter()
        with lock_study(out):
            write_study(
                out, Study("small", COMMAND, _plan("small", VARIANTS, models, settings, range(seed + 1)).entries)
            )
            plan = _plan("small", VARIANTS, models, settings, [seed])
            for trial in plan.trials:
                begun = time.perf_counter()
                needs = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
                artifacts = Artifacts(out / "artifacts")
                result = run_trial(
                    trial.config, trial.hash, out / trial.folder, artifacts, needs, take_turns=take_turns
                )
                scores = _scores(out / trial.folder, trial)
                records = [dataclasses.asdict(one) for one in read(out / trial.folder / "train.jsonl", StepRecord)]
                found.append({"result": dataclasses.asdict(result) if result else {}, "right_alone": scores,
                              "steps": records})  # fmt: skip
                write_atomic(setup.out / "evidence.json", json.dumps(found, indent=1) + "\n")
                yield {"what": f"{trial.config.variant}, seed {seed}: right alone, mean of the agents",
                       "value": sum(scores.values()) / len(scores),
                       "note": f"{time.perf_counter() - begun:.0f} s, {trial.config.training.steps} steps"}  # fmt: skip
        longest = max(longest, time.perf_counter() - start)


VARIANTS = ("ilr", "grpo_matched")


def _smollm2_models(setup: Setup) -> tuple[tuple[str, ...], dict[str, str], str]:
    """The agents' models, settings that go with them, and what they are."""
    if not setup.tiny:
        try:
            MODELS.get("smollm2").require()
        except MissingInputError as error:
            reason = f"random weights in the shape of SmolLM2-135M ({error})"
        else:
            return ("smollm2", "smollm2"), {}, "SmolLM2-135M-Instruct"
        return (str(prepared(setup.work / "models" / "shaped135m", "135M")),) * 2, dict(RANDOM), reason
    settings = {key: value for key, value in RANDOM.items() if key != "sampling.max_prompt_tokens"}
    return (str(prepared(setup.work / "models" / "shaped", "tiny")),) * 2, settings, "tiny random weights"


def _plan(
    profile: str,
    variants: Sequence[str],
    models: tuple[str, ...],
    settings: Mapping[str, str],
    seeds: Sequence[int] = (0,),
) -> Plan:
    return plan_study(profile, variants, [models], seeds, {key: (value,) for key, value in settings.items()})


def _train(trial: PlannedTrial, folder: Path, kill_after: int = 0, until: int | None = None, mode: str = "off") -> None:
    """Runs or continues a trial. `kill_after`: the step after which this process dies; `mode`: deterministic or not."""
    if mode != "off":
        torch.use_deterministic_algorithms(True, warn_only=mode == "warn")

    def watch(step: int, evaluated: float) -> None:
        print(f"step {step}, {evaluated:.0%} of the agents scored", flush=True)
        if step == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    artifacts = Artifacts(folder.parent / "artifacts")
    run_trial(trial.config, trial.hash, folder, artifacts, watch=watch, until=until, take_turns=take_turns)


def _in_process(function: Any, *arguments: Any) -> str:
    """Calls it in a process of its own: `done`, `killed`, or what RuntimeError it raised."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            return "killed"
        except RuntimeError as error:
            return f"failed: {str(error).strip().splitlines()[0]}"
    return "done"


def _attempt(function: Any, *arguments: Any) -> str:
    """Calls it: empty, or the first line of the RuntimeError it raised."""
    try:
        function(*arguments)
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return ""


def _rows(folder: Path, trial: PlannedTrial, steps: int) -> Iterator[ResultRow]:
    """Stages, losses and scores of a finished trial."""
    records = list(read(folder / "train.jsonl", StepRecord))
    expected = [(step, agent) for step in range(1, steps + 1) for agent in trial.config.agents]
    yield _equal("records of steps and agents", len(expected), len(records))
    yield {
        "what": "each step of each agent once, in order",
        "ok": [(one.step, one.agent) for one in records] == expected,
    }
    spent: dict[str, float] = defaultdict(float)
    tokens: dict[str, int] = defaultdict(int)
    for line in _timing(folder):
        spent[line["stage"]] += line["seconds"]
        tokens[line["stage"]] += line.get("tokens", 0)
    for stage, seconds in spent.items():
        if stage != "total":
            row: ResultRow = {"what": f"stage {stage}, all steps", "value": seconds, "unit": "s"}
            yield row | {"note": f"{tokens[stage] / seconds:,.0f} tokens/s"} if tokens[stage] and seconds else row
    for one in records:
        norm = math.nan if one.gradient_norm is None else one.gradient_norm
        finite = math.isfinite(one.loss) and math.isfinite(norm)
        yield {"what": f"step {one.step}, {one.agent}: gradient norm", "value": norm, "ok": finite,
               "note": f"loss {one.loss:+.4f}, {one.trained_tokens:,} tokens trained, "
                       f"{one.groups - one.flat_groups} of {one.groups} groups with a signal"}  # fmt: skip
    for agent, score in _scores(folder, trial).items():
        yield {"what": f"{agent}: right alone after the training", "value": score}


def _scores(folder: Path, trial: PlannedTrial) -> dict[str, float]:
    """Fraction right of each agent over all benchmarks."""
    found = {}
    for agent in trial.config.agents:
        verdicts = [
            record.verdict is Verdict.CORRECT
            for path in sorted((folder / "eval" / agent).glob("*.jsonl"))
            for record in read(path, SampleRecord)
        ]
        found[agent] = sum(verdicts) / max(1, len(verdicts))
    return found


def _timing(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "timing.jsonl").read_text(encoding="utf-8").splitlines()]


def _step_seconds(folder: Path) -> float:
    """Mean seconds of a step; the first one of a process also loads kernels and is left out."""
    totals = [line["seconds"] for line in _timing(folder) if line["stage"] == "total" and line["step"] > 1]
    return float(sum(totals) / len(totals))


def _equal(what: str, expected: int, found: int, note: str = "") -> ResultRow:
    row: ResultRow = {"what": what, "value": found, "ok": found == expected}
    if found != expected:
        row["note"] = f"expected {expected} {note}".strip()
    return row


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
