"""Answers in, verdicts out.

Whether an answer equals the gold one is math-verify's decision. Hostile answers respect no time limit of its
own (`9^{9^{9^{9}}}` keeps one C call busy for minutes), so it runs in a process that may be killed. Plain
numbers, nearly all that small models answer, never leave this process: `compare_numbers` decides them as
math-verify would.

One thing is stricter than in math-verify, see `ilr_bench.grading_worker`: where the gold answer is a number,
arithmetic left undone is no answer, or copying `3+5` into the box would earn the point for 8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fractions import Fraction
from types import TracebackType

from ilr_bench.records import Verdict
from ilr_bench.workers import KillableWorker

CPU_SECONDS = 1.0
"""CPU time that one comparison may take, counted from its own beginning."""

_NUMBER = re.compile(r"(-?[0-9]{1,9})(?:(\.[0-9]{1,4})|/([0-9]{1,9}))?", re.ASCII)
_ROUNDING = Fraction(1, 10**5)
"""math-verify rounds decimals to 1e-6 before it compares them; anything this close is left to it."""


def compare_numbers(answer: str, gold: str) -> bool | None:
    """Whether two plain integers, decimals or fractions are equal; None where math-verify must decide.

    Plain: at most nine digits, four decimals, no sign but a leading minus, no LaTeX.
    """
    ours, theirs = _NUMBER.fullmatch(answer), _NUMBER.fullmatch(gold)
    if ours is None or theirs is None:
        return None
    if ours.lastindex == 1 and theirs.lastindex == 1:
        return int(answer) == int(gold)
    if not (_defined(ours) and _defined(theirs)):
        return None
    difference = abs(Fraction(answer) - Fraction(gold))
    return None if 0 < difference < _ROUNDING else difference == 0


class Grader:
    """Grades answers; starts its worker when an answer first needs one. Close it, or use it in a `with`."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS) -> None:
        """`cpu_seconds` limits one comparison."""
        self._worker = KillableWorker("ilr_bench.grading_worker", cpu_seconds)
        self._known: dict[tuple[str, str], Verdict] = {}

    @property
    def worker_pid(self) -> int | None:
        """Id of the worker process; None while no answer has needed one."""
        return self._worker.pid

    def grade(self, pairs: Sequence[tuple[str | None, str]]) -> list[Verdict]:
        """The verdict of each (answer, gold) pair: CORRECT, WRONG, MISSING (no answer) or TIMEOUT.

        TIMEOUT means that the comparison took too long or brought its worker down. Raises MissingInputError
        where no worker can be started (math-verify is not installed).
        """
        return [self._grade(answer, gold) for answer, gold in pairs]

    def close(self) -> None:
        """Ends the worker; the grader can be used again."""
        self._worker.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _grade(self, answer: str | None, gold: str) -> Verdict:
        if answer is None or not answer.strip():
            return Verdict.MISSING
        pair = (answer.strip(), gold.strip())
        equal = compare_numbers(*pair)
        if equal is not None:
            return Verdict.CORRECT if equal else Verdict.WRONG
        if pair not in self._known:
            # Models repeat themselves: a hostile answer must cost its time limit once, not once per sample.
            reply = self._worker.ask(json.dumps(pair))
            self._known[pair] = Verdict.TIMEOUT if reply is None else Verdict(reply)
        return self._known[pair]


def _defined(number: re.Match[str]) -> bool:
    return number.group(3) is None or int(number.group(3)) != 0
