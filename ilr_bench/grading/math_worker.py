"""The process behind `ilr_bench.grading.math.Grader`, run as `python -m ilr_bench.grading.math_worker CPU_SECONDS`.

`ilr_bench.grading.forms` takes answers apart; latex2sympy2_extended reads what is mathematics in them, and math-verify
compares what is not numbers. Every comparison reads both texts anew: the library's sets lose the order of their parts
when they are first evaluated, so an object that two comparisons share would make one depend on the other.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from fractions import Fraction

from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from math_verify.grader import should_treat_as_complex
from sympy import (  # type: ignore[import-untyped]
    Add,
    Basic,
    Eq,
    Expr,
    Float,
    I,
    Integer,
    MatrixBase,
    Mul,
    Number,
    Rational,
    oo,
    preorder_traversal,
    zoo,
)
from sympy.core.function import AppliedUndef  # type: ignore[import-untyped]

from ilr_bench.grading import forms, inequalities, notation, number_words
from ilr_bench.grading.killable_pool import serve
from ilr_bench.grading.math import ROUNDING, is_rounding, read_number, same_number, written
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import boxed

MEMORY_BYTES = 2 << 30
_DIGITS, _EXACT = 40, Fraction(1, 10**25)
_NORMALIZATION = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
_EQUATION = re.compile(r"[=<>]")
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d(?: [ap]m)?", re.ASCII | re.IGNORECASE)
_TO = re.compile(r"\s*(?:\\text\s*\{\s*to\s*\}|\bto\b)\s*")
_WARM_UP = (("3+5", "8"), (r"\frac{1}{2}", "0.5"), (r"2\sqrt{3}", r"\sqrt{12}"), ("x=3", "3"), ("(1,2)", "[1,2]"),
            ("x+1", "1+x"), ("0<x<2", "(0,2)"), (r"2\pi", r"\pi+\pi"))  # fmt: skip


def judge(answer: str, gold: str, measured: bool = False) -> Verdict:
    """CORRECT or WRONG. Where the gold is a number, arithmetic left undone is no answer (`finished`).

    `measured`: golds are measured quantities, and an answer is right if the gold, rounded to the answer's significant
    digits (two at least), is the answer.
    """
    try:
        equal = _same(forms.clean(answer), forms.clean(gold), measured)
    except RecursionError:
        equal = False
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


def _same(answer: str, gold: str, measured: bool) -> bool:
    if forms.key(answer) == forms.key(gold):
        return True
    spoken = _in_digits(answer), _in_digits(gold, alone=True)
    if spoken != (answer, gold) and _same(*spoken, measured):
        return True
    if "%" in answer or "%" in gold:
        return any(_same(ours, theirs, measured) for ours, theirs in _without_percent(answer, gold))
    if _same_shapes(forms.joined(answer), forms.joined(gold), measured):
        return True
    # 1,234 may be a list of two: then both texts are.
    return forms.joined(gold) != gold and _same_shapes(answer, gold, measured)


def _in_digits(text: str, alone: bool = False) -> str:
    """A number in words in digits, with the words behind it; not where it is to stand `alone` and does not."""
    read = number_words.in_digits(text.removesuffix("%"))
    if read is None or (alone and read[1]):
        return text
    return f"{written(read[0])} {read[1]}".strip() + ("%" if text.endswith("%") else "")


def _without_percent(answer: str, gold: str) -> list[tuple[str, str]]:
    """What is compared instead: 62.5 % is right where 62.5, 62.5 % or 0.625 is asked for, and so each way round."""
    ours, theirs = answer.replace("%", " ").strip(), gold.replace("%", " ").strip()
    if "%" in answer and "%" in gold:
        return [(ours, theirs)]
    return [(ours, theirs), (_hundredth(ours), theirs) if "%" in answer else (ours, _hundredth(theirs))]


def _hundredth(text: str) -> str:
    value = read_number(text)
    return text if value is None else written(value.value / 100)


def _same_shapes(answer: str, gold: str, measured: bool) -> bool:
    exact, rounded = forms.exact_part(answer)
    gold = forms.exact_part(gold)[0]
    if exact != rounded:
        is_name = forms.split_name(f"{exact} = 0", long=True)[0] is not None
        ends = [rounded] if is_name else [exact, rounded] if measured else [exact]
        return any(_same_shapes(end, gold, measured) for end in ends)
    answer, gold = _as_intervals(exact, gold)
    ours, theirs = _form(answer), _form(gold)
    if theirs.shape in ("list", "set"):
        parts = _spread(ours.parts) if ours.shape in ("list", "set", "value") else ()
        golds = _spread(theirs.parts)
        if len(parts) == 1 < len(golds):
            # Several things with one value, each named in the gold: the value once names them all.
            named = [forms.split_name(one)[0] is not None for one in (*parts, *golds)]
            return not named[0] and all(named[1:]) and all(_same_value(parts[0], one, measured) for one in golds)
        return _same_multiset(parts, golds, measured)
    if theirs.shape in ("tuple", "interval"):
        if ours.shape == "value":
            return theirs.parts != () and _same_by_library(answer, gold)
        alike = ours.brackets == theirs.brackets or (
            theirs.shape == "tuple" and (ours.shape == "tuple" or (ours.shape == "list" and not ours.brackets))
        )
        return alike and len(ours.parts) == len(theirs.parts) and all(
            _same(one, other, measured) for one, other in zip(_in_order(ours.parts), theirs.parts, strict=True)
        )  # fmt: skip
    if ours.shape == "set" and len(ours.parts) == 1 and r"\emptyset" not in ours.parts[0]:
        return _same_value(ours.parts[0], gold, measured)
    if ours.shape != "value":
        unlike = not inequalities.is_relation(gold) and r"\cup" not in gold and r"\begin" not in gold
        return not unlike and ours.shape != "list" and _same_by_library(answer, gold)
    return _same_value(answer, gold, measured)


def _form(text: str) -> forms.Form:
    r"""The shape of what a name stands for: of `x \in [1, 2]` that of the interval, of `x = 1, 2` that of the list."""
    form = forms.take_apart(text)
    if form.shape == "value":
        name, rest = forms.split_name(text)
        inner = forms.take_apart(rest)
        return inner if name is not None and inner.shape != "value" else form
    if form.shape == "list" and len(form.parts) > 1:
        name, rest = forms.split_name(form.parts[0])
        others = [forms.split_name(part)[0] for part in form.parts[1:]]
        if name is not None and not any(others):
            return forms.Form("list", (rest, *form.parts[1:]))
    return form


def _as_intervals(answer: str, gold: str) -> tuple[str, str]:
    """Both texts; inequalities in one letter become intervals where the gold is one, or two of the same letter."""
    ours, theirs = inequalities.as_union(answer), inequalities.as_union(gold)
    if ours is None and theirs is not None and r"\cup" in answer:
        return answer, theirs[1]
    if (
        ours is None
        or (theirs is not None and ours[0] != theirs[0])
        or (theirs is None and inequalities.is_relation(gold))
    ):
        return answer, gold
    return ours[1], gold if theirs is None else theirs[1]


def _in_order(parts: Sequence[str]) -> list[str]:
    """The parts of a point; where each has a name of its own (`y = 2, x = 1`), in the order of the names."""
    named = [forms.split_name(part)[0] for part in parts]
    names = [name for name in named if name is not None]
    if len(set(names)) < len(parts) or not all(name.isalpha() for name in names):
        return list(parts)
    return [part for _, part in sorted(zip(names, parts, strict=True))]


def _spread(parts: Sequence[str]) -> list[str]:
    """Each part; `a = b = 90`, where a and b are names, is two parts."""
    spread = []
    for part in parts:
        *named, value = forms.sides(part)
        all_named = len(named) > 1 and all(forms.split_name(f"{name} = {value}")[0] is not None for name in named)
        spread += [f"{name} = {value}" for name in named] if all_named else [part]
    return spread


def _same_multiset(ours: Sequence[str], theirs: Sequence[str], measured: bool) -> bool:
    """Whether each answer is equal to another gold; those at the same place are tried first."""
    left = list(theirs)
    if len(ours) != len(left):
        return False
    for place, one in enumerate(ours):
        order = sorted(range(len(left)), key=lambda index: (forms.key(left[index]) != forms.key(one), index != place))
        found = next((index for index in order if _same_part(one, left[index], measured)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_part(one: str, other: str, measured: bool) -> bool:
    ours, theirs = forms.split_name(one)[0], forms.split_name(other)[0]
    if ours is not None and theirs is not None and forms.key(ours) != forms.key(theirs):
        return False
    return _same(one, other, measured)


def _same_value(answer: str, gold: str, measured: bool) -> bool:
    if forms.key(answer) == forms.key(gold):
        return True
    spoken = forms.words(gold)
    if spoken is not None and len(spoken) > 0 and not _EQUATION.search(gold):
        ours = forms.words(answer) or forms.words(rf"\text{{{answer}}}")
        if ours == spoken or gold.startswith("\\"):
            return ours == spoken
    if (r"\equiv" in answer) != (r"\equiv" in gold):
        return False
    for pair in _unnamed(answer, gold):
        if pair != (answer, gold):
            return _same(*pair, measured)
    if "=" in gold and "=" not in answer:
        return False
    if "=" in answer and "=" not in gold and not inequalities.is_relation(gold):
        *earlier, answer = forms.sides(answer)
        if len(earlier) == 1 and read_number(earlier[0]) and forms.split_name(f"{answer} = 0")[0] is not None:
            earlier, answer = [], earlier[0]  # 12 = x
        known = [value.value for text in (*earlier, answer) if (value := read_number(text)) is not None]
        if len(set(known)) > 1 or not answer:
            return False
        return _same(answer, gold, measured)
    return _same_quantity(answer, gold, measured)


def _unnamed(answer: str, gold: str) -> list[tuple[str, str]]:
    """Both without the names before them, where what is named may be left out or is the same."""
    theirs, gold_rest = forms.split_name(gold)
    ours, answer_rest = forms.split_name(answer, long=theirs is None and "=" not in gold)
    if ours is not None and theirs is not None:
        if forms.key(ours) == forms.key(theirs) or not (len(ours) == len(theirs) == 1):
            return [(answer_rest, gold_rest)]
        return []
    if ours is not None and "=" not in gold:
        return [(answer_rest, gold)]
    if theirs is not None and "=" not in answer:
        return [(answer, gold_rest)]
    return []


def _same_quantity(answer: str, gold: str, measured: bool) -> bool:
    bases = forms.based(answer), forms.based(gold)
    if any(bases):
        return _same_in_base(answer, gold, *bases)
    if ":" in answer or ":" in gold:
        return _same_ratio(_TO.sub(":", answer), gold, measured)
    if "=" in answer or "=" in gold:
        return _same_by_library(answer, gold, measured)
    gold, unit = forms.without_unit(gold, bare=False), gold
    if gold != unit and forms.last_power(unit) != (forms.last_power(answer) or forms.last_power(unit)):
        return False
    numeric = read_number(gold) is not None or not forms.has_letters(gold)
    answer = forms.without_unit(answer, bare=numeric)
    if forms.key(answer) == forms.key(gold):
        return True
    ours, theirs = read_number(answer), read_number(gold)
    if ours is not None and theirs is not None:
        return same_number(ours, theirs, measured)
    return _same_by_library(answer, gold, measured)


def _same_in_base(answer: str, gold: str, ours: tuple[str, str] | None, theirs: tuple[str, str] | None) -> bool:
    """A base that only the gold has may be left out; one that only the answer has must be ten."""
    if theirs is None:
        return ours is not None and ours[1] == "10" and _same(ours[0], gold, measured=False)
    return (ours or (answer.upper(), theirs[1])) == theirs


def _same_ratio(answer: str, gold: str, measured: bool) -> bool:
    if ":" not in gold:
        return False
    if ":" not in answer:
        return gold.count(":") == 1 and _same(answer, gold.replace(":", "/"), measured)
    ours, theirs = answer.split(":"), gold.split(":")
    if _CLOCK.fullmatch(gold):
        time, clock = answer.lower(), gold.lower()
        return forms.key(time if clock.endswith("m") else re.sub(r" [ap]m$", "", time)) == forms.key(clock)
    values = [[value and value.value for value in map(read_number, map(str.strip, side))] for side in (ours, theirs)]
    if len(ours) != len(theirs):
        return False
    if all(value for side in values for value in side):
        return len({one / other for one, other in zip(*values, strict=True) if one and other}) == 1
    return all(_same(one.strip(), other.strip(), measured) for one, other in zip(ours, theirs, strict=True))


def _same_by_library(answer: str, gold: str, measured: bool = False) -> bool:
    real = not (should_treat_as_complex(answer) or should_treat_as_complex(gold))
    theirs = _parse(gold, real)
    ours = None if theirs is None else _parse(answer, real)
    if ours is None or theirs is None:
        return False
    if isinstance(theirs, Number) and not (isinstance(ours, Basic) and finished(ours)):
        return False
    equal = _same_expression(ours, theirs)
    if equal is None:
        return bool(verify(theirs, ours, float_rounding=12, allow_set_relation_comp=True, timeout_seconds=None))
    written = read_number(answer)
    if not equal and measured and written is not None and written.digits is not None:
        value = theirs.evalf(_DIGITS)
        if value.is_Float:
            return is_rounding(written.value, written.digits, Fraction(str(value)))
    return equal


def _same_expression(ours: Basic | MatrixBase, theirs: Basic | MatrixBase) -> bool | None:
    """Whether two numbers are equal; None where one is none. math-verify would round both to six decimals."""
    if not (_is_numeric(ours) and _is_numeric(theirs)):
        return None
    if isinstance(ours, Rational) and isinstance(theirs, Rational):
        return bool(ours == theirs)
    one, other = ours.evalf(_DIGITS), theirs.evalf(_DIGITS)
    if any(value.has(oo, zoo) for value in (one, other)):
        return bool(one == other)
    size, difference = abs(other).evalf(_DIGITS), abs(one - other).evalf(_DIGITS)
    if not (size.is_Number and difference.is_Number):
        return None
    if difference == 0:
        return True
    tolerance = ROUNDING if ours.has(Float) or theirs.has(Float) else _EXACT
    return bool(difference < size * Rational(tolerance.numerator, tolerance.denominator))


def _is_numeric(expression: Basic | MatrixBase) -> bool:
    return isinstance(expression, Expr) and not expression.free_symbols and not expression.has(AppliedUndef)


def _parse(text: str, real: bool) -> Basic | MatrixBase | None:
    """What a text means; None where the library cannot read it."""
    try:
        parsed = latex2sympy(
            normalize_latex(notation.readable(text), _NORMALIZATION),
            is_real=real,
            convert_degrees=False,
            normalization_config=None,
        )
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - the parser raises plain Exception, and sympy whatever a formula leads it to
        return None
    if not isinstance(parsed, Basic | MatrixBase):
        return None
    imaginary = [symbol for symbol in parsed.free_symbols if symbol.name == "i"]
    return parsed.subs(imaginary[0], I) if imaginary else parsed


def _reply(request: str) -> str:
    answer, gold, measured = json.loads(request)
    several = boxed(answer)
    if len(several) < 2:
        return judge(answer, gold, measured)
    alike = all(judge(content, gold, measured) is Verdict.CORRECT for content in several)
    return Verdict.CORRECT if alike else Verdict.MISSING


def main() -> None:
    """Answers one JSON line `[answer, gold, measured]` after the other."""
    logging.disable(logging.CRITICAL)
    for pair in _WARM_UP:
        # The limit is for the answer, not for what sympy imports and compiles when first used.
        judge(*pair)
    # Not isolated: sympy imports parts of itself when a formula first needs them.
    serve(_reply, MEMORY_BYTES, isolated=False)


if __name__ == "__main__":
    main()
