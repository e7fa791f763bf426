r"""How the same answer may be written: LaTeX for the eye taken off, plain numbers read, lists and brackets taken apart.

Pure functions on text. What they leave is mathematics, for `ilr_bench.grading.math_worker` to read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ilr_bench.grading.characters import as_latex
from ilr_bench.grading.notation import LETTER, TEXT, radians, usual

Shape = Literal["value", "list", "set", "tuple", "interval"]

_DISPLAY = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|(?:no)?limits|(?:left|right)(?:\s*\.)?|[bB]igg?[lrm]?"
    r"|middle|large|Large|LARGE|huge|Huge)(?![A-Za-z])|\\color\s*\{[^{}]*\}|\\[()]|\*\*"
)
_CURRENCY = re.compile(r"\\?\$|[£€¥₹₩¢]|\\(?:pounds|euro|yen)(?![A-Za-z])|\b(?:US|USD|EUR|GBP|INR|Rs\.?)(?=\s*[\d$])")
_THOUSANDS = re.compile(r"(?<=\d)\s*(?:\\,|\{,\}|,\s*\\!)\s*(?=\d{3}(?!\d))")
_GAP = re.compile(
    r"\\(?:[,;:>!]|(?:q?quad|enspace|thinspace|medspace|thickspace|hfill)(?![A-Za-z]))|\\[hv]space\*?\{[^{}]*\}"
    r"|\\[hv]?phantom\{[^{}]*\}|~|(?<!\\)\\(?=\s|$)"
)
_MATHS_DRESS = re.compile(
    r"\\(?:math(?:bf|rm|it|sf|tt|normal)|boldsymbol|bm|under(?:line|brace)|overbrace|boxed|fbox|textcolor\{\w+\})\s*(?=\{)"
)
_TEXT_DRESS = re.compile(TEXT + r"(?=\{)")
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])")
_PERCENT = re.compile(
    rf"\s*(?:\\?%|{TEXT}\{{\s*(?:percent|per cent|pct|\\?%)\s*\}}|\b(?:percent|per cent|pct)\b)(?:\s+(?=%)|\s*$)?"
)
_HALF_DAY = re.compile(
    r"(\d:\d\d)[\s~]*(?:\\[ ,;])?\s*(\\(?:text|mathrm)\{)?\s*([ap])\.?\s*m\b\.?\s*(?(2)\}?)", re.IGNORECASE
)
_AND = re.compile(
    r"\s*,?\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}"
    r"|(?<![A-Za-z\\{])\b(?:and|or)\b(?![A-Za-z}])|\\(?:lor|vee)(?![A-Za-z])|\\?&)\s*"
)
_BEFORE = re.compile(
    r"^(?:(?:the (?:final )?answer is|answer|approximately|approx\.?|about|roughly|exactly):?\s+"
    rf"|{TEXT}\{{[^{{}}]*(?: (?:is|are|about|exactly):?|:)\s*\}}(?=.)"
    r"|\\(?:therefore|Rightarrow|Longrightarrow|implies|rightarrow|to)(?![A-Za-z])\s*(?=.))",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"\\(?:approx|simeq|doteq)(?![A-Za-z])|~=")
_EQUALS = re.compile(r"(?<![<>!\\])=")

_SUFFIX = r"(?:\s*_\s*(?:\{[^{}]*\}|\w)|\s*'|\s*\([A-Za-z0-9, ]*\))*"
_SINGLE_NAME = rf"{LETTER}{_SUFFIX}"
_NAME = re.compile(
    rf"(?P<name>{_SINGLE_NAME}|\\dd?ot\s*\{{[^{{}}]*\}}|\\frac\s*\{{\s*d[^{{}}]*\}}\s*\{{\s*d[^{{}}]*\}}|\\(?:angle|triangle)[^=<>,\d]*(?:_\s*\{{?\d\}}?)?"
    rf"|{TEXT}\{{[^{{}}]*\}}(?:\s*\([^()]*\))?|\([A-Za-z, ]+\)|\|[^|=]*\|)"
    r"\s*(?P<sign>=|:=|\\(?:in|colon(?:eqq?)?)(?![A-Za-z]))\s*"
)
_LONG_NAME = re.compile(
    r"(?P<name>[A-Z]?[A-Za-z' ]{1,40}(?:\([^()=]*\))?)\s*(?P<sign>=|(?<=[a-z]{3}):|:(?!\s*\d*$))\s*"
)

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NO_UNITS = frozenset(
    "or and not nor to than if mod modulo base over under times plus minus squared cubed factorial half pi sqrt root e"
    " infinity infinite dozen score unless else either neither between quarter third x y z n i".split()
)
_WORD = r"(?:[A-Za-z]{1,2}[23](?![A-Za-z0-9])|[A-Za-zµΩ]+(?:\s*\^\s*\{?-?[1-9]\}?)?)"
_UNIT_TEXT = rf"(?:{TEXT}\{{[^{{}}]*\}}(?:\s*\^\s*(?:\{{\s*-?\d\s*\}}|-?\d))?|\\(?:Omega|mu)(?![A-Za-z]))"
_UNIT_JOIN = r"(?:\\cdot|\\times|[*/.\s])*"
_UNIT = re.compile(
    rf"(?P<unit>(?<![*/.\s])(?:{_UNIT_JOIN}(?:{_UNIT_TEXT}|\\frac\s*\{{\s*(?:{_UNIT_TEXT})+\s*\}}\s*\{{\s*(?:{_UNIT_TEXT})+\s*\}}))+[.\s]*)$"
)
_BARE_UNIT = re.compile(rf"(?:(?<=[\d}}).])|(?<=\\pi))\s*(?P<unit>{_WORD}(?:(?:\s*/\s*|[\s.-]+){_WORD})*\.?)$")
_LONGEST_UNIT = 300
_ONE_LETTER_UNITS = frozenset("msghLlJNKWVACFTHΩ")

_JOINED = re.compile(r"(?<![\d.,(\[])(?<!\\\{)\d{1,3}(?:,\d{3})+(?![\d,)\]]|\\\})", re.ASCII)
_BASE = re.compile(
    r"(?P<digits>-?[0-9A-Za-z]+)\s*_\s*\{?\s*(?:\\text\s*\{)?\s*(?P<base>\d+|[a-z]{3,8})\s*\}*", re.ASCII
)
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
          "ten": "10", "twelve": "12", "sixteen": "16"}  # fmt: skip
_COMMAND = re.compile(r"\\(frac|sqrt)(?![A-Za-z])(\s*\[[^\[\]]*\])?")
_ARGUMENT = re.compile(r"\s*([{(]|\\[A-Za-z]+|[0-9A-Za-z])")
_LAYERS = 20
"""Pairs of braces, full stops and commands around a whole text that are taken off; more are no answer's."""
_OPEN, _CLOSE = "([{", ")]}"
_OPENING, _CLOSING = (*_OPEN, r"\langle", r"\lbrace"), (*_CLOSE, r"\rangle", r"\rbrace")
_MARK = re.compile(r"[][(){},;]|\\[lr](?:angle|brace)(?![A-Za-z])")


@dataclass(frozen=True)
class Form:
    """An answer taken apart: a `list` is `1, 2` or `[1, 2, 3]`, a `tuple` `(1, 2)`, an `interval` `[1, 2)`."""

    shape: Shape
    parts: tuple[str, ...]
    brackets: str = ""


def clean(text: str) -> str:
    r"""The text without what only changes its looks: spacing, sizes, bold, currency signs, degrees, a full stop.

    Per cent, in each of its spellings, is `%` without space before it. Arguments of `\frac` and `\sqrt` get braces.
    """
    text = " ".join(as_latex(text).split())
    text = _THOUSANDS.sub("", text)
    text = _DISPLAY.sub("", text)
    text = re.sub(r"\\(?:[dtcs]|nice)frac(?![A-Za-z])", r"\\frac", text)
    text = text.replace(r"\%", "%")
    text = _HALF_DAY.sub(r"\1 \3m", re.sub(r"\\text\{\s*:\s*\}|\{:\}", ":", text))
    if "matrix" not in text and "array" not in text:
        text = text.replace("\\\\", "\\") if re.search(r"\\\\[A-Za-z]", text) else text
        text = text.replace(r"\[", "").replace(r"\]", "")
    text = _CURRENCY.sub("", text)
    text = " ".join(_GAP.sub(" ", text).replace("{,}", ",").split())
    text = _DEGREES.sub(" ", radians(text))
    text = re.sub(r"\\varnothing(?![A-Za-z])|^\\\{\s*\\\}$", r"\\emptyset", text)
    text = re.sub(r"\^\s*(?:\{\s*((?:\\prime\s*)+)\}|\\prime(?![A-Za-z]))", lambda m: "'" * (m[0].count("prime")), text)
    text = " ".join(usual(text).split())
    for _ in range(_LAYERS):
        bare = text
        text = re.sub(r"(?:\\\\|\\text\{\s*\.\s*\})$", "", text).strip(" ,;:")
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
        text = _undressed(text)
        text = _BEFORE.sub("", text, count=1)
        if bare == text:
            break
    return _braced(_PERCENT.sub("%", text)).strip()


def key(text: str) -> str:
    """The same for texts that differ in needless braces and white space only; `2 1/2` is not `21/2`."""
    text = re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)
    text = re.sub(r"([_^])\{(\w|\\[A-Za-z]+)\}", r"\1\2", text)
    return re.sub(r"\\(?:text|mathrm)(?=\{)", "", text)


def words(text: str) -> str | None:
    r"""Lower-case words of an answer that is nothing but words (`\text{(C)}`, `even`); None for any other."""
    inner = _TEXT_DRESS.sub("", text)
    if inner == text and not re.fullmatch(r"\(?[A-Z]\)?|[A-Za-z]{3,}(?: [A-Za-z]+)*", text):
        return None
    inner = re.sub(r"[{}()\s.]+", " ", inner).strip()
    return inner.lower() if re.fullmatch(r"[A-Za-z' -]+", inner) else None


def joined(text: str) -> str:
    """Numbers without the commas between their thousands, but for those that brackets hold: `(1,234)` is a pair."""
    return _JOINED.sub(lambda found: found[0].replace(",", ""), text)


def take_apart(text: str) -> Form:
    r"""The shape of a cleaned text. `a \pm b` is a list of two."""
    if r"\begin" in text:
        return Form("value", (text,))
    parts = _split(text)
    if len(parts) > 1:
        return Form("list", _both_signs(parts))
    if (pair := _enclosing(text)) is None:
        return Form("list", both) if len(both := _both_signs((text,))) > 1 else Form("value", (text,))
    opening, inner, closing = pair
    parts = _split(inner)
    if opening == r"\{":
        return Form("set", _both_signs(parts))
    if len(parts) == 1:
        return Form("value", (text,))
    if opening + closing == "[]" and len(parts) > 2:
        return Form("list", parts, "[]")
    if opening + closing in ("()", r"\langle\rangle"):
        return Form("tuple", parts, "()")
    return Form("interval", parts, opening + closing)


def split_name(text: str, long: bool = False) -> tuple[str | None, str]:
    r"""`x = 5` as `("x", "5")`, `x \in S` as `("x", "S")`; the name is None where there is none.

    A name is one letter with what hangs on it, an angle, a derivative, or text; `long` ones are plain words as well.
    """
    found = _NAME.match(text) or (_LONG_NAME.match(text) if long else None)
    if found is None or not text[found.end() :].strip():
        return None, text
    return found["name"].strip(), text[found.end() :].strip()


def exact_part(text: str) -> tuple[str, str]:
    r"""What stands before and after the first `\approx`; twice the same text without one."""
    found = _ABOUT.search(text)
    if found is None:
        return text, text
    before, after = text[: found.start()].strip(), text[found.end() :].strip()
    return before or after, after or before


def without_unit(text: str, bare: bool) -> str:
    r"""A quantity without its unit in `\text{}`, or, where `bare`, in plain words. `18 million` is multiplied."""
    found = _UNIT.search(text, max(0, len(text) - _LONGEST_UNIT))
    if found is not None and found.start() > 0:
        spoken = re.sub(_TEXT_DRESS, " ", found["unit"])
        named = re.findall(r"\\?[A-Za-z]+", spoken)
        scale = _SCALES.get(named[0]) if named else None
        if scale is not None:
            return rf"{text[: found.start()].strip()} \times 10^{{{scale}}}" if bare else text
        if named and not re.search(r"\d{2}", spoken) and not _NO_UNITS.intersection(named) - set("xyzni"):
            text = text[: found.start()].strip()
    found = _BARE_UNIT.search(text, max(0, len(text) - _LONGEST_UNIT)) if bare else None
    if found is None:
        return text
    named = re.findall(r"[A-Za-zµΩ]+", found["unit"])
    value = text[: found.start()].strip()
    scale = _SCALES.get(named[0].lower())
    if scale is not None:
        return rf"{value} \times 10^{{{scale}}}"
    one = len(named) == 1 and len(named[0]) == 1
    spelled = {word if word in _ONE_LETTER_UNITS else word.lower() for word in named}
    if spelled & _NO_UNITS or (one and named[0] not in _ONE_LETTER_UNITS):
        return text
    return value


def last_power(text: str) -> str | None:
    """The power of the unit at the end of a text (`15 cm^2`); None without one."""
    found = re.search(r"[A-Za-z}]\s*\^\s*\{?\s*(\d)\s*\}?$", text)
    return None if found is None else found[1]


def based(text: str) -> tuple[str, str] | None:
    """Digits and base of `2516_8`; None for any other text."""
    found = _BASE.fullmatch(text)
    if found is None or not found["digits"].lstrip("-")[:1].isdigit():
        return None
    return found["digits"].upper(), _BASES.get(found["base"], found["base"])


def sides(text: str) -> list[str]:
    """What stands between the equal signs of a text."""
    return [side.strip() for side in _EQUALS.split(text)]


def has_letters(text: str) -> bool:
    """Whether there are letters besides LaTeX's commands: variables, units, words."""
    return re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)) is not None


def _undressed(text: str) -> str:
    r"""Without the one command that the whole text is the argument of, braces around it all, and trailing `\\`."""
    for dress in (_MATHS_DRESS, _TEXT_DRESS):
        found = dress.match(text)
        if found is not None and _closing(text, found.end()) == len(text) - 1:
            inner = text[found.end() + 1 : -1].strip()
            if dress is _MATHS_DRESS or any(letter.isdigit() for letter in inner):
                return inner
    if text.startswith("{") and _closing(text, 0) == len(text) - 1:
        return text[1:-1].strip()
    return text


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`; -1 without one. Kinds of brackets may be mixed."""
    return _pairs(text[start:]).get(0, -1 - start) + start


def _pairs(text: str) -> dict[int, int]:
    """Index of each opening bracket that is closed -> index of the one that closes it, in one walk over the text."""
    pairs, opened, index = {}, [], 0
    while index < len(text):
        if text[index] == "\\":
            index += 1
            if text[index : index + 1] not in "{}" or index >= len(text):
                index += 1
                continue
        if text[index] in _OPEN:
            opened.append(index)
        elif text[index] in _CLOSE and opened:
            pairs[opened.pop()] = index
        index += 1
    return pairs


def _split(text: str) -> tuple[str, ...]:
    """The parts between commas, semicolons and the words and, or, that no bracket holds."""
    text = _AND.sub(" , ", text)
    parts, depth, start = [], 0, 0
    for mark in _MARK.finditer(text):
        depth += (mark[0] in _OPENING) - (mark[0] in _CLOSING)
        if mark[0] in ",;" and depth == 0:
            parts.append(text[start : mark.start()])
            start = mark.end()
    parts.append(text[start:])
    return tuple(part.strip() for part in parts if part.strip()) or (text,)


def _enclosing(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, inside and closing bracket of a text that one pair of brackets holds."""
    text = text.replace(r"\lbrace", r"\{").replace(r"\rbrace", r"\}")
    for opening, closing in ((r"\{", r"\}"), (r"\langle", r"\rangle")):
        if text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            return None if opening in inner and closing in inner and inner.find(closing) < inner.find(opening) else (
                opening, inner.strip(), closing
            )  # fmt: skip
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and _closing(text, 0) == len(text) - 1:
        return text[0], text[1:-1].strip(), text[-1]
    return None


def _both_signs(parts: tuple[str, ...]) -> tuple[str, ...]:
    spread = []
    for part in parts:
        if len(re.findall(r"\\(?:pm|mp)(?![A-Za-z])", part)) == 1:
            spread += [re.sub(r"\\(?:pm|mp)(?![A-Za-z])", sign, part) for sign in "+-"]
        else:
            spread.append(part)
    return tuple(part.removeprefix("+").strip() for part in spread)


def _braced(text: str) -> str:
    r"""`\frac\pi2` as `\frac{\pi}{2}`, `\sqrt3` as `\sqrt{3}`."""
    pairs, edits, arguments = _pairs(text), [], set()
    for found in _COMMAND.finditer(text):
        if found.start() in arguments:
            continue
        place = found.end()
        for _ in range(2 if found[1] == "frac" else 1):
            argument = _ARGUMENT.match(text, place)
            if argument is None:
                break
            start, end = argument.span(1)
            if argument[1] == "(":
                if found[1] == "sqrt" and start in pairs:
                    edits += [(place, end, "{"), (pairs[start], pairs[start] + 1, "}")]
                break
            if argument[1] != "{":
                edits.append((place, end, f"{{{argument[1]}}}"))
                arguments.add(start)
                place = end
            elif start in pairs:
                edits.append((place, start, ""))
                place = pairs[start] + 1
            else:
                break
    pieces, place = [], 0
    for start, end, made in sorted(edits):
        pieces += [text[place:start], made]
        place = end
    return "".join([*pieces, text[place:]])
