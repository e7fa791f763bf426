"""What sharing saves: a grid of variants as one study against as many cold runs: `python -m bench --sharing`.

Both get the micro models and the timing runs of their plans ready-made. The cold runs have a folder each, find no study
beside them, and use as many workers as the one study: `--workers` of them run at a time with one worker each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.step import write
from ilr_bench.folders import read_manifest
from ilr_bench.models.base import MODELS
from ilr_bench.profiles import profile
from ilr_bench.records import SampleRecord, StepRecord, read, read_result

VARIANTS = (
    "base", "grpo", "grpo_matched", "ilr", "di_only", "pc_only", "pure_cooperative", "pure_competitive",
    "cooperation_0.4", "random_matched", "self_reflection", "train_sharing",
)  # fmt: skip
QUESTIONS_ASKED = 40
"""Of each benchmark."""
OWN = ("commit", "lock")
"""Versions that may change in a checkout while this is measured; no number depends on them."""


def measure(steps: int, workers: int, folder: Path) -> dict[str, Any]:
    """Both ways, in `folder`; raises AssertionError where their records differ."""
    start = time.perf_counter()
    for model in profile("micro").models:
        MODELS.get(model).prepare()
    plan(VARIANTS, steps)
    making = time.perf_counter() - start
    log = folder / "jobs.jsonl"
    one = folder / "together" / "study"
    together = spent(lambda: sweep(("-m", "bench.timed_sweep", str(log)), VARIANTS, steps, workers, one))
    cold = [folder / f"cold-{variant}" / "study" for variant in VARIANTS]

    def alone(place: int) -> None:
        sweep(("-m", "ilr_bench.sweep"), VARIANTS[place : place + 1], steps, 1, cold[place])

    def all_alone() -> None:
        with ThreadPoolExecutor(workers) as lanes:
            list(lanes.map(alone, range(len(cold))))

    apart = spent(all_alone)
    trials = sum(same_records(study, one) for study in cold)
    return {
        "variants": VARIANTS,
        "steps": steps,
        "workers": workers,
        "models_made_before": making,
        "together": together | {"tokens": tokens([one]), "trials": len(list(one.glob("trials/*/result.json")))},
        "apart": apart | {"tokens": tokens(cold), "trials": trials},
        "identical_trials": trials,
        "account": account(log, together["wall"], workers),
    }


def plan(variants: tuple[str, ...], steps: int) -> None:
    """Leaves the timing runs in the cache, which a sweep of micro models would else make first."""
    options = ("--profile", "micro", "--variants", ",".join(variants), "--seeds", "0", *settings(variants, steps))
    subprocess.run(
        [sys.executable, "-m", "ilr_bench", "plan", *options],
        check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def settings(variants: tuple[str, ...], steps: int) -> list[str]:
    """Options that set what all trials have in common."""
    chosen = {
        "training.steps": steps,
        "training.checkpoint_every": steps,
        "training.validate_every": 0,  # its tokens would stand in no record
        "evaluation.limit": QUESTIONS_ASKED,
    }
    if variants == ("base",):
        del chosen["training.steps"]  # it takes none
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def sweep(program: tuple[str, ...], variants: tuple[str, ...], steps: int, workers: int, out: Path) -> None:
    """One sweep in a process of its own, with nothing to take over."""
    out.parent.mkdir(parents=True)
    with (out.parent / "sweep.log").open("w") as printed:
        subprocess.run(
            [
                sys.executable, *program, "--profile", "micro", "--variants", ",".join(variants), "--seeds", "0",
                "--workers", str(workers), "--fresh", "--out", str(out), *settings(variants, steps),
            ],
            check=True, stdout=printed, stderr=printed, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def spent(work: Any) -> dict[str, float]:
    """Seconds on the clock, and CPU seconds of all processes under this one."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - start, "cpu": cpu}


def tokens(studies: list[Path]) -> dict[str, int]:
    """Sampled tokens by what they were sampled for; answers that were copied are not counted again."""
    found: dict[str, int] = defaultdict(int)
    for study in studies:
        for trial in study.glob("trials/*/result.json"):
            steps = read_result(trial.parent).steps
            if steps:
                records = read(trial.parent / "train.jsonl", StepRecord)
                found["training"] += sum(record.sampled_tokens for record in records)
                for path in trial.parent.glob("eval/*/*.jsonl"):
                    found["evaluation"] += sum(record.tokens for record in read(path, SampleRecord))
        for path in study.glob("artifacts/*/*.json*"):
            if path.name == "records.jsonl":
                found["evaluation"] += sum(record.tokens for record in read(path, SampleRecord))
            elif path.name != "manifest.json":
                found[path.stem] += json.loads(path.read_text())["sampled_tokens"]
    return dict(found) | {"all": sum(found.values())}


def same_records(cold: Path, together: Path) -> int:
    """Number of trials of the cold study; raises AssertionError where one is not the same, byte for byte, in the other.

    Of `result.json` the commit is left out, which may change in a checkout while this runs.
    """
    trials = sorted(path.parent for path in cold.glob("trials/*/result.json"))
    for trial in trials:
        other = together / "trials" / trial.name
        files = [read_manifest(place) for place in (trial, other)]
        sealed = [{} if found is None else found[1] | {"result.json": ""} for found in files]
        results = [json.loads((place / "result.json").read_text()) for place in (trial, other)]
        for result in results:
            result["versions"] = {key: value for key, value in result["versions"].items() if key not in OWN}
        if not sealed[0] or sealed[0] != sealed[1] or results[0] != results[1]:
            raise AssertionError(f"{trial} differs from {other}")
    return len(trials)


def account(log: Path, wall: float, workers: int) -> dict[str, float]:
    """Where `workers` times the time on the clock went, in seconds; the parts add up.

    A job is handed over late where it begins after its worker was free and everything it needs had ended.
    """
    sweep, *jobs = [json.loads(line) for line in log.read_text().splitlines()]
    ends = {job["job"]: job["ended"] for job in jobs}
    free: dict[int, float] = {}
    parts = dict.fromkeys(("work", "imports of workers", "start-up of workers", "handing over", "waiting"), 0.0)
    for job in sorted(jobs, key=lambda job: float(job["begun"])):
        parts["work"] += job["seconds"]
        parts["imports of workers"] += job["imports"]
        parts["start-up of workers"] += job["age"]
        if job["worker"] in free:
            ready = max([free[job["worker"]], *(ends[need] for need in job["needs"])])
            parts["handing over"] += max(job["begun"] - ready, 0.0)
            parts["waiting"] += min(ready, job["begun"]) - free[job["worker"]]
        free[job["worker"]] = job["ended"]
    last = max(free.values())
    parts["waiting"] += sum(last - end for end in free.values())
    parts["start-up of the sweep"] = workers * sweep["start_up"]
    parts["the sweep before, between and after"] = workers * wall - sum(parts.values())
    return parts | {"all": workers * wall}


def show(found: dict[str, Any]) -> None:
    """Both tables, in Markdown."""
    one, many = found["together"], found["apart"]
    rows = [("wall time, s", one["wall"], many["wall"]), ("CPU time, s", one["cpu"], many["cpu"])]
    kinds = dict.fromkeys([*many["tokens"], *one["tokens"]])
    rows += [(f"tokens, {kind}", one["tokens"].get(kind, 0), many["tokens"].get(kind, 0)) for kind in kinds]
    print(
        f"{len(found['variants'])} variants x 1 seed, {found['steps']} steps, {found['workers']} workers; "
        f"micro models and timing runs made before: {found['models_made_before']:.0f} s\n"
    )
    print("| | one study | cold runs | ratio |\n|---|---:|---:|---:|")
    print(f"| trials run | {one['trials']} | {many['trials']} | {many['trials'] / one['trials']:.2f} |")
    for name, ours, theirs in rows:
        print(
            f"| {name} | {ours:,.0f} | {theirs:,.0f} | {theirs / ours:.2f} |"
            if ours
            else f"| {name} | 0 | {theirs} | |"
        )
    print(f"\nThe records of all {found['identical_trials']} trials are the same, byte for byte.\n")
    whole = found["account"]["all"]
    print(f"| the one study's {found['workers']} x wall time | s | share |\n|---|---:|---:|")
    for name, seconds in found["account"].items():
        print(f"| {name} | {seconds:.1f} | {seconds / whole:.1%} |")


def run(arguments: argparse.Namespace) -> None:
    """Measures, prints and writes."""
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        found = measure(arguments.steps, arguments.workers, folder)
    show(found)
    write(found, arguments.out)
