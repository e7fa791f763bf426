"""What sharing saves: a grid of variants as one study against as many cold runs: `python -m bench --sharing`.

Both get the micro models and the timing runs of their plans ready-made. The cold runs have a folder each, find no study
beside them, and use as many workers as the one study: `workers` of them run at a time with one worker each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.startup import children_time
from ilr_bench.core.profiles import profile
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.files import read_manifest
from ilr_bench.storage.provenance import same_numbers
from ilr_bench.storage.records import SampleRecord, StepRecord, read, read_result

VARIANTS = (
    "base", "grpo", "grpo_matched", "ilr", "di_only", "pc_only", "pure_cooperative", "pure_competitive",
    "cooperation_0.4", "random_matched", "self_reflection", "train_sharing",
)  # fmt: skip
SETTINGS = {"training.checkpoint_every": 3, "training.validate_every": 0, "evaluation.limit": 40}
"""Of every trial; validation's tokens would stand in no record."""
STEPS = {"training.steps": 3}
"""Of those that train."""


def compare_with_cold_runs(workers: int, variants: Sequence[str] = VARIANTS) -> str:
    """Both ways, as a Markdown table; raises AssertionError where their records differ."""
    for model in profile("micro").models:
        MODELS.get(model).prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A plan leaves its timing runs in the cache, which a sweep of micro models would else make first.
        call("ilr_bench", "plan", variants=variants, log=folder / "plan.log")
        one, *cold = (folder / index / "study" for index in ("together", *(f"cold-{variant}" for variant in variants)))

        def apart() -> None:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(lambda study, variant: sweep(study, 1, [variant]), cold, variants))

        ours, theirs = spent(lambda: sweep(one, workers, variants)), spent(apart)
        same = sum(same_trials(study, one) for study in cold)
        ours |= {"trials run": len(list(one.glob("trials/*/result.json")))} | tokens([one])
        theirs |= {"trials run": same} | tokens(cold)
    lines = []
    for key, value in ours.items():
        ratio = f"{theirs[key] / value:.2f}" if value else ""
        lines.append(f"| {key} | {value:,.0f} | {theirs[key]:,.0f} | {ratio} |")
    table = "\n".join(["| | one study | cold runs | ratio |", "|---|---:|---:|---:|", *lines])
    return f"{table}\n\nThe records of all {same} trials are the same, byte for byte."


def sweep(study: Path, workers: int, variants: Sequence[str]) -> None:
    """One sweep in a process of its own, with nothing to reuse."""
    study.parent.mkdir(parents=True)
    options = ("--workers", str(workers), "--fresh", "--out", str(study))
    call("ilr_bench.sweep", *options, variants=variants, log=study.parent / "sweep.log")


def call(module: str, *options: str, variants: Sequence[str], log: Path) -> None:
    """A command on the variants of the micro profile, one seed each; raises CalledProcessError."""
    changes = SETTINGS | ({} if list(variants) == ["base"] else STEPS)
    settings = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    chosen = ("--profile", "micro", "--variants", ",".join(variants), "--seeds", "0")
    with log.open("w") as printed:
        subprocess.run(
            [sys.executable, "-m", module, *options, *chosen, *settings],
            check=True, stdout=printed, stderr=printed, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def spent(work: Callable[[], None]) -> dict[str, float]:
    """Seconds on the clock, and CPU seconds of all processes under this one."""
    start, computed = time.perf_counter(), children_time()
    work()
    return {"wall time, s": time.perf_counter() - start, "CPU time, s": children_time() - computed}


def tokens(studies: Iterable[Path]) -> dict[str, int]:
    """Sampled tokens by what they were sampled for; answers that were copied are not counted again."""
    found: Counter[str] = Counter()
    for study in studies:
        evaluated = list(study.glob("artifacts/*/records.jsonl"))
        for result in study.glob("trials/*/result.json"):
            if read_result(result.parent).steps:
                evaluated += result.parent.glob("eval/*/*.jsonl")
                records = read(result.parent / "train.jsonl", StepRecord)
                found["tokens, training"] += sum(record.sampled_tokens for record in records)
        found["tokens, evaluation"] += sum(record.tokens for path in evaluated for record in read(path, SampleRecord))
        for path in study.glob("artifacts/*/*.json"):
            if path.name != "manifest.json":
                found[f"tokens, {path.stem}"] += json.loads(path.read_text())["sampled_tokens"]
    return dict(sorted(found.items())) | {"tokens, all": found.total()}


def same_trials(cold: Path, together: Path) -> int:
    """Number of trials of the cold study; raises AssertionError where one is not the same, byte for byte, in the other.

    Of `result.json` the versions may differ in the commit, which may change in a checkout while this runs.
    """
    trials = sorted(path.parent for path in cold.glob("trials/*/result.json"))
    for trial in trials:
        both = (trial, together / "trials" / trial.name)
        sealed = [found[1] | {"result.json": ""} if (found := read_manifest(folder)) else None for folder in both]
        one, other = (json.loads((folder / "result.json").read_text()) for folder in both)
        alike = same_numbers(one.pop("versions"), other.pop("versions")) and one == other
        if not sealed[0] or sealed[0] != sealed[1] or not alike:
            raise AssertionError(f"{both[0]} differs from {both[1]}")
    return len(trials)
