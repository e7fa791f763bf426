"""`ilr-bench init`: what it writes can be planned and run as its own README says, and nothing is overwritten."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.study.spec import ask

FILES = {"study.toml", "mine.py", "README.md", "questions.jsonl", "test.jsonl"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "first"
    done = CliRunner().invoke(app, ["init", str(made)])
    assert done.exit_code == 0, done.output
    return made


def commands(folder: Path) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^    (ilr-bench .*)$", (folder / "README.md").read_text(), re.M)]


def test_the_study_can_be_planned_from_anywhere_with_its_own_variant_and_questions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    plan = ask(folder / "study.toml").plan()
    assert [entry.variant for entry in plan.entries] == ["base", "grpo", "ilr", "brief"]
    brief = next(trial.config for trial in plan.trials if trial.config.variant == "brief")
    assert brief.reward.kind == f"{folder / 'mine.py'}:Brief"
    assert {trial.config.questions.source for trial in plan.trials} == {str(folder / "questions.jsonl")}
    monkeypatch.chdir(folder)
    assert [trial.hash for trial in ask(Path("study.toml")).plan().trials] == [trial.hash for trial in plan.trials]


def test_the_questions_are_a_few_dozen_and_none_is_asked_twice(folder: Path) -> None:
    rows = {
        name: [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("questions.jsonl", "test.jsonl")
    }
    assert [len(part) for part in rows.values()] == [52, 24]
    asked = [row["question"] for part in rows.values() for row in part]
    assert len(set(asked)) == len(asked)
    assert all(row["answer"] for part in rows.values() for row in part)


def test_a_folder_that_holds_anything_is_refused_and_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "mine.py").write_text("mine")
    file = tmp_path / "file"
    file.write_text("")
    for taken in (folder, file):
        done = CliRunner().invoke(app, ["init", str(taken)])
        assert done.exit_code == 2
        assert "is no empty folder" in done.stderr
    assert (folder / "mine.py").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "empty")]).exit_code == 0


@pytest.mark.slow
def test_the_commands_of_its_readme_run_as_they_are_written(folder: Path) -> None:
    ran = commands(folder)
    assert [command[1] for command in ran] == ["plan", "sweep", "report"]
    for command in ran:
        done = subprocess.run(
            [sys.executable, "-m", "ilr_bench", *command[1:]], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    reports = folder / "runs/first/reports"
    assert re.search(r"^\| +\| brief +\| +\d", (reports / "variants.md").read_text(), re.M)
    assert re.search(r"^\| Model \| Variant +\| +test \|", (reports / "table2.md").read_text(), re.M)
