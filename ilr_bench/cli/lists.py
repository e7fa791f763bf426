"""What can be named: variants, benchmarks, models."""

from __future__ import annotations

from typing import Annotated

import typer

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line, note


@app.command()
def variants() -> None:
    """Lists the variants: name, where it comes from, what it changes."""
    from ilr_bench import ablations

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
        data = "data: in ILR_BENCH_DATA, on the hub"
        rows = [("name", "rows", "kind", "subject", "groups", "exceptions", data, "about")]
        rows += [
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
        say_rows(rows)


@app.command()
def models() -> None:
    """Lists the models that can be named: what they are, where they come from, licence, whether they are ready."""
    from ilr_bench.models.catalogue import MODELS
    from ilr_bench.models.sources import HUB_MODELS, is_downloaded
    from ilr_bench.storage.files import cache_folder

    with fail_in_one_line():
        rows = [("name", "what it is", "comes from", "licence", "on this machine")]
        for name in MODELS.names():
            entry = MODELS.get(name)
            rows.append((name, entry.summary, entry.source, entry.licence, entry.state()))
        for name, summary, licence in HUB_MODELS:
            state = "downloaded" if is_downloaded(name) else "not downloaded"
            rows.append((name, summary, "the hub", licence, state))
        say_rows(rows)
        note("any folder that from_pretrained reads, .gguf file or hub name (owner/model) works in their place")
        note(f"prepared models are kept in {cache_folder()}; ILR_BENCH_CACHE names another folder")
