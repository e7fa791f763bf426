"""The application that the commands join, and what several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.core.console import say_rows as say_rows

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A laboratory for interactive learning of language models: train several together, score each alone.",
    epilog="""Examples:

  ilr-bench variants

  ilr-bench train --variant ilr --models A,B --out runs/one

  ilr-bench report runs/reproduce_table2
""",
)
StudyFolder = Annotated[Path, typer.Argument(help="Folder of a study (the `--out` of a sweep).")]
