"""The commands that read records, in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., str]
"""Runs Python with arguments, and gives what it printed."""
COMMANDS = """
import sys
from typer.testing import CliRunner
from ilr_bench.cli import app
study, one, other, out, reports = sys.argv[1:]
for line in (
    ["variants"], ["report", study, *reports.split(","), "--out", out], ["why", study, "table2", "A/ilr", "Avg"],
    ["compare", one, other, "--any-prompt"], ["leaderboard", study], ["status", study], ["benchmarks"],
):
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    print(done.output)
"""


def check_readers(run: Run, study: Path, out: Path, reports: str = "table2") -> None:
    one, other = (next((study / "trials").glob(f"{name}-*")) / "eval" / "A" for name in ("grpo", "ilr"))
    printed = run("-c", COMMANDS, str(study), str(one), str(other), str(out), reports)
    shown = ("main result", "table2.md", "eval/A/", "micro_ood", "finished", "micro_word_problem")
    assert all(text in printed for text in shown), printed
    assert "| ilr " in (out / "table2.md").read_text()
    assert "<table" in (out / "table2.html").read_text()  # made from a template
