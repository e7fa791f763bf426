"""What a reader of records needs, and the one line in which everything else ends where its extra is missing."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from reading import check_readers
from synthetic_study import write_synthetic_study

from ilr_bench.core.console import fail_in_one_line
from ilr_bench.core.errors import MissingInputError
from ilr_bench.core.extras import INCLUDED, LIBRARIES, missing_extra, require

Done = subprocess.CompletedProcess[str]
ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
HOOK = f"""
import importlib.metadata
import sys

HIDDEN = {{name for names in {LIBRARIES!r}.values() for name in names}}


class Hides:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


def distribution(name):
    if name.replace("-", "_") in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)


sys.meta_path.insert(0, Hides())
found, importlib.metadata.distribution = importlib.metadata.distribution, distribution
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Done]:
    """Runs the command line where no library of any extra can be imported, in this process or in one that it starts."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), str(ROOT)])}

    def run_command(*arguments: str, program: tuple[str, ...] = ("-m", "ilr_bench")) -> Done:
        command = [sys.executable, *program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run_command


def test_records_are_read_without_any_extra(run, tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path / "study", ("base", "grpo", "ilr"), seeds=(0,), questions=6, steps=2)

    def run_python(*arguments: str) -> str:
        done = run(*arguments, program=())
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        return done.stdout

    check_readers(run_python, study, tmp_path / "written")
    assert (tmp_path / "written" / "table2.png").exists()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", "--out", "runs"), "train"),
        (("sweep", "--variants", "ilr", "--out", "runs"), "train"),
        (("sweep", "--search", "example", "--out", "runs"), "train"),
        (("plan", "--variants", "ilr"), "train"),
        (("evaluate", "--model", "A", "--out", "alone"), "eval"),
        (("lm-eval", "--help"), "eval"),
        (("models",), "eval"),
    ],
)
def test_a_command_whose_extra_is_missing_ends_in_one_line_that_names_it(run, arguments, extra, tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.returncode == MissingInputError.exit_status
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(rf"error: .+ not installed here: python -m pip install 'ilr-bench\[{extra}\]'", line), line
    assert not list((tmp_path / "runs").glob("trials/*"))


def test_missing_libraries_are_listed_with_those_of_included_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilr_bench.core.extras.is_installed", lambda name: name not in ("trl", "peft"))
    with pytest.raises(MissingInputError, match=r"training needs peft, trl, not installed here"):
        require("train", "training")
    require("watch", "a log")


def test_another_modules_absence_is_no_users_mistake() -> None:
    assert missing_extra(ModuleNotFoundError("x", name="ilr_bench.nothing")) is None
    assert "ilr-bench[eval]" in str(missing_extra(ModuleNotFoundError("x", name="lm_eval.api")))
    with pytest.raises(ModuleNotFoundError), fail_in_one_line():
        raise ModuleNotFoundError("x", name="nobody")


def distribution(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def needed(extra: str) -> set[str]:
    """Distributions that an extra names, by itself or by another one."""
    found = {distribution(text) for text in EXTRAS[extra] if not text.startswith("ilr-bench[")}
    return found.union(*(needed(one) for one in included(extra)))


def included(extra: str) -> list[str]:
    own = [text for text in EXTRAS[extra] if text.startswith("ilr-bench[")]
    return [name for text in own for name in text.partition("[")[2].rstrip("]").split(",")]


def test_the_extras_are_those_of_the_package() -> None:
    assert set(EXTRAS) == {*LIBRARIES, "all", "dev"}
    assert {extra: included(extra) for extra in LIBRARIES if included(extra)} == {
        extra: list(names) for extra, names in INCLUDED.items()
    }
    # vLLM's wheels are for CUDA alone, and everything else comes with `all`.
    assert needed("all") == set().union(*(needed(extra) for extra in LIBRARIES if extra != "vllm"))
    assert needed("all") - needed("dev") == {"ray", "trackio", "wandb"}


def third_party(package: str) -> dict[str, str]:
    """Module of the top level that a package of ours imports -> a file that does."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    ours = {"ilr_bench", "ablations", "reports"}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name not in ours}


BROUGHT = {
    "pydantic_core": "pydantic", "annotated_types": "pydantic", "markupsafe": "jinja2", "packaging": "matplotlib",
}  # fmt: skip
"""Modules of what a dependency of ours depends on and hands out."""


@pytest.mark.parametrize("package", ["ilr_bench", "ablations", "reports"])
def test_every_import_belongs_to_the_reader_or_to_an_extra(package: str) -> None:
    base = {distribution(text) for text in PROJECT["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    for name, path in third_party(package).items():
        owners = {owner.lower().replace("_", "-") for owner in providers.get(name, [BROUGHT.get(name, name)])}
        known = any(name in modules for modules in LIBRARIES.values())
        assert known or owners & base or BROUGHT.get(name) in base or name == "reasoning_gym", f"{path}: {name}"
