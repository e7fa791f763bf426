"""What a study will cost, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line

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
) -> None:
    """Says what a sweep with these options would run and cost; nothing is trained.

    Ends with exit status 7 where a sweep would refuse to start, because memory or disk would not do here.
    """
    from ilr_bench.study.cost.forecast import price
    from ilr_bench.study.cost.show import say_cost
    from ilr_bench.study.plan import parse_overrides, plan_study
    from ilr_bench.study.sweep import integers, split

    with fail_in_one_line():
        groups = [split(group) for group in models or ()]
        found = plan_study(profile, split(variants), groups, integers(seeds), parse_overrides(overrides or ()))
        cost = price(found, workers, out, fresh, quick)
        say_cost(cost, out, verbose, as_json)
