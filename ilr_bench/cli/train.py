"""What a study will cost, and the run of one variant on one group of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line
from ilr_bench.core.extras import require
from ilr_bench.models.catalogue import AcceptLicence, accept
from ilr_bench.study.own_data import AllowOverlap
from ilr_bench.study.servers import EngineName, Insecure, ReductionName, TinkerUrls, note_servers_asked, with_engine
from ilr_bench.study.spec import ConfigFile, Models, Profile, Seeds, Settings, Variants, Workers, ask

EXAMPLES = """Examples:

  ilr-bench plan --variants base,grpo,grpo_matched,ilr --models A,B --seeds 0,1,2 --out runs/table2

  ilr-bench plan --profile paper --variants ilr --models group1 --quick

The timing run takes seconds with tiny models and is kept in the cache folder, so the next plan is there at once.
docs/planning.md has the formulas."""


@app.command(epilog=EXAMPLES)
def plan(
    config: ConfigFile = None,
    variants: Variants = None,
    profile: Profile = None,
    models: Models = None,
    seeds: Seeds = None,
    workers: Workers = None,
    settings: Settings = None,
    engine: EngineName = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study: what it holds already is not priced.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Take nothing over from the studies beside it.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="No timing run; tokens may be upper bounds.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every term of the memory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    allow_overlap: AllowOverlap = False,
) -> None:
    """Says what a sweep with these options would run and cost; nothing is trained.

    Ends with exit status 7 where a sweep would refuse to start, because memory or disk would not do here, and with 2
    where training questions stand in a benchmark or among the validation questions.
    """
    from ilr_bench.study.cost.forecast import price
    from ilr_bench.study.cost.show import say_cost
    from ilr_bench.study.own_data import overlap_of_plan

    with fail_in_one_line():
        require("train", "a plan")
        asked = ask(
            config, with_engine(settings, engine), profile=profile, variants=variants, models=models, seeds=seeds,
            workers=workers, allow_overlap=allow_overlap or None,
        )  # fmt: skip
        found = asked.plan()
        cost = price(found, asked.spec.workers, out, fresh, quick)
        say_cost(cost, out, verbose, as_json)
        overlap_of_plan(found, asked.spec.allow_overlap)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the study the trial belongs to.")],
    config: ConfigFile = None,
    variant: Annotated[str | None, typer.Option(help="See `ilr-bench variants`.", show_default="ilr")] = None,
    models: Annotated[str | None, typer.Option(help="Models that learn together, with commas.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.", show_default="0")] = None,
    profile: Profile = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; repeatable.")] = None,
    log: Annotated[
        str | None,
        typer.Option(
            help="Where curves go as well, with commas: tensorboard (OUT/events), trackio, wandb, mlflow, comet_ml, "
            "swanlab, aim."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it will cost and stop; exit status 7: does not fit here.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(help="Under a launch: seconds that a process waits for another before it counts as hung.", min=1),
    ] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="Start even what does not seem to fit this machine.")] = False,
    engine: EngineName = None,
    tinker_urls: TinkerUrls = None,
    tinker_insecure: Insecure = False,
    tinker_reduction: ReductionName = None,
    allow_overlap: AllowOverlap = False,
    accept_licence: AcceptLicence = None,
) -> None:
    """Runs one variant on one group of models: measure, train, score every agent alone, before and after.

    Prints every agent's accuracy before and after, and leaves the report in OUT/reports. A sweep beside OUT finds what
    has been measured here. Under `accelerate launch` the processes share the training (docs/scaling.md).
    """
    from ilr_bench.study.sweep import how_to_continue, run_alone

    with fail_in_one_line():
        require("train", "training")
        accept(accept_licence)
        note_servers_asked(tinker_urls, tinker_insecure, tinker_reduction)
        asked = ask(
            config, with_engine(settings, engine), profile=profile, variants=variant,
            models=[models] if models else None, seeds=None if seed is None else str(seed), log=log,
            allow_overlap=allow_overlap or None,
        ).one("ilr")  # fmt: skip
        plan, spec = asked.plan(), asked.spec
        if dry_run:
            from ilr_bench.study.cost.forecast import price
            from ilr_bench.study.cost.show import say_cost
            from ilr_bench.study.own_data import overlap_of_plan

            say_cost(price(plan, 1, out), out, force=force)
            overlap_of_plan(plan, spec.allow_overlap)
            return
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from ilr_bench.study.together import run_distributed

            is_main = run_distributed(
                plan, spec.profile, out, asked.command(), spec.log, force, patience, spec.allow_overlap
            )
        else:
            is_main = True
            with how_to_continue():
                run_alone(asked, plan, out, force)
        if is_main:
            from ilr_bench.cli.report import say_training

            say_training(out, plan.entries)


@app.command()
def sweep() -> None:
    """Trains and evaluates variants x models x seeds, and leaves the records that reports are made of."""
    raise RuntimeError("`Commands` puts the command of ilr_bench.study.sweep in the place of this entry of the list")
