"""From a printed number back to its samples."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ilr_bench.cli.app import StudyFolder, app
from ilr_bench.core.console import fail_in_one_line, say


@app.command(
    epilog="""Examples:

  ilr-bench why runs/reproduce_table2 table2 A/ilr Avg

  ilr-bench why runs/reproduce_table2 table2 A/ilr 'vs base'

  ilr-bench why runs/reproduce_table1 table1 'B/ilr (B+C)' 'Tokens (k)'
"""
)
def why(
    study: StudyFolder,
    table: Annotated[str, typer.Argument(help="table1, table2, table4 or variants.")],
    row: Annotated[str, typer.Argument(metavar="MODEL/VARIANT", help="Such as A/ilr.")],
    column: Annotated[str, typer.Argument(help="As printed, such as Avg or 'vs base'.")],
    correction: Annotated[
        Literal["auto", "holm", "bh"], typer.Option(help="As the table was made, see `ilr-bench report --help`.")
    ] = "auto",
) -> None:
    """Traces one number of a table: its trials, settings, versions, record files, prompts and test."""
    from reports import Settings
    from reports.frames import load
    from reports.why import why as explain

    with fail_in_one_line():
        for line in explain(load(study), table, row, column, Settings(correction)):
            say(line)
