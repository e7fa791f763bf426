"""Many studies in one list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line, note, say


@app.command(
    epilog="""Examples:

  ilr-bench leaderboard runs/*

  ilr-bench leaderboard runs/reproduce_table1 runs/reproduce_table2 --out board.md
"""
)
def leaderboard(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies.")],
    out: Annotated[Path | None, typer.Option(help="Write FILE.md, .csv or .json as well.")] = None,
) -> None:
    """Lists the variants of several studies: accuracy, tokens, wall time, machine, commit; comparable ones together."""
    from ilr_bench.core.errors import IlrError, StoreError
    from ilr_bench.storage.files import write_atomic
    from reports.compare.leaderboard import collect, load_scored, markdown, renderer

    with fail_in_one_line():
        render = None if out is None else renderer(out)
        frames, reasons = [], []
        for folder in studies:
            try:
                frames.append(load_scored(folder))
            except IlrError as error:
                reasons.append(str(error))
        if not frames:
            raise StoreError("; ".join(reasons))
        for reason in reasons:
            note(f"left out: {reason}")
        for study in frames:
            if study.unfinished:
                first = "; ".join(study.unfinished[:3])
                note(f"{study.folder}: {len(study.unfinished)} trials have not finished and are left out ({first}...)")
        found = collect(frames)
        say(markdown(found))
        if out is not None and render is not None:
            write_atomic(out, render(found))
