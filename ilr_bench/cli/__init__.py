"""`ilr-bench`: look up what there is, train, evaluate, and report on a study. One command per file."""

from __future__ import annotations

from ilr_bench.cli import compare, evaluate, leaderboard, lists, lm_eval, models, plan, report, status, train, why
from ilr_bench.cli.app import app

COMMANDS = (lists, models, plan, train, evaluate, lm_eval, report, why, compare, leaderboard, status)
"""The modules whose import adds the commands, in the order of `--help`."""


def main() -> None:
    """Entry point of the command line."""
    app()
