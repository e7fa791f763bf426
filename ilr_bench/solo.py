"""One model, alone, on benchmarks: the evaluation of a trial without the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ilr_bench.benchmarks import evaluate
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
    agent = seat(config.agents[0], load_model(model), config)
    with Grader() as grader:
        return evaluate(agent, benchmarks, settings, out, seed, grader)
