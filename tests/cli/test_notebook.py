"""docs/notebook.ipynb runs from top to bottom, and what it shows is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SHOW = """
import ast, json, sys
names = {}
for number, source in enumerate(json.load(sys.stdin)):
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), f"cell {number}", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        shown = next((getattr(value, m) for m in ("_repr_png_", "_repr_html_") if hasattr(value, m)), value.__repr__)()
        print(json.dumps([number, type(value).__name__, len(shown), str(value)]))
    else:
        exec(compile(ast.Module([last], []), f"cell {number}", "exec"), names)
"""
"""Runs cells in order as a notebook does, and prints what the last expression of each shows."""


def cells() -> list[str]:
    data = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert data["nbformat"] == 4
    return ["".join(cell["source"]) for cell in data["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_outputs() -> None:
    data = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    made = [cell for cell in data["cells"] if cell["cell_type"] == "code"]
    assert len(made) >= 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in made)


@pytest.mark.slow
def test_every_cell_runs_and_shows_something(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], input=json.dumps(cells()), cwd=tmp_path, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    kinds = [kind for _, kind, _, _ in shown]
    assert kinds[:3] == ["Study", "DataFrame", "dict"]
    assert kinds[3:-1] == ["DataFrame", "DataFrame", "DataFrame", "Figure", "Evaluation"]
    assert all(size > 100 for _, kind, size, _ in shown if kind not in ("PosixPath", "WindowsPath"))
    folder = Path(shown[-1][3])
    assert {path.name for path in folder.iterdir()} >= {"report.html", "accuracy.md"}
    study = json.loads((folder.parent / "study.json").read_text())
    assert [entry["variant"] for entry in study["trials"]] == ["base", "ilr"]
