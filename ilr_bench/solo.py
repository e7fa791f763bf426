"""One model, alone, on benchmarks: the evaluation of a trial without the training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ilr_bench.benchmarks import evaluate
from ilr_bench.errors import ConfigurationError
from ilr_bench.files import explained, write_atomic
from ilr_bench.grading import Grader
from ilr_bench.lineup import seat
from ilr_bench.models.loading import load_model
from ilr_bench.profiles import profile


def evaluate_model(
    model: str,
    profile_name: str,
    benchmarks: Sequence[str],
    out: Path,
    limit: int | None,
    samples: int,
    temperature: float,
    seed: int,
) -> dict[str, float]:
    """Benchmark -> mean accuracy in [0, 1]; records go to `out`."""
    config = replace(profile(profile_name), models=(model,))
    settings = replace(config.evaluation, limit=limit, samples=samples, temperature=temperature)
    loaded = load_model(model)
    # Benchmarks may be added to a folder, so they are no part of the claim.
    claim(
        out,
        {"model": loaded.fingerprint, "style": config.prompt_style, "seed": seed}
        | asdict(replace(settings, benchmarks=())),
    )
    agent = seat(config.agents[0], loaded, config)
    with Grader() as grader:
        return evaluate(agent, benchmarks, settings, out, seed, grader)


def claim(out: Path, what: dict[str, Any]) -> None:
    """Notes what a folder of records answers for; raises ConfigurationError where it answers for something else."""
    note, text = out / "evaluation.json", json.dumps(what, indent=1) + "\n"
    if note.exists() and note.read_text(encoding="utf-8") != text:
        raise ConfigurationError(f"{out} holds answers of another model or other settings; choose another --out")
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    write_atomic(note, text)
