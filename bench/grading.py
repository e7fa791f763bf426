"""Grading against math-verify in this process: `python -m bench.grading`.

Simple answers are numbers as models write them (integers, decimals, fractions), no two alike; formulas are read by
math-verify on both sides, which remembers what it has read, so the two sides get different ones. A hostile answer is
measured against the CPU time that one answer may take.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from bench.rows import Row, comparison
from ilr_bench.grading import CPU_SECONDS, Grader
from ilr_bench.grading_worker import judge

SIMPLE, FORMULAS = 10_000, 300
ENOUGH = 5_000
"""Simple answers per second."""
HOSTILE = ("9^{9^{9^{9}}}", "3")


def measure() -> list[Row]:
    """One row per kind of answer: seconds of either, their ratio, answers per second of ours (`value`)."""
    logging.disable(logging.CRITICAL)  # math-verify warns of what it cannot read
    rows = []
    with Grader() as grader:
        grader.grade([("x=3", "3")])
        for what, count, pair in (("simple answers", SIMPLE, simple), ("formulas", FORMULAS, formula)):
            asked, others = [pair(n) for n in range(count)], [pair(-n) for n in range(1, count // 20 + 1)]
            ours = _seconds(partial(grader.grade, asked))
            theirs = _seconds(partial(_judge_all, others)) * 20
            rows.append(comparison(f"grading {count:,} {what}", ours, theirs) | {"value": count / ours})
        rows.append(comparison("grading a hostile answer", _seconds(partial(grader.grade, [HOSTILE])), CPU_SECONDS))
    return rows


def simple(number: int) -> tuple[str, str]:
    """A number as a model might write it, and the gold one."""
    forms = (f"{number}", f"{number}.50", f"{number}/7", rf"\frac{{{abs(number)}}}{{9}}", f"{number:,}")
    return forms[abs(number) % len(forms)], str(number + number % 2)


def formula(number: int) -> tuple[str, str]:
    """Two spellings of one value, for math-verify to find equal."""
    return rf"{number} + \sqrt{{{abs(number)}}}", rf"\sqrt{{{abs(number)}}} + {number}"


def _judge_all(pairs: list[tuple[str, str]]) -> None:
    for pair in pairs:
        judge(*pair)


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


if __name__ == "__main__":
    for row in measure():
        print(row)
        if "simple" in row["what"] and row["value"] < ENOUGH:
            raise SystemExit(f"fewer than {ENOUGH:,} simple answers per second")
