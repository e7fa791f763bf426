r"""Unicode's signs, digits, fractions and powers, and marks of plain text, as the LaTeX that says the same."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "−": "-", "–": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/",
    "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "π": r"\pi ", "θ": r"\theta ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "≈": r"\approx ", "√": r"\sqrt ",
    "∛": r"\sqrt[3]", "±": r"\pm ", "∓": r"\mp ", "∨": r"\lor ", "٪": "%", "′": "'", "…": r"\ldots ", "`": "",
    "⟨": r"\langle ", "⟩": r"\rangle ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "⇒": r"\Rightarrow ", "→": r"\to ",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ",
}  # fmt: skip
_WIDE = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_FRACTIONS = {
    sign: r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", sign).split("⁄")) for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
}
_TABLE = str.maketrans(_SIGNS | _WIDE | _FRACTIONS)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_LEVEL = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ₀₁₂₃₄₅₆₇₈₉", "0123456789+-n0123456789")
_ROOT = re.compile(r"([√∛])\s*(\d+(?:\.\d+)?)", re.ASCII)
_BOLD = re.compile(r"(?<![\w)}\]*])\*\*(?=[^\s*])([^*]*?)(?<=[^\s*])\*\*(?!\*)|^(\*|__)([^*_]+)\2$")
_MINUS = re.compile(r"^(?:minus|negative)\s+(?=[\d.\\$])|\\text\{\s*-\s*\}", re.IGNORECASE)
_POWER = re.compile(r"(?<=[\w)}\]])\s*\*\*\s*(-?\d+(?:\.\d+)?|[A-Za-z]|(?=[({\\]))")


def as_latex(text: str) -> str:
    r"""`2√12·10⁻³` as `2\sqrt{12}\cdot 10^{-3}`, `1¾` as `1\frac{3}{4}`, `２％` as `2%`, `x**2` as `x^{2}`.

    `**Bold**` loses its marks, and so does a whole text that is `__bold__` or in `*italics*`.
    """
    text = _ROOT.sub(r"\1{\2}", text)
    text = _RAISED.sub(lambda found: _level("^", found[0]), text)
    text = _LOWERED.sub(lambda found: _level("_", found[0]), text)
    text = _MINUS.sub("-", text)
    text = _BOLD.sub(lambda found: found[1] or found[3], text.translate(_TABLE))
    return _POWER.sub(lambda found: f"^{{{found[1]}}}" if found[1] else "^", text)


def _level(mark: str, signs: str) -> str:
    plain = signs.translate(_LEVEL)
    return f"{mark}{plain}" if len(plain) == 1 else f"{mark}{{{plain}}}"
