"""One variant on one group of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line
from ilr_bench.models.catalogue import AcceptLicence, accept


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
        bool,
        typer.Option("--dry-run", help="Print what it will cost and stop; exit status 7: does not fit here."),
    ] = False,
    patience: Annotated[
        float,
        typer.Option(help="Under a launch: seconds that a process waits for another before it counts as hung.", min=1),
    ] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="Start even what does not seem to fit this machine.")] = False,
    accept_licence: AcceptLicence = None,
) -> None:
    """Runs one variant on one group of models: measure, train, score every agent alone.

    Under `accelerate launch` the processes share the training (docs/scaling.md).
    """
    from ilr_bench.study.launch.pool import Execution
    from ilr_bench.study.plan import parse_overrides, plan_study
    from ilr_bench.study.sweep import finish, how_to_continue, recorded_command, run_sweep, split

    with fail_in_one_line():
        accept(accept_licence)
        groups = [split(models)] if models else []
        plan = plan_study(profile, [variant], groups, [seed], parse_overrides(overrides or ()))
        if dry_run:
            from ilr_bench.study.cost.forecast import price
            from ilr_bench.study.cost.show import say_cost

            say_cost(price(plan, 1, out), out, force=force)
            return
        command = recorded_command(profile, variant, [models] if models else [], str(seed), overrides or ())
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from ilr_bench.study.together import run_distributed

            run_distributed(plan, profile, out, command, split(log), force, patience)
        else:
            execution = Execution(workers=1, log=split(log))
            with how_to_continue():
                outcome = run_sweep(plan, profile, out, 1, command, execution=execution, force=force)
            finish(plan, out, outcome)
