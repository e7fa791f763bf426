"""Grading against math-verify in this process, and what the jail adds to a program.

Both work in processes of their own, so seconds are those on the clock.

Simple answers are numbers as models write them (integers, decimals, fractions), no two alike; formulas are read by
math-verify on both sides, which remembers what it has read, so the two sides get different ones. A hostile answer is
measured against the CPU time that one answer may take. Programs are judged in the jail, in a process without isolation
(`jail=False`), and run right here.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from bench.clock import fastest
from bench.results import BenchRow, comparison
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.math import CPU_SECONDS, Grader
from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict

SIMPLE, FORMULAS = 10_000, 300
HOSTILE = ("9^{9^{9^{9}}}", "3")
PROGRAMS = 60
PROGRAM = "def f(n):\n    return sorted(str(k) for k in range(n))\n"
PROBLEM: dict[str, Any] = {
    "task_id": "Bench/0", "prompt": "", "entry_point": "f", "canonical_solution": PROGRAM,
    "base_input": [[size] for size in range(10)], "plus_input": [], "atol": 0,
}  # fmt: skip

once = partial(fastest, repeats=1, warm=False, clock=time.perf_counter)


def grading() -> list[BenchRow]:
    """One row per kind of answer: seconds of either, their ratio, answers per second of ours (`value`)."""
    logging.disable(logging.CRITICAL)  # math-verify warns of what it cannot read
    rows = []
    with Grader() as grader:
        grader.grade([("x=3", "3")])
        for what, count, pair in (("simple answers", SIMPLE, simple), ("formulas", FORMULAS, formula)):
            asked, others = [pair(n) for n in range(count)], [pair(-n) for n in range(1, count // 20 + 1)]
            ours, theirs = once(partial(grader.grade, asked), partial(judge_all, others))
            row = comparison("verdicts", f"grading {count:,} {what}", ours, 20 * theirs)
            rows.append(row | {"value": count / ours})
        (seconds,) = once(partial(grader.grade, [HOSTILE]))
        rows.append(comparison("verdicts", "grading a hostile answer", seconds, CPU_SECONDS))
    return rows


def judge_all(pairs: list[tuple[str, str]]) -> None:
    """By math-verify, in this process."""
    for pair in pairs:
        judge(*pair)


def simple(number: int) -> tuple[str, str]:
    """A number as a model might write it, and the gold one."""
    forms = (f"{number}", f"{number}.50", f"{number}/7", rf"\frac{{{abs(number)}}}{{9}}", f"{number:,}")
    return forms[abs(number) % len(forms)], str(number + number % 2)


def formula(number: int) -> tuple[str, str]:
    """Two spellings of one value, for math-verify to find equal."""
    return rf"{number} + \sqrt{{{abs(number)}}}", rf"\sqrt{{{abs(number)}}} + {number}"


def jail() -> list[BenchRow]:
    """One row: seconds per program with and without isolation, and what is added to running it here (`value`)."""
    with CodeJudge() as jailed, CodeJudge(jail=False) as free:
        here, *seconds = fastest(
            run_here,
            partial(judge_program, jailed),
            partial(judge_program, free),
            repeats=PROGRAMS,
            clock=time.perf_counter,
        )
        what = f"judging a program of ten tests, {jailed.protection}, against limits only"
    return [comparison("verdicts", what, *seconds) | {"value": seconds[0] - here}]


def judge_program(judges: CodeJudge) -> None:
    """Raises AssertionError where the canonical solution is not correct."""
    if judges.judge(PROGRAM, PROBLEM) is not Verdict.CORRECT:
        raise AssertionError("the canonical solution is judged wrong")


def run_here() -> None:
    """The same program and tests without any process of its own."""
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    for arguments in PROBLEM["base_input"]:
        names["f"](*arguments)
