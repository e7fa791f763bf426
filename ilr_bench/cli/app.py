"""The application that the commands join, and what several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ilr_bench.core.console import fail_in_one_line, say
from ilr_bench.core.console import say_rows as say_rows


class Commands(TyperGroup):
    """The commands, of which `sweep` is imported where it is asked for, and not to list all of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """See Group."""
        name, command, rest = super().resolve_command(ctx, args)
        if name == "sweep":
            from ilr_bench.study.sweep import app as sweep

            command = typer.main.get_command(sweep)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """See Group; a command whose extra is not installed ends in one line, wherever it imports it."""
        with fail_in_one_line():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
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


def _say_version(asked: bool) -> None:
    if asked:
        from ilr_bench.storage.provenance import package_versions

        name = "ilr-bench"
        say(f"{name} {package_versions([name]).get(name, 'of a folder that is not installed')}")
        raise typer.Exit


@app.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Holds the options that stand before a command."""
