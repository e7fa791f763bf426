"""Everything to run on the day a card is there, in order of value: `python -m bench.gpu`.

Each part has a process and a time limit of its own; results are written after each of them. docs/gpu.md says how it
is run on a machine where nothing can be installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from bench.gpu.machine import describe
from bench.gpu.parts import PARTS
from bench.gpu.runner import Files, Part, Setup, run_parts, write_rows
from bench.gpu.wheels import fetch, unpack
from ilr_bench.core.console import fail_in_one_line, note
from ilr_bench.core.errors import MissingInputError

OUT = Path(__file__).with_name("results")
WORK = Path("runs", "gpu")
CPU_FACTOR = 5.0
"""On the time limits of parts where there is no card."""


def main() -> int:
    """Command line; returns the exit status."""
    arguments = _parser().parse_args()
    arguments.out, arguments.work = arguments.out.resolve(), arguments.work.resolve()
    with fail_in_one_line():
        if arguments.wheels:
            fetch(arguments.wheels)
            return 0
        links = arguments.find_links or sorted(Path().glob("wheels*"))
        models = next((folder / "models" for folder in links if (folder / "models").is_dir()), Path("models"))
        if arguments.part:
            return _measure(arguments, models.resolve())
        return _run(arguments, links)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of results.json and results.md")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of what need not be kept; studies go on here")
    parser.add_argument("--only", default="", help=f"parts, with commas: {', '.join(part.name for part in PARTS)}")
    parser.add_argument("--tiny", action="store_true", help="smallest shapes: proves the script on a CPU")
    parser.add_argument("--commit", help="what is measured, where this copy is no checkout")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="only download what a machine without a network lacks"
    )
    parser.add_argument(
        "--find-links", type=Path, action="append", metavar="DIR", help="folders of such wheels (default: ./wheels*)"
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    return parser


def _run(arguments: argparse.Namespace, links: Sequence[Path]) -> int:
    """All parts asked for; raises MissingInputError for one that does not exist."""
    names = [name for name in arguments.only.split(",") if name]
    known = {part.name: part for part in PARTS}
    if unknown := [name for name in names if name not in known]:
        raise MissingInputError(f"--only {','.join(unknown)}: no such part; there are {', '.join(known)}")
    site = arguments.work / "site"
    unpacked = unpack(links, site)
    if unpacked:
        note(f"unpacked: {', '.join(unpacked)}")
    paths = [str(Path(__file__).parents[2]), str(site), os.environ.get("PYTHONPATH", "")]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "TQDM_DISABLE": "1",
    }
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "-m", "bench.gpu", "--device", arguments.device, "--out", str(arguments.out)]
    command += ["--work", str(arguments.work), *(["--tiny"] if arguments.tiny else [])]
    for folder in links:
        command += ["--find-links", str(folder.resolve())]
    parts = [known[name] for name in names] or list(PARTS)
    files = Files(arguments.out, arguments.work)
    machine = describe(arguments.device, arguments.commit)
    factor = 1.0 if arguments.device == "cuda" else CPU_FACTOR
    status = run_parts(parts, partial(_command, command), machine, files, 60 * arguments.minutes, factor)
    print((arguments.out / "results.md").read_text(encoding="utf-8"))
    return status


def _command(start: Sequence[str], part: Part, rows: Path, deadline: float) -> list[str]:
    return [*start, "--part", part.name, "--rows", str(rows), "--deadline", str(deadline)]


def _measure(arguments: argparse.Namespace, models: Path) -> int:
    """One part, in this process."""
    part = {part.name: part for part in PARTS}[arguments.part]
    deadline = arguments.deadline or time.time() + part.seconds
    setup = Setup(arguments.device, arguments.tiny, arguments.work, arguments.out, models, deadline)
    write_rows(getattr(import_module(part.module), part.function)(setup), arguments.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
