"""Tables and figures of a study."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from ilr_bench.cli.app import StudyFolder, app
from ilr_bench.core.console import fail_in_one_line, note, say
from ilr_bench.storage.files import explained


@app.command()
def report(
    study: StudyFolder,
    only: Annotated[list[str] | None, typer.Argument(metavar="[REPORT]...", help="Only these, by name.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; `reports` in the study's by default.")] = None,
    correction: Annotated[
        Literal["auto", "holm", "bh"],
        typer.Option(help="Of a table's p-values: by permutation of training runs or else Holm's, or as named."),
    ] = "auto",
) -> None:
    """Writes every table and figure that a study's records allow, or those that are named."""
    import reports
    from reports.frames import load

    with fail_in_one_line():
        start = time.perf_counter()
        chosen = [reports.get(name) for name in only or reports.names()]
        settings = reports.Settings(correction)
        frames = load(study)
        folder = out or study / "reports"
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for item in chosen:
            reason = item.applies(frames)
            if reason is None:
                say(str(item.write(frames, folder, settings)))
            else:
                note(f"{item.name} left out: {reason}")
        note(f"seconds on the clock: reports {time.perf_counter() - start:.0f}")
