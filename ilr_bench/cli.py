"""`ilr-bench`: look up what there is, run one trial or one evaluation, and report on a study."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.console import fail_in_one_line, note, say

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A laboratory for interactive learning of language models: train several together, score each alone.",
    epilog="""Examples:

  ilr-bench variants

  ilr-bench train --variant ilr --models A,B --out runs/one

  ilr-bench report runs/reproduce_table2
""",
)
Study = Annotated[Path, typer.Argument(help="Folder of a study (the `--out` of a sweep).")]


@app.command()
def variants() -> None:
    """Lists the variants: name, where it comes from, what it changes."""
    import ablations

    with fail_in_one_line():
        _rows([(name, ablations.get(name).source, ablations.get(name).summary) for name in ablations.names()])


@app.command()
def benchmarks() -> None:
    """Lists the benchmarks that a trained model can be scored on."""
    from ilr_bench import benchmarks as rooms

    with fail_in_one_line():
        _rows([(name, rooms.get(name).summary) for name in rooms.names()])


@app.command()
def models() -> None:
    """Lists the models that can be named, and what they are; a local folder, GGUF file or hub name works too."""
    from ilr_bench.models.base import MODELS

    with fail_in_one_line():
        _rows([(name, MODELS.get(name).summary) for name in MODELS.names()])


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the study the trial belongs to.")],
    variant: Annotated[str, typer.Option(help="See `ilr-bench variants`.")] = "ilr",
    models: Annotated[str | None, typer.Option(help="Models that learn together, with commas.")] = None,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    profile: Annotated[str, typer.Option(help="micro or small.")] = "micro",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; repeatable.")] = None,
) -> None:
    """Runs one variant on one group of models: measure, train, score every agent alone."""
    from ilr_bench.plan import parse_overrides, plan_study
    from ilr_bench.sweep import finish, recorded_command, run_sweep, split

    with fail_in_one_line():
        groups = [split(models)] if models else []
        plan = plan_study(profile, [variant], groups, [seed], parse_overrides(overrides or ()))
        command = recorded_command(profile, variant, [models] if models else [], str(seed), overrides or ())
        finish(plan, out, run_sweep(plan, profile, out, workers=1, command=command))


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
        _rows([(name, f"{100 * value:.1f} %") for name, value in scores.items()])
        note(f"records in {out}")


@app.command()
def report(study: Study) -> None:
    """Writes every table and figure of a study into its folder `reports/`, from records alone."""
    import reports

    with fail_in_one_line():
        start = time.perf_counter()
        for name in reports.names():
            say(str(reports.get(name).write(study)))
        note(f"seconds on the clock: reports {time.perf_counter() - start:.0f}")


@app.command()
def status(study: Study) -> None:
    """Says which trials of a study have finished, and how far the others are."""
    from ilr_bench.records import StepRecord, read, read_study

    with fail_in_one_line():
        rows = []
        for entry in read_study(study).trials:
            folder = study / entry.folder
            if (folder / "result.json").exists():
                state = "finished"
            elif (folder / "train.jsonl").exists():
                state = f"step {max((record.step for record in read(folder / 'train.jsonl', StepRecord)), default=0)}"
            else:
                state = "not started"
            rows.append((entry.variant, "+".join(entry.models), str(entry.seed), state))
        _rows(rows)


def _rows(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Entry point of the command line."""
    app()
