"""Twelve packages, files of one idea each, and the walks that docs/architecture.md tells."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "cli", "study", "evaluation", "method", "learner", "generation", "grading", "models", "prompts", "tasks", "storage",
    "core",
}  # fmt: skip
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LONGEST_WALK = {
    "A question's text to a printed cell": 25,
    "A reward to the optimizer step": 10,
    "`interaction.cooperation_ratio` from `--set` to the coin": 10,
}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_the_top_of_ilr_bench_is_the_twelve_packages_and_four_files() -> None:
    found = {path.name for path in (ROOT / "ilr_bench").iterdir() if path.name != "__pycache__"}
    assert found == PACKAGES | {"__init__.py", "__main__.py", "sweep.py", "py.typed"}


def test_ilr_bench_has_at_most_177_python_files() -> None:
    assert len(python_files("ilr_bench")) <= 177


@pytest.mark.parametrize("folder", ["ilr_bench", "reports", "ablations", "bench", "tests"])
def test_no_file_is_over_400_lines(folder: str) -> None:
    long = [path for path in python_files(folder) if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    assert not long, f"split by topic: {', '.join(str(path.relative_to(ROOT)) for path in long)}"


ALL_NAMES = """
from importlib import import_module
for name in PACKAGES:
    package = import_module(f"ilr_bench.{name}")
    print(package.__doc__.splitlines()[0], len([getattr(package, public) for public in package.__all__]))
"""


def test_packages_say_what_lives_there_and_give_what_they_name() -> None:
    code = ALL_NAMES.replace("PACKAGES", repr(sorted(PACKAGES)))
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"^.+\. [1-9]\d*$", ran.stdout, flags=re.MULTILINE)) == len(PACKAGES), ran.stdout


def test_an_unknown_name_of_a_package_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = import_module("ilr_bench.core").nothing


def test_every_package_stands_in_the_drawing_of_the_layers() -> None:
    for page in (PAGE, (ROOT / "README.md").read_text(encoding="utf-8")):
        drawing = page.split("    cli ", 1)[1].split("\n\n", 1)[0]
        assert PACKAGES - {"cli"} <= set(re.findall(r"[a-z]+", drawing))


@pytest.mark.parametrize("title", LONGEST_WALK)
def test_a_walk_names_files_that_are_there_and_is_short(title: str) -> None:
    walk = PAGE.split(f"### {title}\n", 1)[1].split("\n#", 1)[0]
    steps = re.findall(r"^\d+\. `([^`]+\.py)`", walk, flags=re.MULTILINE)
    assert len(steps) == len(re.findall(r"^\d+\. ", walk, flags=re.MULTILINE))
    assert 3 <= len(steps) <= LONGEST_WALK[title]
    assert [step for step in steps if not (ROOT / step).is_file()] == []


def test_a_walk_names_functions_that_its_files_hold() -> None:
    walks = PAGE.split("## Three walks\n", 1)[1].split("\n## ", 1)[0]
    for file, rest in re.findall(r"^\d+\. `([^`]+\.py)`(.*(?:\n {3}.*)*)", walks, flags=re.MULTILINE):
        source = (ROOT / file).read_text(encoding="utf-8")
        names = re.findall(r"`(\w+(?:\.\w+)?)\(\)`", rest)
        missing = [name for name in names if f"def {name.rpartition('.')[2]}(" not in source]
        assert not missing, f"{file}: {missing}"


CONTRACT = [
    "ilr_bench.method.calibration.perception_calibration",
    "ilr_bench.method.interaction.success_probability",
    "ilr_bench.method.interaction.select_mode",
    "ilr_bench.method.advantages.group_advantages",
    "ablations.get",
    "ablations.names",
    "ablations.register",
    "ilr_bench.tasks.benchmarks.get",
    "ilr_bench.tasks.benchmarks.names",
    "ilr_bench.tasks.benchmarks.register",
    "reports.statistics.paired_difference",
    "reports.statistics.holm",
    "reports.statistics.minimum_detectable_effect",
    "reports.statistics.interval",
]
"""Names that users' scripts rely on."""


@pytest.mark.parametrize("name", CONTRACT)
def test_public_names_stay_where_users_import_them(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert callable(getattr(import_module(module), attribute))
