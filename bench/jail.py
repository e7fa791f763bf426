"""What the jail adds to a program: `python -m bench.jail`.

The same programs judged in the jail, in a process without walls (`jail=False`), and run right here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.rows import Row, comparison
from ilr_bench.benchmarks.code import CodeJudge
from ilr_bench.records import Verdict

PROGRAMS = 60
MOST_ADDED = 0.030
"""Seconds that the jail may add to a program."""
PROGRAM = "def f(n):\n    return sorted(str(k) for k in range(n))\n"
PROBLEM: dict[str, Any] = {
    "task_id": "Bench/0", "prompt": "", "entry_point": "f", "canonical_solution": PROGRAM,
    "base_input": [[size] for size in range(10)], "plus_input": [], "atol": 0,
}  # fmt: skip


def measure() -> list[Row]:
    """One row: seconds per program with and without walls, and what is added to running it here (`value`)."""
    here = _fastest(_run_here)
    with CodeJudge() as jailed, CodeJudge(jail=False) as free:
        seconds = [_fastest(partial(_judge, judge)) for judge in (jailed, free)]
        protection = jailed.protection
    what = f"judging a program of ten tests, {protection}, against limits only"
    return [comparison(what, seconds[0], seconds[1]) | {"value": seconds[0] - here}]


def _judge(judge: CodeJudge) -> None:
    if judge.judge(PROGRAM, PROBLEM) is not Verdict.CORRECT:
        raise AssertionError("the canonical solution is judged wrong")


def _run_here() -> None:
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    for arguments in PROBLEM["base_input"]:
        names["f"](*arguments)


def _fastest(call: Callable[[], object]) -> float:
    """Fastest seconds after one warm-up: on a machine that does other work as well, the rest is that work."""
    call()
    seconds = []
    for _ in range(PROGRAMS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Prints the row; fails where the jail adds more than it may."""
    (row,) = measure()
    print(f"{row['what']}: {row['ours'] * 1000:.1f} ms, other {row['other'] * 1000:.1f} ms")
    print(f"added to a program: {row['value'] * 1000:.1f} ms (at most {MOST_ADDED * 1000:.0f})")
    if row["value"] > MOST_ADDED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
