"""Right rewritings of a gold answer and wrong twins of it, by kind: what `verdicts.py` counts verdicts on.

Each rewriting returns another text, or None where it does not apply or changes nothing. Whether a gold is a number, a
list and so on is told here anew, from its text alone, and not by the code that is measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

Rewriting = Callable[[str], str | None]

INTEGER = re.compile(r"-?\d+")
DECIMAL = re.compile(r"-?\d*\.\d+")
NUMBER = re.compile(r"-?\d*\.?\d+")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}|(-?)(\d+)/(\d+)")
SCIENTIFIC = re.compile(r"(-?\d+(?:\.\d+)?)e([+-]?\d+)")
BRACKETS = re.compile(r"\\left|\\right|\s")


@dataclass(frozen=True)
class Rewritten:
    """One text to grade."""

    kind: str
    right: bool
    answer: str


def numeric(gold: str) -> bool:
    """Whether a gold is one number, with roots and pi perhaps."""
    bare = re.sub(r"\\(?:[dt]?frac|sqrt|pi|left|right|cdot|times|log|ln)(?![A-Za-z])|\\[ ,]", "", gold)
    if SCIENTIFIC.fullmatch(gold) or NUMBER.fullmatch(gold):
        return True
    return re.fullmatch(r"[\d\s.+\-/^{}()]+", bare) is not None and re.search(r"\d|\\pi", gold) is not None


def elements(gold: str) -> list[str] | None:
    """The parts of a list that no bracket holds."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(gold):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(gold[start:index].strip())
            start = index + 1
    parts.append(gold[start:].strip())
    thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+", gold)
    sentence = "where" in gold or r"\begin" in gold or r"\!" in gold
    return parts if len(parts) > 1 and all(parts) and not thousands and not sentence else None


def pair(gold: str) -> tuple[str, list[str], str] | None:
    """Brackets and parts of a tuple or an interval."""
    text = BRACKETS.sub("", gold)
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]") or r"\cup" in text:
        return None
    parts = elements(text[1:-1])
    return None if parts is None or any(part[:1] == "(" for part in parts) else (text[0], parts, text[-1])


def _where(applies: Callable[[str], object], change: Rewriting) -> Rewriting:
    return lambda gold: change(gold) if applies(gold) else None


def _list(change: Callable[[list[str]], str | None]) -> Rewriting:
    def rewrite(gold: str) -> str | None:
        parts = elements(gold)
        return None if parts is None else change(parts)

    return rewrite


def _pair(change: Callable[[str, list[str], str], str | None]) -> Rewriting:
    def rewrite(gold: str) -> str | None:
        found = pair(gold)
        return None if found is None else change(*found)

    return rewrite


def _after(suffix: str) -> Rewriting:
    return _where(numeric, lambda gold: f"{gold}{suffix}")


def _before(prefix: str) -> Rewriting:
    return _where(numeric, lambda gold: f"{prefix}{gold}")


def _thousands(comma: str) -> Rewriting:
    return _where(
        lambda gold: INTEGER.fullmatch(gold) and len(gold.lstrip("-")) > 3,
        lambda gold: f"{int(gold):,}".replace(",", comma),
    )


def _scientific(gold: str) -> str | None:
    if found := SCIENTIFIC.fullmatch(gold):
        return rf"{found[1]} \times 10^{{{int(found[2])}}}"
    if not NUMBER.fullmatch(gold) or float(gold) == 0 or len(gold.strip("-0.")) < 2:
        return None
    mantissa, exponent = f"{Decimal(gold):E}".split("E") if "." in gold else f"{int(gold):.14e}".split("e")
    return rf"{mantissa.rstrip('0').rstrip('.')} \times 10^{{{int(exponent)}}}"


def _approximately(gold: str) -> str | None:
    found = FRACTION.fullmatch(gold)
    if found is not None:
        above, below = (found[2], found[3]) if found[2] else (found[5], found[6])
        sign = found[1] or found[4] or ""
        return rf"{gold} \approx {sign}{int(above) / int(below):.3f}"
    return rf"{gold} \approx {gold}.00" if INTEGER.fullmatch(gold) else None


def _mixed(gold: str) -> str | None:
    found = FRACTION.fullmatch(gold)
    if found is None:
        return None
    above, below = (int(found[2]), int(found[3])) if found[2] else (int(found[5]), int(found[6]))
    if above <= below or above % below == 0:
        return None
    return f"{found[1] or found[4] or ''}{above // below} {above % below}/{below}"


def _repeating(gold: str) -> str | None:
    found = FRACTION.fullmatch(gold)
    if found is None:
        return None
    above, below = (int(found[2]), int(found[3])) if found[2] else (int(found[5]), int(found[6]))
    digits, rest, seen = "", above % below, {}
    while rest and rest not in seen:
        seen[rest] = len(digits)
        digits, rest = digits + str(rest * 10 // below), rest * 10 % below
    if not rest or len(digits) > 12:
        return None
    start = seen[rest]
    return rf"{found[1] or found[4] or ''}{above // below}.{digits[:start]}\overline{{{digits[start:]}}}"


def _slash(gold: str) -> str | None:
    found = re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", gold)
    return None if found is None else f"{found[1]}{found[2]}/{found[3]}"


def _unbraced(gold: str) -> str | None:
    return re.sub(r"\\[dt]?frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", gold)


def _spaced(gold: str) -> str | None:
    if r"\text" in gold or r"\begin" in gold or "where" in gold or SCIENTIFIC.fullmatch(gold):
        return None
    return re.sub(r"(?<=[\w}])([+=-])(?=[\w\\(])|(?<=,)(?=\S)", lambda found: f" {found[0]} ", gold)


def _percent(form: str) -> Rewriting:
    def rewrite(gold: str) -> str | None:
        bare = re.sub(r"\s*\\?%$", "", gold)
        plain = NUMBER.fullmatch(bare) and (bare != gold or INTEGER.fullmatch(gold))
        return form.format(bare) if plain else None

    return rewrite


def _name_left_out(gold: str) -> str | None:
    found = re.fullmatch(r"(?:[a-zA-Z](?:\([a-z]\))?|m_\{\\max ?\}|x \\in(?= ))\s*=?\s*(.+)", gold)
    named = re.match(r"[a-zA-Z](\([a-z]\))?\s*=|m_\{\\max|x \\in", gold)
    several = elements(gold) is not None or (found is not None and re.search("=|^\\\\in", found[1]))
    return found[1] if found is not None and named is not None and not several else None


def _changed_digit(first: bool) -> Rewriting:
    def rewrite(gold: str) -> str | None:
        places = [found.start() for found in re.finditer(r"\d", gold)]
        if not places:
            return None
        place = places[0] if first else places[-1]
        digit = (int(gold[place]) + 1) % 10
        changed = gold[:place] + str(digit or 1) + gold[place + 1 :]
        return None if (first and digit in (0, 1)) or re.search(r"(?<![\d.])0+\.?0*$", changed) else changed

    return rewrite


def _sign(gold: str) -> str | None:
    if not numeric(gold) or re.fullmatch(r"[0.]+", gold) or re.search(r"(?<=[\w})])\s*[+-]", gold.replace("e-", "e")):
        return None
    return gold[1:] if gold.startswith("-") else f"-{gold}"


def _times_ten(gold: str) -> str | None:
    return f"{gold}0" if INTEGER.fullmatch(gold) and gold.strip("-0") else None


def _inverse(gold: str) -> str | None:
    found = re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", gold)
    same = found is None or found[2] == found[3] or found[2] == "0"
    return None if same or found is None else rf"{found[1]}\frac{{{found[3]}}}{{{found[2]}}}"


def _sum_not_done(gold: str) -> str | None:
    return f"{int(gold) - 1}+1" if INTEGER.fullmatch(gold) else None


def _rounded(gold: str) -> str | None:
    found = FRACTION.fullmatch(gold)
    if found is None:
        return None
    above, below = (int(found[2]), int(found[3])) if found[2] else (int(found[5]), int(found[6]))
    exact = (above * 1000) % below == 0
    return None if exact else f"{found[1] or found[4] or ''}{above / below:.3f}"


INT = INTEGER.fullmatch
RIGHT: dict[str, Rewriting] = {
    "as it stands": lambda gold: gold,
    r"\dfrac": lambda gold: re.sub(r"\\[dt]?frac", r"\\dfrac", gold),
    r"\tfrac": lambda gold: re.sub(r"\\[dt]?frac", r"\\tfrac", gold),
    "a/b": _slash,
    r"\frac12": _unbraced,
    "full stop inside": _after("."),
    "thin space behind": _after(r"\,"),
    r"\quad before": _before(r"\quad "),
    "x =": _before("x = "),
    r"\text{Area} =": _before(r"\text{Area} = "),
    r"\text{ cm}": _after(r"\text{ cm}"),
    r"\text{ square units}": _after(r"\text{ square units}"),
    r"~\text{cm}": _after(r"~\text{cm}"),
    r"\mathrm{kg m/s^2}": _after(r"\ \mathrm{kg m/s^2}"),
    "miles per hour": _after(r"\text{ miles per hour}"),
    r"\displaystyle": _before(r"\displaystyle "),
    r"\left \right": _where(
        lambda gold: "(" in gold and r"\left" not in gold and r"\text" not in gold and pair(gold),
        lambda gold: rf"\left{gold[:-1]}\right{gold[-1]}",
    ),
    r"\bigl \bigr": _pair(lambda left, parts, right: rf"\bigl{left}{', '.join(parts)}\bigr{right}"),
    "a, b and c": _list(lambda parts: rf"{', '.join(parts[:-1])} \text{{ and }} {parts[-1]}"),
    "a, b or c": _list(lambda parts: f"{', '.join(parts[:-1])} or {parts[-1]}"),
    "list in braces": _list(lambda parts: rf"\{{{', '.join(parts)}\}}"),
    "list reversed": _list(lambda parts: None if any("=" in part for part in parts) else ", ".join(parts[::-1])),
    "list spaced": _list(lambda parts: " , ".join(parts)),
    "n = list": _list(lambda parts: None if "=" in "".join(parts) else f"n = {', '.join(parts)}"),
    "x = before each": _list(
        lambda parts: None if not all(map(numeric, parts)) else ", ".join(f"x = {part}" for part in parts)
    ),
    "degrees left out": _where(lambda gold: r"\circ" in gold, lambda gold: re.sub(r"\s*\^\{?\\circ\}?", "", gold)),
    "°": _where(lambda gold: r"\circ" in gold, lambda gold: re.sub(r"\s*\^\{?\\circ\}?", "°", gold)),
    "unicode minus": _where(lambda gold: "e-" not in gold, lambda gold: gold.replace("-", "−")),
    "thousands ,": _thousands(","),
    "thousands {,}": _thousands("{,}"),
    r"thousands \,": _thousands(r"\,"),
    r"\approx behind": _approximately,
    "scientific notation": _scientific,
    r"p\%": _percent(r"{}\%"),
    "p%": _percent("{}%"),
    r"p \%": _percent(r"{} \%"),
    "p percent": _percent("{} percent"),
    r"p\text{ percent}": _percent(r"{}\text{{ percent}}"),
    "bold **": _where(numeric, lambda gold: f"**{gold}**"),
    "eggs per day": _where(INT, lambda gold: f"{gold} eggs per day"),
    "dollars": _where(INT, lambda gold: f"{gold} dollars"),
    r"\text{p dollars}": _where(INT, lambda gold: rf"\text{{{gold} dollars}}"),
    r"\$": _where(NUMBER.fullmatch, lambda gold: rf"\${gold}"),
    "£": _where(NUMBER.fullmatch, lambda gold: f"£{gold}"),
    "mixed number": _mixed,
    "repeating decimal": _repeating,
    "white space inside": _spaced,
    "white space left out": _where(
        lambda gold: r"\text" not in gold and "where" not in gold and r"\begin" not in gold,
        lambda gold: re.sub(r"(?<![A-Za-z])\s+|\s+(?![A-Za-z])", "", gold),
    ),
    "name left out": _name_left_out,
    "word without \\text": _where(
        lambda gold: re.fullmatch(r"\\text\{.*\}", gold), lambda gold: gold[6:-1].strip(" ()")
    ),
    "small word": _where(
        lambda gold: re.fullmatch(r"\\text\{.*\}", gold), lambda gold: rf"\text{{{gold[6:-1].lower()}}}"
    ),
}
WRONG: dict[str, Rewriting] = {
    "last digit changed": _changed_digit(first=False),
    "first digit changed": _changed_digit(first=True),
    "sign": _sign,
    "ten times": _times_ten,
    "last of a list dropped": _list(lambda parts: ", ".join(parts[:-1])),
    "list as [a, b]": _list(lambda parts: f"[{parts[0]}, {parts[1]}]" if len(parts) == 2 else None),
    "list as (a, b)": _list(lambda parts: f"({parts[0]}, {parts[1]})" if len(parts) == 2 else None),
    "tuple in braces": _pair(lambda left, parts, right: rf"\{{{', '.join(parts)}\}}" if left + right == "()" else None),
    "tuple in [ ]": _pair(lambda left, parts, right: f"[{', '.join(parts)}]" if left + right == "()" else None),
    "tuple swapped": _pair(
        lambda left, parts, right: f"{left}{', '.join(parts[::-1])}{right}" if parts != parts[::-1] else None
    ),
    "another base": _where(
        lambda gold: re.fullmatch(r"\d+_\{?\d\}?", gold), lambda gold: re.sub(r"(\d)(\}?)$", r"9\2", gold)
    ),
    "n_9 for n": _where(INT, lambda gold: f"{gold}_{{9}}"),
    "n:7 for n": _where(INT, lambda gold: f"{gold}:7"),
    "[n, n] for n": _where(INT, lambda gold: f"[{gold},{gold}]"),
    "n or n+1": _where(INT, lambda gold: rf"{gold} \text{{ or }} {int(gold) + 1}"),
    "n, n+1": _where(INT, lambda gold: f"{gold}, {int(gold) + 1}"),
    "inverse": _inverse,
    "sum not done": _sum_not_done,
    "fraction rounded": _rounded,
    "mod": _where(INT, lambda gold: rf"{gold} \mod {abs(int(gold)) + 7}" if int(gold) < 0 else rf"{gold} \pmod{{7}}"),
    "factorial": _where(lambda gold: INT(gold) and int(gold) > 2, lambda gold: f"{gold}!"),
    "range": _where(INT, lambda gold: f"{gold}-{int(gold) + 1}" if int(gold) > 0 else None),
    "p% too small": _where(lambda gold: INT(gold) and int(gold), lambda gold: rf"{int(gold) / 10}\%"),
    "a million times": _where(lambda gold: INT(gold) and int(gold), lambda gold: f"{gold} million"),
    "with a variable": _where(lambda gold: INT(gold) and int(gold), lambda gold: f"{gold}x"),
}


def rewritings(gold: str) -> Iterator[Rewritten]:
    """Every text that a rewriting makes of a gold; those that leave it as it is, once."""
    for right, kinds in ((True, RIGHT), (False, WRONG)):
        for kind, rewrite in kinds.items():
            text = rewrite(gold)
            if text is not None and (text != gold or kind == "as it stands"):
                yield Rewritten(kind, right, text)
