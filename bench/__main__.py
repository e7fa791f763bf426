"""Everything that is measured: `python -m bench [--full] [--out FILE] [--docs]`.

The rows go to bench/results.json (those of the whole grid to results-grid.json), and a table to the terminal. An
interrupted run is continued by the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.lanes import side_by_side
from bench.parts import Part, parts
from bench.results import Unfinished, save
from bench.rows import Row
from ilr_bench.console import fail_in_one_line, note
from ilr_bench.costs.fits import available_memory
from ilr_bench.errors import IlrError, MissingInputError

UNFINISHED = Path("runs", "bench")
OUT = Path(__file__).with_name("results.json")
GRID = OUT.with_name("results-grid.json")


class PartFailedError(IlrError):
    """A part ended without its rows; those of the parts before it are kept."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the whole grid of sizes, agents and samples: hours")
    parser.add_argument("--device", default="cpu", help="cuda: two models of 135M and 0.5B on the GPU")
    parser.add_argument(
        "--out",
        type=Path,
        help="where the rows go (bench/results.json, with --full results-grid.json, on a GPU results-cuda.json; "
        "with --sharing nowhere)",
    )
    parser.add_argument(
        "--docs", action="store_true", help="write tables and figure of docs/performance.md (--full: -grid.md) as well"
    )
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="what changed by over a tenth")
    parser.add_argument("--sharing", action="store_true", help="one study of 12 variants against 12 cold runs instead")
    parser.add_argument("--workers", type=int, help="processes at a time, each with one thread (1; with --sharing 2)")
    parser.add_argument("--steps", type=int, default=3, help="with --sharing: of each trial")
    parser.add_argument("--folder", type=Path, help="with --sharing: an empty folder that keeps the studies")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    if on_gpu and arguments.docs:
        parser.error("--docs: the tables of docs/performance.md are those of a CPU")
    with fail_in_one_line():
        if arguments.compare:
            from bench.compare import compare

            sys.exit(compare(*arguments.compare))
        if arguments.sharing:
            from bench import sharing

            arguments.workers = arguments.workers or 2
            sharing.run(arguments)
        elif arguments.part:
            chosen = {part.name: part for part in parts(arguments.full, arguments.device)}[arguments.part]
            arguments.out.write_text(json.dumps(chosen.measure()), encoding="utf-8")
        else:
            check_device(arguments.device)
            out = arguments.out or (OUT.with_name("results-cuda.json") if on_gpu else GRID if arguments.full else OUT)
            run(arguments.full, arguments.device, out, arguments.docs, arguments.workers or 1)


def check_device(device: str) -> None:
    """Raises MissingInputError where there is no such device."""
    if device == "cpu":
        return
    # Takes seconds to import, and the parts that need it run in processes of their own.
    import torch

    if not (device.startswith("cuda") and torch.cuda.is_available()):
        raise MissingInputError(f"--device {device}: torch finds no such GPU here; leave it out to measure the CPU")


def run(full: bool, device: str, out: Path, docs: bool, workers: int) -> None:
    """All parts, those left over from an interrupted run apart, `workers` of them at a time."""
    from bench import growth, tables

    kind = f"{'full' if full else 'quick'}-{device}"
    unfinished = Unfinished(UNFINISHED / f"{kind}.json", kind)
    if unfinished.outdated:
        note("an unfinished run is left out: code, libraries or machine have changed since")
    todo = parts(full, device)
    places = {part.name: place for place, part in enumerate(todo, start=1)}

    def take(part: Part) -> None:
        left = sum(other.estimate for other in todo if other.name not in unfinished.parts) / 60
        name = f"[{places[part.name]}/{len(todo)}] {part.name}"
        note(f"{name}: about {part.estimate:.0f} s; all that is left {left:.0f} min of computing")
        start = time.perf_counter()
        unfinished.keep(part.name, measured(part, full, device))
        note(f"{name}: {time.perf_counter() - start:.0f} s")

    missing = [part for part in todo if part.name not in unfinished.parts]
    side_by_side(missing, workers, available_memory(), take)
    found = [row for part in todo for row in unfinished.parts[part.name]]
    found += growth.rows(found)
    results = save(found, out, device)
    print(tables.markdown(results))
    if docs:
        tables.write_docs(results, full)
    unfinished.remove()


def measured(part: Part, full: bool, device: str) -> list[Row]:
    """One part, in a process of its own; raises PartFailedError."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "rows.json")
        command = [sys.executable, "-m", "bench", "--part", part.name, "--out", str(out), "--device", device]
        done = subprocess.run(
            [*command, *(["--full"] if full else [])], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
        )
        if done.returncode:
            reason = f"was killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
            raise PartFailedError(
                f"{part.name} {reason}; what was measured before is kept, and the same command goes on from here"
            )
        rows: list[Row] = json.loads(out.read_text(encoding="utf-8"))
    return rows


if __name__ == "__main__":
    main()
