"""What there is: variants, benchmarks."""

from __future__ import annotations

from typing import Annotated

import typer

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line


@app.command()
def variants() -> None:
    """Lists the variants: name, where it comes from, what it changes."""
    import ablations

    with fail_in_one_line():
        say_rows([(name, ablations.get(name).source, ablations.get(name).summary) for name in ablations.names()])


@app.command()
def benchmarks(
    exceptions: Annotated[bool, typer.Option("--exceptions", help="Only the questions graded amiss, and why.")] = False,
) -> None:
    """Lists the benchmarks: name, rows, kind, subject, groups, exceptions (golds graded amiss), data, what they ask."""
    from ilr_bench.tasks.types import get, groups_of, names, row_count

    with fail_in_one_line():
        every = [get(name) for name in names()]
        if exceptions:
            say_rows([(one.name, index, why) for one in every for index, why in one.exceptions.items()])
            return
        heading = (
            "name",
            "rows",
            "kind",
            "subject",
            "groups",
            "exceptions",
            "data: in ILR_BENCH_DATA, on the hub",
            "about",
        )
        lines = [
            (
                one.name,
                f"{row_count(one):,}",
                one.kind,
                one.subject,
                ", ".join(groups_of(one.name)) or "-",
                str(len(one.exceptions)),
                "; ".join(f"{data.file}, {data.hub}" for data in one.data) or "made here",
                one.summary,
            )
            for one in every
        ]
        say_rows([heading, *lines])
