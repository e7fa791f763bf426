"""What a study will cost, and the run of one variant on one group of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line
from ilr_bench.models.catalogue import AcceptLicence, accept
from ilr_bench.study.own_data import AllowOverlap

EXAMPLES = """Examples:

  ilr-bench plan --variants base,grpo,grpo_matched,ilr --models A,B --seeds 0,1,2 --out runs/table2

  ilr-bench plan --profile paper --variants ilr --models group1 --quick

The timing run takes seconds with tiny models and is kept in the cache folder, so the next plan is there at once.
docs/planning.md has the formulas."""


@app.command(epilog=EXAMPLES)
def plan(
    variants: Annotated[str, typer.Option(help="Variants to compare, with commas (see `ilr-bench variants`).")],
    profile: Annotated[str, typer.Option(help="micro, small or paper.")] = "micro",
    models: Annotated[
        list[str] | None, typer.Option(help="Models that learn together, with commas; repeat for other groups.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Training seeds, with commas.")] = "0",
    workers: Annotated[int, typer.Option(help="Jobs at a time, one thread each.", min=1)] = 2,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=V1,V2: a setting, or a grid over its values; repeatable.")
    ] = None,
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
    from ilr_bench.study.plan import parse_overrides, plan_study
    from ilr_bench.study.sweep import integers, split

    with fail_in_one_line():
        groups = [split(group) for group in models or ()]
        found = plan_study(profile, split(variants), groups, integers(seeds), parse_overrides(overrides or ()))
        cost = price(found, workers, out, fresh, quick)
        say_cost(cost, out, verbose, as_json)
        overlap_of_plan(found, allow_overlap)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the study the trial belongs to.")],
    variant: Annotated[str, typer.Option(help="See `ilr-bench variants`.")] = "ilr",
    models: Annotated[str | None, typer.Option(help="Models that learn together, with commas.")] = None,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    profile: Annotated[str, typer.Option(help="micro, small or paper.")] = "micro",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; repeatable.")] = None,
    log: Annotated[
        str, typer.Option(help="Where curves go as well, with commas: tensorboard (OUT/events), trackio, wandb.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it will cost and stop; exit status 7: does not fit here.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(help="Under a launch: seconds that a process waits for another before it counts as hung.", min=1),
    ] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="Start even what does not seem to fit this machine.")] = False,
    allow_overlap: AllowOverlap = False,
    accept_licence: AcceptLicence = None,
) -> None:
    """Runs one variant on one group of models: measure, train, score every agent alone, before and after.

    Prints every agent's accuracy before and after, and leaves the report in OUT/reports. A sweep beside OUT finds what
    has been measured here. Under `accelerate launch` the processes share the training (docs/scaling.md).
    """
    from ilr_bench.study.launch.pool import Execution
    from ilr_bench.study.plan import parse_overrides, plan_study
    from ilr_bench.study.sweep import finish, how_to_continue, recorded_training, run_sweep, split

    with fail_in_one_line():
        accept(accept_licence)
        groups = [split(models)] if models else []
        plan = plan_study(profile, [variant], groups, [seed], parse_overrides(overrides or ()), with_untrained=True)
        if dry_run:
            from ilr_bench.study.cost.forecast import price
            from ilr_bench.study.cost.show import say_cost
            from ilr_bench.study.own_data import overlap_of_plan

            say_cost(price(plan, 1, out), out, force=force)
            overlap_of_plan(plan, allow_overlap)
            return
        command = recorded_training(profile, variant, models, seed, overrides or (), allow_overlap)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from ilr_bench.study.together import run_distributed

            is_main = run_distributed(plan, profile, out, command, split(log), force, patience, allow_overlap)
        else:
            is_main = True
            execution = Execution(workers=1, log=split(log))
            with how_to_continue():
                outcome = run_sweep(
                    plan, profile, out, 1, command, execution=execution, force=force, allow_overlap=allow_overlap
                )
            finish(plan, out, outcome)
        if is_main:
            from ilr_bench.cli.report import say_training

            say_training(out, plan.entries)
