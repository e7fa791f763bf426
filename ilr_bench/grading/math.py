"""Verdicts on answers: equal to the gold one or not.

math-verify decides. Hostile answers respect no time limit of its own (`9^{9^{9^{9}}}` keeps one C call busy for
minutes), so it runs in processes that may be killed. Plain numbers, nearly all that small models answer, never leave
this process: `compare_numbers` decides them as math-verify would.

Where math-verify is not followed (`grading.math_worker`): where the gold answer is a number, arithmetic left undone is
no answer, or copying `3+5` into the box would earn the point for 8; and a gold such as `4.5e33` is a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ilr_bench.core.hardware import cores
from ilr_bench.grading.killable_pool import KillablePool, ProcessOwner
from ilr_bench.storage.records import Verdict

CPU_SECONDS = 1.0
"""CPU time that one comparison may take, counted from its own beginning."""
LONGEST = 10_000
"""Characters; what is longer is no answer to anything, and wrong unread."""

_NUMBER = re.compile(
    r"(?P<sign>-?)(?:(?P<whole>[0-9]{1,9}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,2})(?P<decimals>\.[0-9]{1,4})?"
    r"|(?P<above>[0-9]{1,9})/(?P<below>[0-9]{1,9})"
    r"|\\[dt]?frac\{(?P<over>[0-9]{1,9})\}\{(?P<under>[0-9]{1,9})\})",
    re.ASCII,
)
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)(?:\.\d*)?|\.\d+"
_POWER = r"(?:\{\s*[+-]?\d{1,3}\s*\}|[+-]?\d{1,3})"
_PLAIN = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:(?P<decimal>{_DECIMAL})"
    rf"(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?P<power>{_POWER})|[eE](?P<e>[+-]?\d{{1,3}}))?"
    rf"|10\s*\^\s*(?P<ten>{_POWER}))",
    re.ASCII,
)
_FRACTION = re.compile(
    r"(?P<sign>[+-]?)\s*(?:(?P<whole>\d{1,50})(?:\s+(?=\d)|\s*(?=\\)))?(?:(?P<above>\d{1,50})\s*/\s*(?P<below>\d{1,50})"
    r"|\\frac\s*\{\s*(?P<over>-?\d{1,50})\s*\}\s*\{\s*(?P<under>\d{1,50})\s*\})",
    re.ASCII,
)
_REPEATING = re.compile(
    r"(?P<sign>-?)(?P<whole>\d{0,20})\.(?P<start>\d{0,20})\\(?:overline|bar|dot)\s*\{?\s*(?P<cycle>\d{1,20})\s*\}?",
    re.ASCII,
)
_LONGEST_NUMBER = 100
ROUNDING = Fraction(1, 10**12)
"""Relative difference below which a decimal and an exact number are equal; floats are written with more digits."""
_FLOAT_DIGITS = 15
"""A decimal of so many digits is a float's, which is rounded wherever it comes from."""
_LEAST_DIGITS = 2
_UNCLEAR = Fraction(1, 10**5)
"""math-verify rounds decimals to 1e-6 before it compares them; anything this close is left to it."""


@dataclass(frozen=True)
class PlainNumber:
    """A number written out."""

    value: Fraction
    digits: int | None
    """Significant digits; None where it is exact as it stands (a fraction, a repeating decimal)."""
    rounded: bool
    """Whether it has a decimal point, so that it may be a float's rounding."""


def compare_numbers(answer: str, gold: str) -> bool | None:
    r"""Whether two plain integers, decimals or fractions are equal; None where math-verify must decide.

    Plain: at most nine digits and four decimals, no sign but a leading minus, commas between thousands only, a
    fraction as `3/4` or `\frac{3}{4}`.
    """
    ours, theirs = _value(answer), _value(gold)
    if ours is None or theirs is None:
        return None
    difference = abs(ours - theirs)
    return None if 0 < difference < _UNCLEAR else difference == 0


def read_number(text: str) -> PlainNumber | None:
    r"""The number that a text is (decimal, `1,000`, `4.5e33`, `3 \times 10^{8}`, `1 1/2`); None where it is none."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if plain := _PLAIN.fullmatch(text):
        sign = -1 if plain["sign"] == "-" else 1
        if plain["decimal"] is None:
            return PlainNumber(sign * _ten(plain["ten"]), None, rounded=False)
        mantissa = re.sub("[, ]", "", plain["decimal"])
        value = Fraction(f"0{mantissa}")
        digits = len(mantissa.replace(".", "").lstrip("0")) or 1
        scale = _ten(plain["power"] or plain["e"] or "0")
        return PlainNumber(sign * value * scale, digits, rounded="." in mantissa)
    if fraction := _FRACTION.fullmatch(text):
        above, below = int(fraction["above"] or fraction["over"]), int(fraction["below"] or fraction["under"])
        if below == 0 or (fraction["whole"] and above < 0):
            return None
        value = Fraction(above, below) + int(fraction["whole"] or 0)
        return PlainNumber(-value if fraction["sign"] == "-" else value, None, rounded=False)
    if repeating := _REPEATING.fullmatch(text):
        start, cycle = repeating["start"], repeating["cycle"]
        tail = Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(start))
        value = int(repeating["whole"] or 0) + Fraction(int(start or 0), 10 ** len(start)) + tail
        return PlainNumber(-value if repeating["sign"] else value, None, rounded=False)
    return None


def written(value: Fraction) -> str:
    r"""A fraction as LaTeX: `-\frac{1}{2}`, `3`."""
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}" if value.denominator > 1 else str(value)


def same_number(ours: PlainNumber, theirs: PlainNumber, measured: bool) -> bool:
    """Whether two numbers are equal, or, where `measured`, the first is the second, rounded to the first's digits."""
    difference = abs(ours.value - theirs.value)
    if difference == 0:
        return True
    if measured and ours.digits is not None:
        return is_rounding(ours.value, ours.digits, theirs.value)
    either = (ours.rounded and (theirs.digits is None or (ours.digits or 0) >= _FLOAT_DIGITS)) or (
        theirs.rounded and ours.digits is None
    )
    return either and difference < ROUNDING * abs(theirs.value)


def is_rounding(value: Fraction, digits: int, gold: Fraction) -> bool:
    """Whether `value`, written with so many digits, is what `gold` is rounded to; halves may go either way."""
    if gold == 0:
        return False
    exponent, size = 0, abs(gold)
    while size >= 10:
        size, exponent = size / 10, exponent + 1
    while size < 1:
        size, exponent = size * 10, exponent - 1
    unit = Fraction(10) ** (exponent - max(digits, _LEAST_DIGITS) + 1)
    return abs(value - gold) <= unit / 2


def reject_question_echo(answer: str | None, question: str) -> str | None:
    r"""The answer, or None where it repeats the whole question.

    math-verify would find in "Simplify $\sqrt{242}$." what the gold answer is equal to.
    """
    return None if answer is not None and question.strip() in answer else answer


class Grader(ProcessOwner):
    """Grades answers; starts its workers when an answer first needs one. Close it, or use it in a `with`."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS, workers: int | None = None) -> None:
        """`cpu_seconds` limits one comparison; as many `workers` compare at a time (default: a process per core)."""
        self._worker = KillablePool("ilr_bench.grading.math_worker", cpu_seconds, workers or min(cores(), 8))
        self._known: dict[tuple[str, str, bool], Verdict] = {}

    @property
    def worker_pid(self) -> int | None:
        """Id of the worker's process group; None while no answer has needed one."""
        return self._worker.pid

    def grade(self, pairs: Sequence[tuple[str | None, str]], measured: bool = False) -> list[Verdict]:
        """The verdict of each (answer, gold) pair: CORRECT, WRONG, MISSING (no answer) or TIMEOUT.

        An answer of several boxes (`tasks.types.boxed_answer`) is CORRECT where each of them is, and else none.
        `measured`: golds are measured quantities (`math_worker.judge`). TIMEOUT means that the comparison took too long
        or brought its worker down. Raises MissingInputError where no worker can be started (math-verify is not
        installed).
        """
        asked = [(answer.strip() if answer is not None else "", gold.strip(), measured) for answer, gold in pairs]
        quick = {pair: _quick(*pair) for pair in dict.fromkeys(asked)}
        # Models repeat themselves: a hostile answer must cost its time limit once, not once per sample.
        unknown = [pair for pair, verdict in quick.items() if verdict is None and pair not in self._known]
        if unknown:
            replies = self._worker.ask_many([json.dumps(pair) for pair in unknown])
            for pair, reply in zip(unknown, replies, strict=True):
                self._known[pair] = Verdict.TIMEOUT if reply is None else Verdict(reply)
        return [quick[pair] or self._known[pair] for pair in asked]

    def close(self) -> None:
        """See `ProcessOwner.close`."""
        self._worker.close()


def _quick(answer: str, gold: str, measured: bool) -> Verdict | None:
    """The verdict where it needs no worker."""
    if not answer:
        return Verdict.MISSING
    if len(answer) > LONGEST:
        return Verdict.WRONG
    equal = compare_numbers(answer, gold)
    undecided = equal is None or (measured and not equal)
    return None if undecided else Verdict.CORRECT if equal else Verdict.WRONG


def _value(text: str) -> Fraction | None:
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    below = number["below"] or number["under"] or "1"
    above = number["above"] or number["over"] or number["whole"].replace(",", "") + (number["decimals"] or "")
    return Fraction(number["sign"] + above) / int(below) if int(below) else None


def _ten(power: str) -> Fraction:
    return Fraction(10) ** int(power.strip("{ }"))
