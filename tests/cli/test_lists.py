"""One broken plug-in is one line of a list, and breaks nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENTRY_POINTS = """[ilr_bench.variants]
half = broken_things.variants:half
[ilr_bench.benchmarks]
absent = broken_things.data:ABSENT
raising = broken_things.data:RAISING
micro_code = broken_things.data:ABSENT
[ilr_bench.models]
ghost = broken_things.nowhere:ghost
[ilr_bench.reports]
torn = broken_things.variants:torn
"""
DATA = """from ilr_bench.core.errors import MissingInputError
from ilr_bench.tasks.types import Benchmark

def load():
    raise MissingInputError("the rows are elsewhere")

def fails():
    return {}["rows"]

def made(name, load):
    return Benchmark(name, name, "about", "answer", "in-domain", load, subject="maths")

ABSENT, RAISING = made("absent", load), made("raising", fails)
"""


def installed(folder: Path) -> Path:
    package = folder / "site" / "broken_things"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "variants.py").write_text("import sys\nsys.exit('not on this machine')\n")
    (package / "data.py").write_text(DATA)
    about = folder / "site" / "broken_things-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-things\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder / "site"


def listed(folder: Path, *words: str) -> tuple[list[str], list[str]]:
    path = os.pathsep.join([str(installed(folder)), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "ilr_bench", *words],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


def about(lines: list[str], name: str) -> str:
    (line,) = [line for line in lines if line.split()[0] == name]
    return " ".join(line.split())


def test_a_variant_whose_module_leaves_is_a_line_beside_the_others(tmp_path: Path) -> None:
    lines, _ = listed(tmp_path, "variants")
    assert about(lines, "half") == (
        "half - cannot be used: variant 'half' of broken-things cannot be loaded (SystemExit: not on this machine "
        "(variants.py, line 2)); mend or uninstall that package"
    )
    assert about(lines, "ilr").startswith("ilr paper, sections 3.1 to 3.3")


def test_benchmarks_without_data_are_lines_beside_the_others(tmp_path: Path) -> None:
    lines, notes = listed(tmp_path, "benchmarks")
    assert about(lines, "absent").endswith("- cannot be used: the rows are elsewhere")
    assert about(lines, "raising").endswith("- cannot be used: KeyError: 'rows' (data.py, line 8)")
    assert " function " in about(lines, "micro_code")
    assert notes == ["benchmark 'micro_code' of broken-things is left out: the name is taken; rename one of them"]


def test_a_model_whose_module_is_not_there_is_a_line_beside_the_others(tmp_path: Path) -> None:
    lines, _ = listed(tmp_path, "models")
    assert "model 'ghost' of broken-things cannot be loaded (ModuleNotFoundError" in about(lines, "ghost")
    assert about(lines, "A").startswith("A ")
