r"""Quantities taken apart: units, scales, powers of units, bases of digits. Each line: text, result."""

from __future__ import annotations

import pytest

from ilr_bench.grading import forms
from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict

IN_TEXT = {
    r"5\text{ cm}": "5", r"5 \text{ cm}^2": "5", r"5\text{ cm}^{ -2 }": "5", r"5 \text{cm} \cdot \text{s}": "5",
    r"5 \text{cm}\times\text{s}": "5", r"5\text{m}/\text{s}": "5", r"5\text{m}.\text{s}": "5",
    r"5 \frac{\text{m}}{\text{s}}": "5", r"5\Omega": "5", r"5\mu": "5", r"5\text{ (cm)}.": "5", r"5\mathrm{km/h}": "5",
    r"5\text{ x}": "5", r"5\text{ n i z y}": "5", r"5\text{ a1}": "5", r"5\text{ 12}": r"5\text{ 12}",
    r"5\text{ a12}": r"5\text{ a12}", r"5\text{ million}": r"5\text{ million}", r"5\text{ or }": r"5\text{ or }",
    r"5\text{ and a half}": r"5\text{ and a half}", r"5\text{ squared}": r"5\text{ squared}",
    r"5\text{ x squared}": r"5\text{ x squared}", r"\text{cm}": r"\text{cm}", r"5\text{}": r"5\text{}",
    r"5*\text{cm}": "5", "5 cm": "5 cm", "5": "5",
}  # fmt: skip
BARE = {
    "5 cm": "5", "5cm": "5", "5 cm^2": "5", "5 cm^{-2}": "5", "5 cm2": "5", "5 m3": "5", "5 km/h": "5", "5 kg-m": "5",
    "5 eggs per day": "5", "5 dollars.": "5", r"2\pi cm": r"2\pi", "(5) cm": "(5)", "{5} m": "{5}", "5. m": "5.",
    "5 µm": "5", "5 Ω": "5", "5 N": "5", "5 N m": "5", r"5\text{ cm} dogs": r"5\text{ cm}", r"5\text{ cm}": "5",
    "5 hundred": r"5 \times 10^{2}", "5 thousand": r"5 \times 10^{3}", "5 Million": r"5 \times 10^{6}",
    "5 billion": r"5 \times 10^{9}", "5 trillion": r"5 \times 10^{12}", r"5\text{ million}": r"5 \times 10^{6}",
    "5 million dollars": r"5 \times 10^{6}", "5 dollars million": "5",
    **{text: text for text in ("x cm", "cm", "5", "5 fix1", "5 µ", "5 Q", "5 b", "5 n m", "5 dogs or cats", "5 m n")},
    **{f"5 {unit}": "5" for unit in "msghLlJKWVACFTH"},
}  # fmt: skip
NO_UNITS = (
    "or and not nor to than if mod modulo base over under times plus minus squared cubed factorial half pi sqrt root e"
    " infinity infinite dozen score unless else either neither between quarter third x y z n i"
)


def test_units_in_text_are_left_out() -> None:
    assert {text: forms.without_unit(text, bare=False) for text in IN_TEXT} == IN_TEXT


def test_units_in_plain_words_are_left_out_and_scales_multiply() -> None:
    assert {text: forms.without_unit(text, bare=True) for text in BARE} == BARE


@pytest.mark.parametrize("word", NO_UNITS.split())
def test_words_of_calculations_and_hedges_are_no_units(word: str) -> None:
    for text in (f"5 {word}", f"5 {word if word == 'n' else word.capitalize()}", f"5 cm {word}"):
        assert forms.without_unit(text, bare=True) == text
    if len(word) > 1 or word == "e":
        assert forms.without_unit(rf"5\text{{ {word}}}", bare=False) == rf"5\text{{ {word}}}"


def test_only_the_last_three_hundred_characters_may_be_a_unit() -> None:
    for size, found in ((298, "5"), (299, None)):
        text = "5 " + "c" * size
        assert forms.without_unit(text + ".", bare=True) == (found or text + ".")
    short, long = ("5" + r"\text{" + "c" * size + "}" for size in (293, 294))
    assert [forms.without_unit(text, bare=False) for text in (short, long)] == ["5", long]


def test_powers_and_bases_are_read() -> None:
    powers = {"15 cm^2": "2", "15 cm^{2}": "2", "15 cm": None, r"5\text{cm}^3": "3", "5^2": None, "5 cm ^ { 2 }": "2",
              "5 cm^22": None, "x^2+1": None}  # fmt: skip
    assert {text: forms.last_power(text) for text in powers} == powers
    bases = {"2516_8": ("2516", "8"), "2516_{8}": ("2516", "8"), r"1_{\text{ eight }}": ("1", "8"),
             "1a_{16}": ("1A", "16"), "a1_16": None, "x1_8": None, "-12_3": ("-12", "3"), "--12_3": None,
             "x_1": None, "-x_2": None,
             "5": None, "1_abc": ("1", "abc"), "1_ab": None, "é1_8": None, "1 _ 2": ("1", "2")}  # fmt: skip
    assert {text: forms.based(text) for text in bases} == bases
    words = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
             "ten": "10", "twelve": "12", "sixteen": "16"}  # fmt: skip
    assert {word: forms.based(f"1_{word}") for word in words} == {word: ("1", base) for word, base in words.items()}


def test_sides_are_what_stands_between_equal_signs_and_commands_are_no_letters() -> None:
    texts = ("a=b", "a", "a<=b", "a>=b", "a!=b", r"a\=b", "a = b = c", "=b")
    sides = [["a", "b"], ["a"], ["a<=b"], ["a>=b"], ["a!=b"], [r"a\=b"], ["a", "b", "c"], ["", "b"]]
    assert [forms.sides(text) for text in texts] == sides
    lettered = {"5": False, r"\pi": False, "x": True, r"\frac{x}{2}": True, r"\text{}": False, r"\pi r": True}
    assert {text: forms.has_letters(text) for text in lettered} == lettered


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        (r"\langle 1,2\rangle", "(1,2)", True), ("(1,0.5)", r"\left\langle 1,\frac12\right\rangle", True),
        (r"\langle 2,1\rangle", "(1,2)", False), (r"\langle 1,2\rangle", "[1,2]", False),
        (r"\lbrace 2,1\rbrace", r"\{1,2\}", True), (r"\lbrace 2,2\rbrace", r"\{1,2\}", False),
        ("5 Ω", "5", True), ("6 Ω", "5", False), ("5 N", "5", True), ("5 n", "5", False),
    ],
)  # fmt: skip
def test_angle_brackets_hold_a_tuple_and_every_unit_of_one_letter_is_one(answer: str, gold: str, right: bool) -> None:
    assert (judge(answer, gold) is Verdict.CORRECT) is right
