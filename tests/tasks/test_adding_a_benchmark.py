"""A benchmark from outside, in one file: what docs/adding-a-benchmark.md says, done as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ilr_bench.tasks.benchmarks import names

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-benchmark.md"
ROWS = [{"question": f"What is twice {n}?", "answer": str(2 * n)} for n in (4, 15, 230)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The guide's package as if installed, and its data; no other package knows of it."""
    package = tmp_path / "packages" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "doubles.py").write_text(blocks("python")[0])
    metadata = package.parent / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    group = re.search(r'\[project.entry-points."(.+)"\]\n(\w+) = "(.+)"', blocks("toml")[0])
    assert group is not None
    (metadata / "entry_points.txt").write_text(f"[{group[1]}]\n{group[2]} = {group[3]}\n")
    (tmp_path / "data" / "doubles").mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "data" / "doubles" / "test.jsonl").write_text(lines)
    return os.environ | {"PYTHONPATH": str(package.parent), "ILR_BENCH_DATA": str(tmp_path / "data")}


def run(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=environment)


def test_it_is_listed_and_read(environment: dict[str, str]) -> None:
    listed = run("-m", "ilr_bench", "benchmarks", environment=environment)
    line = next(line for line in listed.stdout.splitlines() if line.startswith("doubles"))
    assert line.split()[:3] == ["doubles", "3", "answer"]
    assert "doubles/test.jsonl, my-name/doubles" in line
    assert line.endswith("twice a number")
    loaded = run(
        "-c", "from ilr_bench.tasks import benchmarks as b; print(b.get('doubles').load()[2])", environment=environment
    )
    assert (
        loaded.stdout.strip()
        == "BenchmarkQuestion(id='double-2', question='What is twice 230?', gold='460', problem=None)"
    )
    assert "doubles" not in names()


TRIAL = """
import sys
from pathlib import Path
from tiny_trials import run_plan, tiny_checkpoints, tiny_plan
from reports.frames import load
from reports.rows import find_columns

folder = Path(sys.argv[1])
models = tiny_checkpoints(folder)
asked = "doubles+mbpp_words+micro_code+micro_short_chain+puzzles"
run_plan(tiny_plan(models[:1], "base", evaluation__benchmarks=asked), folder / "study")
print(find_columns(load(folder / "study")))
"""


def test_reports_sort_it_by_the_subject_that_it_states_whatever_its_name(
    environment: dict[str, str], tmp_path: Path
) -> None:
    package = tmp_path / "packages"
    with (package / "my_package" / "doubles.py").open("a") as file:
        file.write("from dataclasses import replace\n")
        file.write("WORDS = replace(DOUBLES, name='mbpp_words', subject='general')\n")
        file.write("PUZZLES = replace(DOUBLES, name='puzzles', subject='code')\n")
    with (package / "my_package-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("mbpp_words = my_package.doubles:WORDS\npuzzles = my_package.doubles:PUZZLES\n")
    folders = [environment["PYTHONPATH"], str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2])]
    environment["PYTHONPATH"] = os.pathsep.join(folders)
    ran = run("-c", TRIAL, str(tmp_path), environment=environment)
    expected = "Columns(maths=('micro_short_chain', 'doubles'), code=('micro_code', 'puzzles'), other=('mbpp_words',))"
    assert ran.stdout.splitlines()[-1:] == [expected], ran.stderr


def test_an_altered_file_of_it_is_refused(environment: dict[str, str]) -> None:
    file = Path(environment["ILR_BENCH_DATA"]) / "doubles" / "test.jsonl"
    file.write_text(file.read_text().replace("460", "461"))
    loaded = run("-c", "from ilr_bench.tasks import benchmarks as b; b.get('doubles').load()", environment=environment)
    assert "some text was altered" in loaded.stderr


def test_the_command_for_its_hash_gives_the_hash(environment: dict[str, str]) -> None:
    (command,) = (line.removeprefix("$ ") for line in blocks("console")[0].splitlines() if "rows_hash" in line)
    _, *arguments = shlex.split(command)
    printed = run(*arguments, environment=environment).stdout.strip()
    assert f'sha256="{printed}"' in blocks("python")[0]


def test_its_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_doubles.py").write_text(blocks("python")[1])
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ran = run("-m", "pytest", *options, str(tmp_path / "test_doubles.py"), environment=environment)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
