"""The process behind `ilr_bench.grading.math.Grader`, run as `python -m ilr_bench.grading.math_worker CPU_SECONDS`."""

from __future__ import annotations

import json
import logging
import re
from functools import lru_cache

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Add, Basic, Eq, Integer, Mul, Number, preorder_traversal  # type: ignore[import-untyped]

from ilr_bench.grading.killable_pool import serve
from ilr_bench.storage.records import Verdict

MEMORY_BYTES = 2 << 30
_EXTRACTION = (LatexExtractionConfig(boxed_match_priority=0),)
_SCIENTIFIC = re.compile(r"(-?\d+(?:\.\d+)?)[eE]([+-]?\d+)", re.ASCII)
_WARM_UP = (("3+5", "8"), (r"\frac{1}{2}", "0.5"), (r"2\sqrt{3}", r"\sqrt{12}"), ("x=3", "3"), ("(1,2)", "[1,2]"))


def judge(answer: str, gold: str) -> Verdict:
    r"""CORRECT or WRONG: math-verify on both texts as `\boxed{}`, and `finished` where the gold is a number.

    Where the gold is written as `4.5e33`, it is read as 4.5 x 10^33, and so is an answer of that form; math-verify
    would take the `e` for Euler's number.
    """
    if _SCIENTIFIC.fullmatch(gold):
        answer, gold = _powers_of_ten(answer), _powers_of_ten(gold)
    ours, theirs = _parse(answer), _parse(gold)
    equal = verify(theirs, ours, timeout_seconds=None)
    if equal and isinstance(theirs[0], Number):
        equal = isinstance(ours[0], Basic) and finished(ours[0])
    return Verdict.CORRECT if equal else Verdict.WRONG


def finished(expression: Basic) -> bool:
    """Whether an answer to a numeric question is a number rather than a calculation.

    Sums, and products of integers, are calculations; fractions, powers, roots and scientific notation are
    not. Of an equation the right side counts, as in math-verify.
    """
    if isinstance(expression, Eq):
        expression = expression.rhs
    for node in preorder_traversal(expression):
        if isinstance(node, Add):
            return False
        if isinstance(node, Mul) and sum(isinstance(part, Integer) and part != -1 for part in node.args) > 1:
            return False
    return True


def _powers_of_ten(text: str) -> str:
    number = _SCIENTIFIC.fullmatch(text)
    return text if number is None else rf"{number[1]} \times 10^{{{int(number[2])}}}"


@lru_cache(maxsize=4096)
def _parse(text: str) -> list[Basic | str]:
    parsed: list[Basic | str] = parse(rf"\boxed{{{text}}}", _EXTRACTION, parsing_timeout=None)
    return parsed


def _reply(request: str) -> str:
    answer, gold = json.loads(request)
    return judge(answer, gold)


def main() -> None:
    """Answers one JSON line `[answer, gold]` after the other."""
    logging.disable(logging.CRITICAL)
    for pair in _WARM_UP:
        # The limit is for the answer, not for what sympy imports and compiles when first used.
        judge(*pair)
    # Not isolated: sympy imports parts of itself when a formula first needs them.
    serve(_reply, MEMORY_BYTES, isolated=False)


if __name__ == "__main__":
    main()
