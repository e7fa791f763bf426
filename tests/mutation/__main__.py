"""`nox -s mutants`: changes our modules in small ways, one at a time, and asks the tests whether they notice.

A mutant that no test kills either shows a missing test, or changes nothing and stands in `equivalent.toml` with the
reason. Ends with status 1 where one is neither, where fewer than 95 % are killed, where a file's time was not enough or
its tests fail without any change, or where the list speaks of mutants that no longer exist. Existing tools do not fit:
cosmic-ray starts a process per mutant, which here imports torch for six seconds, and mutmut leaves out decorated
functions and module-level code, and rewrites the files whose hashes our records carry.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

from files import TESTS
from operators import Mutant, mutants
from trials import ROOT, Running, Trials

SHARE = 0.95
"""Of a run's mutants that must be killed."""
Key = tuple[str, str, str]
"""Function, line before, line after."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "files", nargs="*", help="such as ilr_bench/method/idea3.py; all of tests/mutation/files.py if none"
    )
    parser.add_argument("--sample", type=int, help="so many mutants of each file, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--minutes", type=float, default=60, help="time limit per file")
    parser.add_argument("--function", help="only mutants of functions whose names contain this")
    parser.add_argument("--listed", action="store_true", help="run what is listed as equivalent too")
    parser.add_argument("--resume", type=Path, help="a file that notes what is killed; noted mutants are not run again")
    arguments = parser.parse_args()
    listed = {(row["function"], row["before"], row["after"]) for row in equivalent()}
    found: set[Key] = set()
    totals, complete = Counter[str](), True
    for file in arguments.files or TESTS:
        chosen = mutants((ROOT / file).read_text(encoding="utf-8"))
        found |= {key(mutant) for mutant in chosen}
        if arguments.function:
            chosen = [mutant for mutant in chosen if arguments.function in mutant.function]
        if not arguments.listed:
            skipped = [mutant for mutant in chosen if key(mutant) in listed]
            chosen = [mutant for mutant in chosen if key(mutant) not in listed]
            totals["equivalent"] += len(skipped)
        random.Random(arguments.seed).shuffle(chosen)
        chosen, began = chosen[: arguments.sample], time.monotonic()
        try:
            outcomes = run(file, chosen, arguments.workers, 60 * arguments.minutes, arguments.resume)
        except RuntimeError as error:  # of this file's tests: the other files are measured nevertheless
            say(str(error))
            outcomes = Counter({"not run": len(chosen)})
        totals += outcomes
        complete &= outcomes["not run"] == 0
        say(f"{file}: {described(outcomes)}; {(time.monotonic() - began) / 60:.1f} minutes")
    stale = listed - found if not arguments.files else set()
    for function, before, after in sorted(stale):
        say(f"listed, but no mutant of today: {function}: {before} -> {after}")
    killed, survived = totals["killed"] + totals["timeout"] + totals["killed before"], totals["survived"]
    share = killed / max(1, killed + survived)
    say(f"all files: {described(totals)}; {share:.1%} killed")
    sys.exit(int(bool(survived) or share < SHARE or not complete or bool(stale)))


def run(file: str, chosen: list[Mutant], workers: int, seconds: float, noted: Path | None) -> Counter[str]:
    """Tests the mutants of one file, within a time limit, and shows those that survive; see `--resume` for `noted`."""
    outcomes, folder = Counter[str](), Path(tempfile.mkdtemp(prefix="mutants-"))
    before = set(noted.read_text().split()) if noted is not None and noted.exists() else set()
    outcomes["killed before"] = sum(digest(file, mutant) in before for mutant in chosen)
    chosen = [mutant for mutant in chosen if digest(file, mutant) not in before]
    if not chosen:
        return outcomes
    tests = [ROOT / "tests" / f"{name}.py" for name in TESTS[file].split()]
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    running: dict[int, Running] = {}
    try:
        trials = Trials(module, ROOT / file, tests, folder)
        started, waiting = time.monotonic(), list(enumerate(chosen))[::-1]
        while waiting or running:
            if time.monotonic() - started > seconds:
                outcomes["not run"] += len(waiting)
                waiting.clear()
            while waiting and len(running) < workers:
                number, mutant = waiting.pop()
                running[number] = trials.start(number, mutant.source, mutant.first_line)
            for number, process in list(running.items()):
                outcome = trials.finished(process)
                if outcome is not None:
                    del running[number]
                    outcomes[outcome] += 1
                    if outcome == "survived":
                        show(file, chosen[number])
                    elif noted is not None:
                        with noted.open("a") as notes:
                            notes.write(digest(file, chosen[number]) + "\n")
            time.sleep(0.01)
    finally:
        for process in running.values():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def show(file: str, mutant: Mutant) -> None:
    """A survivor: where it is, and the changed lines before and after."""
    say(f"  {file}:{mutant.line} in {mutant.function}\n    - {mutant.before}\n    + {mutant.after}")


def described(outcomes: Counter[str]) -> str:
    """Such as `12 killed, 1 survived`."""
    order = ("killed", "killed before", "timeout", "survived", "equivalent", "not run")
    return ", ".join(f"{outcomes[name]} {name}" for name in order if outcomes[name]) or "nothing to change"


def equivalent() -> list[dict[str, str]]:
    """Mutants that change nothing, each with the reason."""
    files = sorted(Path(__file__).parent.glob("equivalent*.toml"))
    rows = [row for file in files for row in tomllib.loads(file.read_text(encoding="utf-8")).get("mutant", [])]
    if any(set(row) != {"function", "before", "after", "reason"} for row in rows):
        raise SystemExit("equivalent.toml: every mutant has a function, before, after and reason")
    return list(rows)


def key(mutant: Mutant) -> Key:
    """What a mutant is listed under: its place in the file may change, and the file's too."""
    return mutant.function, mutant.before, mutant.after


def digest(file: str, mutant: Mutant) -> str:
    """A changed program's name in the notes of a run that may be resumed: it counts for these programs only."""
    return hashlib.sha256(f"{file}\0{mutant.source}".encode()).hexdigest()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
