"""What holds for the whole of `ilr-bench`: its version, completion, time to help, and `sweep` among its commands."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ilr_bench.storage.records import read_study

ROOT = Path(__file__).parents[2]
ILR_BENCH = "import sys; from ilr_bench.cli import main; sys.argv[0] = 'ilr-bench'; main()"
"""The program, where it is not installed."""


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_version_is_that_of_the_package() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert run("-c", ILR_BENCH, "--version") == f"ilr-bench {stated}\n"


def without_usage(text: str) -> str:
    return text.split("\n", 1)[1].replace("ilr-bench sweep", "").replace("python -m ilr_bench.sweep", "")


def test_sweep_takes_what_the_module_takes() -> None:
    printed = run("-c", ILR_BENCH, "sweep", "--help", COLUMNS="100")
    assert printed.startswith("Usage: ilr-bench sweep ")
    assert without_usage(printed) == without_usage(run("-m", "ilr_bench.sweep", "--help", COLUMNS="100"))


def test_sweep_ends_in_one_line_and_a_status_where_it_is_told_amiss(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ILR_BENCH, "sweep", "--variants", "irl", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: unknown variant 'irl'; did you mean ilr?\n")


def processor_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run("-c", ILR_BENCH, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_takes_less_than_half_a_second_of_the_processor(arguments: tuple[str, ...]) -> None:
    # The quickest of several: on a busy machine two threads share a core, and each takes twice as long.
    assert min(processor_seconds(*arguments) for _ in range(4)) < 0.5


def test_the_list_of_commands_imports_no_sweep() -> None:
    code = ILR_BENCH.replace("main()", "\ntry: main()\nfinally: print('ilr_bench.study.sweep' in sys.modules)")
    printed = run("-c", code, "--help")
    assert "\n  sweep " in printed
    assert printed.endswith("\nFalse\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ilr-bench sw", ["sweep"]),
        ("ilr-bench sweep --var", ["--variants"]),
        ("ilr-bench report --corr", ["--correction"]),
        ("ilr-bench report --correction ", ["auto", "bh", "holm"]),
    ],
)
def test_a_shell_completes_commands_options_and_choices(words: str, offered: list[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_ILR_BENCH_COMPLETE": "complete_bash"}
    assert sorted(run("-c", ILR_BENCH, **asked).split()) == offered


@pytest.mark.slow
def test_a_sweep_by_the_command_is_a_study(tmp_path: Path) -> None:
    asked = ("--variants", "base", "--models", "A", "--set", "evaluation.limit=2", "--out", str(tmp_path))
    run("-c", ILR_BENCH, "sweep", *asked)
    (entry,) = read_study(tmp_path).trials
    assert (tmp_path / entry.folder / "result.json").exists()
