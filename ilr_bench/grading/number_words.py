"""Numbers in English words: `twelve`, `one hundred and five`, `three quarters`, `two and a half`, `one point five`."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "fifteenth": 15, "sixteenth": 16, "twentieth": 20, "hundredth": 100,
    "thousandth": 1000,
}  # fmt: skip
_MANY_PARTS = {"halves" if part == "half" else f"{part}s": size for part, size in _PARTS.items()}
_NUMBER_WORDS = frozenset(("a", "and", "point", "hundred", *_SMALL, *_SCALES, *_PARTS, *_MANY_PARTS))
_DRESS = re.compile(r"\\(?:text(?:bf|rm|it|sf|tt|normal|up)?|emph|math(?:rm|bf|it|sf)|mbox|hbox)\s*\{([A-Za-z -]+)\}")
_MOST_WORDS = 30


def in_digits(text: str) -> tuple[Fraction, str] | None:
    r"""The number that a text begins with, in words, and the words behind it; None for any other text.

    Behind it no word is left that a number may be made of: `twelve thirteen` and `two and three` are no numbers.
    """
    plain = " ".join(_DRESS.sub(r" \1 ", text).split()).lower()
    words = re.split("[ -]", plain)
    if len(words) > _MOST_WORDS or not all(word.isascii() and word.isalpha() for word in words):
        return None
    negative = words[0] in ("minus", "negative")
    words = words[1:] if negative else words
    length = next((n for n, word in enumerate(words) if word not in _NUMBER_WORDS), len(words))
    value = _value(words[:length])
    return None if value is None else (-value if negative else value, " ".join(words[length:]))


def _value(words: list[str]) -> Fraction | None:
    """What all of these words together say."""
    if "point" in words:
        place = words.index("point")
        whole, digits = _whole(words[:place]), [_SMALL.get(word, 10) for word in words[place + 1 :]]
        if whole is None or not digits or max(digits) > 9:
            return None
        return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))
    if words and (words[-1] in _PARTS or words[-1] in _MANY_PARTS):
        return _with_parts(words)
    whole = _whole(words)
    return None if whole is None else Fraction(whole)


def _with_parts(words: list[str]) -> Fraction | None:
    """`three quarters`, `half`, `two and a half`: one part is singular, several are plural."""
    *counted, last = words
    whole = 0
    if "and" in counted:
        place = len(counted) - 1 - counted[::-1].index("and")
        before = _whole(counted[:place])
        if before is None or not counted[place + 1 :]:
            return None
        whole, counted = before, counted[place + 1 :]
    number = 1 if counted == ["a"] or (not counted and last == "half") else _whole(counted)
    if number is None or (number == 1) != (last in _PARTS):
        return None
    return whole + Fraction(number, _PARTS[last] if number == 1 else _MANY_PARTS[last])


def _whole(words: list[str]) -> int | None:
    total, group, scale = 0, None, math.inf
    for index, word in enumerate(words):
        if word == "and":
            if index in (0, len(words) - 1) or words[index - 1] not in ("hundred", *_SCALES):
                return None
            continue
        if word == "a":
            if index or words[1:2] not in (["hundred"], *([one] for one in _SCALES)):
                return None
            group = 1
        elif word == "hundred":
            if group is None or not 0 < group < 100:
                return None
            group *= 100
        elif word in _SCALES:
            if group is None or not 0 < group < 1000 or _SCALES[word] >= scale:
                return None
            total, group, scale = total + group * _SCALES[word], None, _SCALES[word]
        elif word in _SMALL:
            value = _SMALL[word]
            fits = group is None or (
                value > 0 and (group % 100 == 0 or (group % 10 == 0 and group % 100 != 10 and value < 10))
            )
            if not fits:
                return None
            group = (group or 0) + value
        else:
            return None
    return None if not words else total + (group or 0)
