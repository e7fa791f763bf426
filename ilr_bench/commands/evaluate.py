"""One model alone on benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.commands.app import app, say_rows
from ilr_bench.console import fail_in_one_line, note


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A model's name, folder, GGUF file or hub name.")],
    out: Annotated[Path, typer.Option(help="Folder for the records; finished benchmarks are not run again.")],
    benchmarks: Annotated[str, typer.Option(help="Benchmarks or groups of them, with commas.")] = "micro",
    profile: Annotated[str, typer.Option(help="Prompt style and token limits are taken from it.")] = "micro",
    limit: Annotated[int | None, typer.Option(help="Questions per benchmark.", min=1)] = None,
    samples: Annotated[int, typer.Option(help="Answers per question.", min=1)] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0.0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
) -> None:
    """Scores one model alone."""
    from ilr_bench.solo import evaluate_model

    with fail_in_one_line():
        scores = evaluate_model(model, profile, benchmarks.split(","), out, limit, samples, temperature, seed)
        say_rows([(name, f"{100 * value:.1f} %") for name, value in scores.items()])
        note(f"records in {out}")
