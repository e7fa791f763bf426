"""What can be named: variants, benchmarks, models. What is broken is a line of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line, note
from ilr_bench.core.plugins import reason_of
from ilr_bench.core.registry import Registry

Line = tuple[str, ...]


def lines(registry: Registry[Any], names: Sequence[str], line: Callable[[str], Line], width: int) -> Iterator[Line]:
    """A line of `width` cells for each name, or why there is none; and notes of what is left out."""
    for name in names:
        try:
            yield line(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of other packages, or for want of data
            yield (name, *["-"] * (width - 2), f"cannot be used: {reason_of(error)}")
    for conflict in registry.conflicts():
        note(conflict)


@app.command()
def variants() -> None:
    """Lists the variants: name, where it comes from, what it changes."""
    from ilr_bench import ablations

    with fail_in_one_line():

        def line(name: str) -> Line:
            return name, ablations.get(name).source, ablations.get(name).summary

        say_rows([*lines(ablations.VARIANTS, ablations.names(), line, 3)])


@app.command()
def benchmarks(
    exceptions: Annotated[bool, typer.Option("--exceptions", help="Only the questions graded amiss, and why.")] = False,
) -> None:
    """Lists the benchmarks: name, rows, kind, subject, groups, exceptions (golds graded amiss), data, what they ask."""
    from ilr_bench.tasks.types import BENCHMARKS, get, groups_of, names, row_count

    with fail_in_one_line():
        if exceptions:
            every = BENCHMARKS.usable().values()
            say_rows([(one.name, index, why) for one in every for index, why in one.exceptions.items()])
            return

        def line(name: str) -> Line:
            one = get(name)
            return (
                one.name,
                f"{row_count(one):,}",
                one.kind,
                one.subject,
                ", ".join(groups_of(one.name)) or "-",
                str(len(one.exceptions)),
                "; ".join(f"{data.file}, {data.hub}" for data in one.data) or "made here",
                one.summary,
            )

        data = "data: in ILR_BENCH_DATA, on the hub"
        rows = [("name", "rows", "kind", "subject", "groups", "exceptions", data, "about")]
        say_rows([*rows, *lines(BENCHMARKS, names(), line, 8)])


@app.command()
def models() -> None:
    """Lists the models that can be named: what they are, where they come from, licence, whether they are ready."""
    from ilr_bench.models.catalogue import MODELS
    from ilr_bench.models.sources import HUB_MODELS, is_downloaded
    from ilr_bench.storage.files import cache_folder

    with fail_in_one_line():

        def line(name: str) -> Line:
            entry = MODELS.get(name)
            return name, entry.summary, entry.source, entry.licence, entry.state()

        rows: list[Line] = [("name", "what it is", "comes from", "licence", "on this machine")]
        rows += lines(MODELS, MODELS.names(), line, 5)
        for name, summary, licence in HUB_MODELS:
            state = "downloaded" if is_downloaded(name) else "not downloaded"
            rows.append((name, summary, "the hub", licence, state))
        say_rows(rows)
        note("any folder that from_pretrained reads, .gguf file or hub name (owner/model) works in their place")
        note(f"prepared models are kept in {cache_folder()}; ILR_BENCH_CACHE names another folder")
