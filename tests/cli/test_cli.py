"""The command line: help without torch, look-ups, and errors in one line."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import ablations
from ilr_bench.cli import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("module", ["ilr_bench.cli", "ilr_bench.sweep"])
def test_help_needs_no_library_that_takes_long_to_import(module):
    heavy = {"torch", "transformers", "lm_eval", "optuna", "numpy", "pandas"}
    code = f"import sys, {module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_command_explains_itself():
    listed = run("--help").output
    for command in ("variants", "benchmarks", "models", "train", "evaluate", "lm-eval", "report", "status"):
        assert command in listed
        assert run(command, "--help").exit_code == 0


def test_variants_are_listed_with_their_source():
    output = run("variants").output
    for name in ablations.names():
        assert name in output
    assert "Figure 3" in output


def test_models_and_benchmarks_are_listed():
    assert {"A", "B", "C", "A2", "smollm2"} <= {line.split()[0] for line in run("models").output.splitlines()}
    assert {"micro_code", "gsm8k"} <= {line.split()[0] for line in run("benchmarks").output.splitlines()}


def test_a_folder_without_a_study_is_one_line_and_a_status(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ilr_bench", "status", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "holds no study" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_model_says_what_was_meant(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ilr_bench", "evaluate", "--model", "smolm2", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "did you mean smollm2?" in done.stderr
