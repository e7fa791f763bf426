"""`ilr-bench`: look up what there is, train, evaluate, and report on a study."""

from __future__ import annotations

from ilr_bench.cli import config, evaluate, export, lists, lm_eval, report, status, train
from ilr_bench.cli.app import app

COMMANDS = (lists, config, train, evaluate, lm_eval, export, report, status)
"""The modules whose import adds the commands, in the order of `--help`."""


__all__ = ["COMMANDS", "app", "main"]


def main() -> None:
    """Entry point of the command line."""
    app()
