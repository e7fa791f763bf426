r"""Inequalities in one letter as the intervals that they mean."""

from __future__ import annotations

import re
from fractions import Fraction

from ilr_bench.grading.forms import has_letters
from ilr_bench.grading.math import read_number, written
from ilr_bench.grading.notation import SYMBOL

_RELATION = re.compile(r"\\(?:n?eq?|[lg](?:eq?|eqslant|eqq|t))(?![A-Za-z])|[<>]")
_ORDER_SIGN = re.compile(r"\\([lg])(?:(e)q?|(e)qslant|t)(?![A-Za-z])|([<>])(=?)")
_OR = re.compile(r"\s*(?:\\text\s*\{\s*or\s*\}|\bor\b|\\(?:lor|vee)(?![A-Za-z]))\s*")
_BAR = r"(?:\||\\[lr]?vert(?![A-Za-z])|\\mid(?![A-Za-z]))"
_ABSOLUTE = re.compile(rf"{_BAR}\s*({SYMBOL})\s*(?:([+-])\s*([^|]+?)\s*)?{_BAR}")


def is_relation(text: str) -> bool:
    """Whether a text is an inequality."""
    return _RELATION.search(text) is not None


def as_union(text: str) -> tuple[str, str] | None:
    r"""The letter of an inequality and its intervals: `x < 1 or x \ge 2` as `x` and `(-\infty,1)\cup[2,\infty)`.

    `|x - 3| < 2` is `(1,5)`. None for any other. A chain reads either way round.
    """
    found = [_interval(part) for part in _OR.split(text)]
    known = [one for one in found if one is not None]
    alike = len(known) == len(found) and len({letter for letter, _ in known}) == 1
    return (known[0][0], r"\cup".join(interval for _, interval in known)) if alike else None


def _interval(text: str) -> tuple[str, str] | None:
    signs = list(_ORDER_SIGN.finditer(text))
    ends = [0, *(end for sign in signs for end in sign.span()), len(text)]
    terms = [text[start:end].strip() for start, end in zip(ends[::2], ends[1::2], strict=True)]
    upwards = {(sign[1] or sign[4]) in ("l", "<") for sign in signs}
    closed = [bool(sign[2] or sign[3] or sign[5]) for sign in signs]
    if len(signs) not in (1, 2) or len(upwards) > 1 or not all(terms) or any("," in term for term in terms):
        return None
    if not upwards.pop():
        terms, closed = terms[::-1], closed[::-1]
    if len(terms) == 2:
        for place, sign in enumerate("<>"):
            if (absolute := _ABSOLUTE.fullmatch(terms[place])) is not None:
                return _around(absolute, terms[1 - place], sign, closed[0])
    named = [place for place, term in enumerate(terms) if has_letters(term) or re.fullmatch(SYMBOL, term)]
    if len(named) != 1 or (len(terms) == 3 and named != [1]) or not re.fullmatch(SYMBOL, terms[place := named[0]]):
        return None
    below = ("[" if closed[0] else "(") + terms[place - 1] if place else r"(-\infty"
    above = terms[place + 1] + ("]" if closed[-1] else ")") if place + 1 < len(terms) else r"\infty)"
    return terms[place], f"{below},{above}"


def _around(absolute: re.Match[str], distance: str, sign: str, closed: bool) -> tuple[str, str] | None:
    """The letter, and the numbers nearer to a middle than a distance (`<`), or farther from it."""
    size = read_number(distance)
    middle = Fraction(0)
    if absolute[3]:
        moved = read_number(absolute[3])
        if moved is None or size is None:
            return None
        middle = moved.value if absolute[2] == "-" else -moved.value
    if (size is not None and size.value <= 0) or (
        size is None and (has_letters(distance) or re.search("[-+]", distance))
    ):
        return None
    if size is None:
        low, high = f"-{distance}", distance
    else:
        low, high = (written(middle + side * size.value) for side in (-1, 1))
    if sign == "<":
        return absolute[1], f"{'[' if closed else '('}{low},{high}{']' if closed else ')'}"
    return absolute[1], rf"(-\infty,{low}{']' if closed else ')'}\cup{'[' if closed else '('}{high},\infty)"
