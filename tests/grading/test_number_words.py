"""Numbers in English words: what each word is worth, which words make one number, and which make none."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ilr_bench.grading import number_words

NUMBERS = {
    "twelve": 12, "Zero": 0, "thirteen": 13, "twenty-one": 21, "twenty one": 21, "ninety-nine": 99, "one hundred": 100,
    "a hundred and five": 105, "one hundred twenty-three": 123, "twelve hundred": 1200, "a thousand": 1000,
    "two thousand and four": 2004, "three million two hundred thousand": 3_200_000, "minus seven": -7,
    "negative one half": Fraction(-1, 2), "half": Fraction(1, 2), "a half": Fraction(1, 2), "one-half": Fraction(1, 2),
    "three quarters": Fraction(3, 4), "two-thirds": Fraction(2, 3), "five twelfths": Fraction(5, 12),
    "two and a half": Fraction(5, 2), "one and three fourths": Fraction(7, 4),
    "three point one four": Fraction(157, 50),
    "two hundred thousandths": Fraction(1, 5), r"\text{twelve}": 12, r"\textbf{one} \text{third}": Fraction(1, 3),
    "ninety-nine hundred": 9900, "nine hundred ninety-nine thousand": 999_000, "a million": 10**6,
    "a hundred thousand": 100_000, "a billion": 10**9, "a trillion": 10**12, "one million and one": 1_000_001,
    "two trillion three billion four million five thousand six hundred and seven": 2_003_004_005_607,
    "one hundred and one thousand": 101_000, "one thousand and one hundred and one": 1101,
    "one thousand two hundred and thirty-four": 1234, "one hundred twenty": 120, "one hundred nineteen": 119,
    "zero point zero nine": Fraction(9, 100), "two point five": Fraction(5, 2),
    "ten point one zero": Fraction(101, 10), "zero thirds": 0, "one third": Fraction(1, 3), "a third": Fraction(1, 3),
    "one hundred and two and a half": Fraction(205, 2), "one hundred and two thirds": Fraction(302, 3),
    "a hundred halves": 50, "one hundredth": Fraction(1, 100), "eleven thousandths": Fraction(11, 1000),
    r"\mbox{two} thirds": Fraction(2, 3), "one point " + " ".join(["one"] * 28): Fraction("1." + "1" * 28),
}  # fmt: skip
NO_NUMBERS = (
    "twelve thirteen", "two and three", "and", "a", "ten two", "twenty ten", "twenty zero", "one one", "hundred",
    "thousand million", "one million thousand", "half half", "two half", "one halves", "three third", "point five",
    "one point twelve", "one point", "one hundred and", "five and one", "minus", "twelfth and", "one, two", "twelve!",
    "2 thirds", "", "even", "x-y", "one and half and half", "twelve-", "zero hundred", " ".join(["one"] * 31),
    "and one hundred", "and one thousand", "one hundred and and one", "hundred hundred", "one hundred hundred",
    "ten hundred thousand", "third", "twenty and one", "one hundred ten one",
    "one hundred two hundred", "zero thousand", "one thousand thousand", "one thousand two thousand",
    "one thousand million", "two a hundred", "a a hundred", "a two", "a twelve", "twenty-one one", "twenty twenty",
    "nineteen one", "ten one", "eleven eleven", "one hundred zero", "one hundred one one", "point", "one point point",
    "one point ten", "one point two point three", "two and half", "and a half", "two and halves",
    "one and a third half", "two and one", "a halves", "zero third", "two a third", "one one third",
    "minus minus one", "plus one",
    "a and half",     "six ninth hundredth", "third one", "third third", "twelve a", "one half point five",
    "tenth point one", "thousand",
    "one quarters", "one hundred and a", "a point a", r"\operatorname{two}", "one point " + " ".join(["one"] * 29),
)  # fmt: skip
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "fifteenth": 15, "sixteenth": 16, "twentieth": 20, "hundredth": 100,
    "thousandth": 1000,
}  # fmt: skip


def read(text: str) -> Fraction | None:
    found = number_words.in_digits(text)
    return None if found is None or found[1] else found[0]


@pytest.mark.parametrize("text", NUMBERS)
def test_words_are_the_number_that_they_say(text: str) -> None:
    assert read(text) == NUMBERS[text]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_words_that_say_no_one_number_are_none(text: str) -> None:
    assert number_words.in_digits(text) is None


def test_every_word_has_its_value() -> None:
    assert [read(word) for word in UNITS.split()] == list(range(20))
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    assert [read(word) for word in tens] == list(range(20, 100, 10))
    assert {part: read(f"one {part}") for part in PARTS} == {part: Fraction(1, n) for part, n in PARTS.items()}
    many = {part: "halves" if part == "half" else f"{part}s" for part in PARTS}
    assert {part: read(f"seven {many[part]}") for part in PARTS} == {part: Fraction(7, n) for part, n in PARTS.items()}
    assert [read(f"two {many[part]} halves") for part in PARTS] == [None] * len(PARTS)


@pytest.mark.parametrize(
    ("text", "value", "behind"),
    [
        ("twelve eggs", 12, "eggs"), ("minus two and a half metres per second", Fraction(-5, 2), "metres per second"),
        ("three-quarters of it", Fraction(3, 4), "of it"), ("Negative FIVE Dollars", -5, "dollars"),
        ("twelve of thirteen", 12, "of thirteen"), (r"\emph{one} dozen", 1, "dozen"),
        ("five minus two", 5, "minus two"),
        ("one point five hundred-weight", None, ""), ("two and eggs", None, ""), ("eggs twelve", None, ""),
    ],
)  # fmt: skip
def test_the_words_behind_a_number_are_kept(text: str, value: Fraction | None, behind: str) -> None:
    assert number_words.in_digits(text) == (None if value is None else (value, behind))


def test_words_of_other_alphabets_and_signs_are_none() -> None:
    assert [number_words.in_digits(text) for text in ("one é", "one x²", "one x2", "one\u00a0hundred½")] == [None] * 4
    assert number_words.in_digits("one\n hundred") == (100, "")
