"""Variants and reports beside a user's own files of those names."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from reading import check_readers
from synthetic_study import write_synthetic_study
from tiny_trials import SETTINGS, tiny_checkpoints

ROOT = Path(__file__).parents[2]
OWN = "raise SystemExit(__name__ + ' of the user was imported')"
Run = Callable[..., str]


def lay_out(folder: Path) -> Path:
    """A user's working directory: packages and a file with the names of ours, each of which ends who imports it."""
    for name in ("ablations", "reports"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(OWN)
    (folder / "own").mkdir()
    (folder / "own" / "reports.py").write_text(OWN)
    (folder / "own" / "ablations.py").write_text(OWN)
    return folder


def runner(folder: Path, home: Path) -> Run:
    """Runs Python in such a folder, which comes before `home`, the place of our packages, in PYTHONPATH."""

    def run(*arguments: str, status: int = 0) -> str:
        paths = os.pathsep.join(map(str, (folder / "own", folder, home)))
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runner(lay_out(tmp_path), ROOT)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return write_synthetic_study(folder, ("base", "grpo", "ilr"), seeds=(0,), questions=6, steps=2)


def test_the_users_own_files_end_who_imports_them(run: Run) -> None:
    for name in ("ablations", "reports"):
        run("-c", f"import {name}", status=1)


def test_commands_that_read_records_work_beside_them(run: Run, study: Path, tmp_path: Path) -> None:
    check_readers(run, study, tmp_path / "written")


@pytest.mark.slow
def test_a_wheel_in_a_folder_works_beside_them(study: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for package in ("ilr_bench", "ablations", "reports"):
        shutil.copytree(ROOT / package, source / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-c", f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"]
    subprocess.run(build, cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)  # as an installer does with one of Python modules alone
    run = runner(lay_out(tmp_path / "user"), target)
    assert run("-c", "import ilr_bench; print(ilr_bench.__file__)").startswith(str(target))
    check_readers(run, study, tmp_path / "written", "table2,page")


CLEAN = """
import {first}
import sys
from importlib import import_module
import ablations.paper, reports.frames, reports.compare.paired
from ilr_bench import ablations as ours, reports as records
from ilr_bench.reports.frames import load
assert ablations is ours is import_module("ablations") and reports is records
assert reports.frames.load is load and sys.modules["reports.compare.paired"] is records.compare.paired
assert records.compare.paired.__spec__.name == records.compare.paired.__name__ == "ilr_bench.reports.compare.paired"
assert load.__module__ == "ilr_bench.reports.frames"
assert ablations.registry is sys.modules["ilr_bench.ablations.registry"]
import pickle
assert pickle.loads(pickle.dumps(reports.Settings("holm"))) == records.Settings("holm")
"""


@pytest.mark.parametrize("first", ["ablations.registry", "reports.page.page", "ilr_bench", "ilr_bench.reports"])
def test_where_ours_come_first_their_global_names_give_the_same_modules(first: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", CLEAN.format(first=first)], cwd=tmp_path, env=environment, check=True)


def test_a_package_of_another_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("")
    (tmp_path / "reports" / "frames.py").write_text("HIS = True")
    code = "import ilr_bench.reports.frames, reports.frames as his; print(his.HIS, hasattr(his, 'load'))"
    assert runner(tmp_path, ROOT)("-c", code) == "True False\n"


def options(settings: Mapping[str, str]) -> list[str]:
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


PAGE = (ROOT / "docs" / "adding-a-variant.md").read_text(encoding="utf-8")
SCRIPT = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "app()" in block)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["from ilr_bench import ablations", "import ablations"])
def test_a_variant_of_a_script_is_trained_by_the_workers_of_its_sweep(spelling: str, tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "user") if spelling.startswith("from") else tmp_path / "user"
    folder.mkdir(exist_ok=True)
    run = runner(folder, ROOT)
    (folder / "mine.py").write_text(SCRIPT.replace("from ilr_bench import ablations", spelling))
    models = ",".join(tiny_checkpoints(tmp_path))
    kept = {key: value for key, value in SETTINGS.items() if key != "training.steps"}
    run("mine.py", "--variants", "short_and_hot,base", "--models", models, "--out", "runs", *options(kept))
    (trial,) = (folder / "runs" / "trials").glob("short_and_hot-*")
    assert '"variant": "short_and_hot"' in (trial / "config.json").read_text()
    assert (trial / "result.json").exists()
    run("-m", "ilr_bench", "report", "runs", "variants")
    assert "short_and_hot" in (folder / "runs" / "reports" / "variants.md").read_text()
    assert "short_and_hot" in run("-m", "ilr_bench", "status", "runs")


@pytest.mark.slow
def test_training_and_evaluation_work_beside_them(run: Run, tmp_path: Path) -> None:
    models = tiny_checkpoints(tmp_path)
    run(
        "-m", "ilr_bench", "train", "--variant", "ilr", "--models", ",".join(models), "--out", "one", *options(SETTINGS)
    )
    assert list((tmp_path / "one" / "trials").glob("ilr-*/result.json"))
    arguments = ("--benchmarks", "micro_ood", "--limit", "2", "--out", "alone")
    assert "micro_ood" in run("-m", "ilr_bench", "evaluate", "--model", models[0], *arguments)


def global_imports(path: Path) -> Iterator[str]:
    """`import reports` and the like that Python runs: outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        if node not in checked and any(name.split(".")[0] in ("ablations", "reports") for name in names):
            yield f"{path}: {ast.unparse(node)}"


@pytest.mark.parametrize("package", ["ilr_bench", "ablations", "reports"])
def test_our_code_looks_neither_up_by_its_global_name(package: str) -> None:
    found = [line for path in (ROOT / package).rglob("*.py") for line in global_imports(path)]
    assert not found, f"write `from ilr_bench.reports...` (under `if TYPE_CHECKING` `from reports...`): {found}"
