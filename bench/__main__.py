"""Everything that is measured: `python -m bench [--full] [--out FILE] [--docs]`.

The rows go to bench/results.json (those of the whole grid to results-grid.json), and a table to the terminal. An
interrupted run is continued by the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.parts import Part, parts
from bench.results import BenchRow, Unfinished, collect, compare, save
from ilr_bench.core.console import fail_in_one_line, note
from ilr_bench.core.errors import IlrError, MissingInputError

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
        "with --only nowhere)",
    )
    parser.add_argument(
        "--docs", action="store_true", help="write the tables of docs/performance.md (--full: -grid.md) as well"
    )
    parser.add_argument("--only", default="", help="the parts with this in their name: jail, sampling, 'joint step'")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="what changed by over a tenth")
    parser.add_argument("--sharing", action="store_true", help="one study of 12 variants against 12 cold runs instead")
    parser.add_argument("--workers", type=int, default=2, help="with --sharing: processes at a time")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    full, device = arguments.full, arguments.device
    if arguments.docs and (arguments.only or device != "cpu"):
        parser.error("--docs: the tables of docs/performance.md are those of a whole run on a CPU")
    with fail_in_one_line():
        if arguments.compare:
            sys.exit(compare(*arguments.compare))
        elif arguments.sharing:
            # It imports all that a sweep does.
            from bench import sharing

            print(sharing.compare_with_cold_runs(arguments.workers))
        elif arguments.part:
            chosen = {part.name: part for part in parts(full, device)}[arguments.part]
            arguments.out.write_text(json.dumps(chosen.rows()), encoding="utf-8")
        else:
            check_device(device)
            usual = OUT.with_name("results-cuda.json") if device != "cpu" else GRID if full else OUT
            run(full, device, arguments.out or (None if arguments.only else usual), arguments.docs, arguments.only)


def check_device(device: str) -> None:
    """Raises MissingInputError where there is no such device."""
    if device == "cpu":
        return
    # Takes seconds to import, and the parts that need it run in processes of their own.
    import torch

    if not (device.startswith("cuda") and torch.cuda.is_available()):
        raise MissingInputError(f"--device {device}: torch finds no such GPU here; leave it out to measure the CPU")


def run(full: bool, device: str, out: Path | None, docs: bool, only: str = "") -> None:
    """The parts whose names hold `only`, those left over from an interrupted run apart; raises MissingInputError."""
    from bench import tables

    todo = [part for part in parts(full, device) if only in part.name]
    if not todo:
        known = ", ".join(part.name for part in parts(full, device))
        raise MissingInputError(f"--only {only}: no part is called so; there are {known}")
    kind = re.sub(r"\W+", "-", f"{'full' if full else 'quick'} {device} {only}".strip())
    unfinished = Unfinished(UNFINISHED / f"{kind}.json", kind)
    if unfinished.outdated:
        note("an unfinished run is left out: code, libraries or machine have changed since")
    for index, part in enumerate(todo, start=1):
        if part.name in unfinished.parts:
            continue
        left = sum(other.estimate for other in todo if other.name not in unfinished.parts) / 60
        name = f"[{index}/{len(todo)}] {part.name}"
        note(f"{name}: about {part.estimate:.0f} s; all that is left {left:.0f} min of computing")
        start = time.perf_counter()
        unfinished.keep(part.name, measured(part, full, device))
        note(f"{name}: {time.perf_counter() - start:.0f} s")
    found = [row for part in todo for row in unfinished.parts[part.name]]
    results = collect(found, device)
    if out:
        save(results, out)
    print(tables.markdown(results))
    if docs:
        tables.write_docs(results, full)
    unfinished.remove()


def measured(part: Part, full: bool, device: str) -> list[BenchRow]:
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
        rows: list[BenchRow] = json.loads(out.read_text(encoding="utf-8"))
    return rows


if __name__ == "__main__":
    main()
