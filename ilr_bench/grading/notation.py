r"""Notations that latex2sympy2_extended reads otherwise than they are meant, or not at all, in ones that it reads."""

from __future__ import annotations

import re

from ilr_bench.grading.math import read_number

TEXT = r"\\(?:text(?:bf|rm|it|sf|tt|normal|up)?|emph|math(?:rm|bf|it|sf)|mbox|hbox|operatorname|rm)\s*"
LETTER = r"(?:[A-Za-z]|\\(?:[a-z]*(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|chi|psi|omega"
LETTER += r"|Delta|Omega|ell|hbar)))"
SYMBOL = rf"{LETTER}(?:\s*_\s*(?:\{{[^{{}}]*\}}|\w))?"

_ORDER = r"(?:\s*\^\s*\{?\s*(?P<order>[1-9])\s*\}?)?"
_DERIVATIVE = re.compile(
    rf"\\frac\s*\{{\s*d{_ORDER}\s*(?P<of>{SYMBOL})\s*(?:\(t\))?\s*\}}"
    r"\s*\{\s*d\s*[A-Za-z](?(order)\s*\^\s*\{?\s*(?P=order)\s*\}?)\s*\}"
)
_DOTTED = re.compile(rf"\\(?P<dots>d{{1,2}})ot\s*(?:\{{\s*(?P<braced>{SYMBOL})\s*\}}|(?P<bare>{SYMBOL}))")
_OF_TIME = re.compile(rf"((?<![A-Za-z\\]){SYMBOL}'*)\s*\(t\)")
_GREEK_PRODUCT = re.compile(r"(\\(?:alpha|beta|lambda|mu|nu|rho|sigma|tau|phi|theta|omega|hbar|pi))\s*(?=\()")

_DEGREE = r"\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z]))"
_ANGLE = r"\s*(-?\s*(?:\\frac\s*\{\s*\d{1,9}\s*\}\s*\{\s*\d{1,9}\s*\}|\d{1,9}(?:\.\d{1,9})?))"
_OF_DEGREES = re.compile(
    r"(?:\\|(?<![A-Za-z\\]))(?P<function>sin|cos|tan|cot|sec|csc)(?![A-Za-z])\s*(?P<power>\^\s*(?:\{\s*\d\s*\}|\d))?"
    rf"(?:{_ANGLE}{_DEGREE}|\s*\({_ANGLE}(?:\s*\){_DEGREE}|{_DEGREE}\s*\))|\s*\{{{_ANGLE}(?:\s*\}}{_DEGREE}|{_DEGREE}\s*\}}))"
)
_CHOOSE = re.compile(
    r"\{\s*([^{}\\]+?)\s*\\choose(?![A-Za-z])\s*([^{}\\]+?)\s*\}|^([^{}\\]+)\\choose(?![A-Za-z])\s*([^{}\\]+)$"
)
_SUBSCRIBED = re.compile(
    r"(?:\{\s*\}|(?<![\w}]))\s*[_^]\s*\{?\s*(\d{1,4})\s*\}?\s*(?:C|\{\s*C\s*\})\s*_\s*(?:\{\s*(\d{1,4})\s*\}|(\d))"
)

_BASE = (
    rf"(?<=[0-9A-Z])\s*(?:{TEXT}\{{\s*\(?(?:in )?base[ -]?\s*(?:\}}\s*(\d+)|(\d+)\)?\s*\}})|\s(?:in )?base[ -](\d+)"
    r"|_\s*\{?\s*\((\d+)\)\s*\}?)$"
)
_END = r"[^\s\[\](),;][^\[\](),;]*"
_USUAL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), usual)
    for pattern, usual in (
        (r"^\\begin\{(align(?:ed)?\*?|gather(?:ed)?\*?|split|equation\*?)\}\s*&?((?:(?!\\\\|&).)*)\\end\{\1\}$", r"\2"),
        (rf"{TEXT}\{{\s*([,;])\s*\}}", r"\1 "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\num\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1 \\text{\2}"),
        (r"\\(?:si|unit)\s*\{", r"\\text{"),
        (r"\s*\\[lc]?dots[a-z]?\s*$", "..."),
        (r"\s*\\(?:blacksquare|square|checkmark|qed|Box)\s*$", ""),
        (r"^\\?#\s*(?=\d)", ""),
        (rf"(?<=\d)\s*\^\s*\{{?\s*(?:{TEXT}\{{)?\s*(?:st|nd|rd|th|o)\s*\}}*$", ""),
        (_BASE, r"_{\1\2\3\4}"),
        (r"^\((-?[0-9A-Z]+)\)\s*_", r"\1_"),
        (r"^\((-?[0-9A-Z]+\s*_\s*\{?\d+\}?)\)$", r"\1"),
        (rf"(^|\\c[ua]p|[\s=])\](\s*{_END}[,;]\s*{_END})(?=[\[\]])", r"\1(\2"),
        (rf"([(\[]\s*{_END}[,;]\s*{_END})\[", r"\1)"),
        (
            rf"^\\\{{\s*({LETTER})\s*(?:\\in\s*(?:\\mathbb\s*\{{?\s*R\s*\}}?|\\R)\s*)?(?::|\\mid|\\vert|\\colon|\|)"
            r"(?=.*[<>=]|.*\\[lg](?:e|t))(.+)\\\}$",
            r"\2",
        ),
        (r"^\\langle(?![A-Za-z])(.*,.*)\\rangle$", r"(\1)"),
        (r"^[A-Z]'?\s*(?=\([^()]*,[^()]*\)$)", ""),
        (rf"^(?:{TEXT}\{{)?\s*(?:positive )?infinity\s*\}}?$", r"\\infty"),
        (rf"^(?:{TEXT}\{{)?\s*negative infinity\s*\}}?$", r"-\\infty"),
        (rf"^(?:{TEXT}\{{)?\s*(?:the )?empty set\s*\}}?$", r"\\emptyset"),
    )
)
"""Rarer notations and the usual ones: aligned lines, `qty`, the end of a proof, ordinals, bases in words, `]0,1[`, sets
of numbers with a property, named points, infinity in words."""


def usual(text: str) -> str:
    """A text without the notations that have a more usual one (`_USUAL`)."""
    for pattern, replacement in _USUAL:
        text = pattern.sub(replacement, text)
    return text


def radians(text: str) -> str:
    r"""`\sin 60^\circ` as `\sin(\frac{1\pi}{3})`; degrees of no function stay as they are."""
    return _OF_DEGREES.sub(_in_radians, text)


def readable(text: str) -> str:
    r"""A cleaned text as the library reads it rightly.

    Derivatives, written with primes, dots or fractions, become symbols, and functions of t stand without it;
    `\omega(v + 1)` is a product, `E_1` a symbol like any other, and `\text{MR}` what MR is.
    `{10 \choose 3}` and `{}_{10}C_3` are `\binom{10}{3}`.
    """
    text = _CHOOSE.sub(lambda found: rf"\binom{{{found[1] or found[3]}}}{{{found[2] or found[4]}}}", text)
    text = _SUBSCRIBED.sub(lambda found: rf"\binom{{{found[1]}}}{{{found[2] or found[3]}}}", text)
    text = _DERIVATIVE.sub(lambda found: found["of"].strip() + "'" * int(found["order"] or 1), text)
    text = _DOTTED.sub(lambda found: (found["braced"] or found["bare"]) + "'" * len(found["dots"]), text)
    text = _OF_TIME.sub(r"\1", text)
    text = re.sub(rf"({SYMBOL})('+)", _as_symbol, text)
    text = re.sub(rf"_\s*\{{\s*{TEXT}\{{\s*(\w+)\s*\}}\s*\}}", r"_{\1}", text)
    text = re.sub(r"_\s*(?:\{\s*\\odot\s*\}|\\odot(?![A-Za-z]))", "_{odot}", text)
    text = re.sub(r"\\(?:text|mathrm)\s*\{\s*([A-Za-z]{2,6})\s*\}", r" \1 ", text)
    text = re.sub(r"(?<![A-Za-z\\])E(?=\s*_)", r"\\Xi ", text)
    text = re.sub(r"\\\\\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\]", r"\\\\", text)
    text = re.sub(r"\\log\s*_\s*(?:\{\s*e\s*\}|e)", r"\\ln ", text)
    text = re.sub(r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi ", text)
    return _GREEK_PRODUCT.sub(r"\1 \\cdot ", text)


def _as_symbol(found: re.Match[str]) -> str:
    name = re.sub(r"\W", "", found[1])
    return rf"\Xi_{{{name}prime{len(found[2])}}}"


def _in_radians(found: re.Match[str]) -> str:
    angle = read_number(next(text for text in found.groups()[2:] if text))
    if angle is None:
        return found[0]
    part = angle.value / 180
    return rf"\{found['function']}{found['power'] or ''}(\frac{{{part.numerator}\pi}}{{{part.denominator}}})"
