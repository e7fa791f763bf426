"""`ilr-bench`: look up what there is, train, evaluate, and report on a study. Its commands lie in `commands/`."""

from __future__ import annotations

from ilr_bench.commands import evaluate, lists, report, status, train
from ilr_bench.commands.app import app

COMMANDS = (lists, train, evaluate, report, status)
"""The modules whose import adds the commands, in the order of `--help`."""


def main() -> None:
    """Entry point of the command line."""
    app()
