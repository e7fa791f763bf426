r"""Answers taken apart: what is taken off a text and what stays, and which shapes texts have."""

from __future__ import annotations

import pytest

from ilr_bench.grading import forms
from ilr_bench.grading.forms import Form

CHARACTERS = {
    "−": "-", "–": "-", "2×3": r"2\times 3", "2⋅3": r"2\cdot 3", "2·3": r"2\cdot 3", "6÷2": "6/2", "30°x": "30 x",
    "π2": r"\pi 2", "θ2": r"\theta 2", "≤1": r"\le 1", "≥1": r"\ge 1", "≠1": r"\ne 1", "∞1": r"\infty 1",
    "A∪B": r"A\cup B", "x∈A": r"x\in A", "≈1": r"\approx 1", "√2": r"\sqrt{2}", "±1": r"\pm 1", "x²": "x^2",
    "x³": "x^3", "5％": "5%", "y′": "y'", "a\u00a0b": "a b", "a\u2009b": "a b", "a\u202fb": "a b", "`5`": "5",
    "∅1": r"\emptyset 1",
}  # fmt: skip
LOOKS = r"""
\left( x \right) | ( x )
\left. x \right. | x
\displaystyle 5 | 5
\textstyle 5 | 5
\scriptstyle 5 | 5
\sum\limits x | \sum x
\sum\nolimits x | \sum x
\big( x \Big) | ( x )
\Bigl( x \bigr) | ( x )
\biggm| x \Bigg| y | | x | y
\large 5 | 5
\Large 5 | 5
\LARGE 5 | 5
\huge 5 | 5
\Huge 5 | 5
\largex 5 | \largex 5
\(5\) | 5
**5** | 5
\dfrac{1}{2} | \frac{1}{2}
\tfrac{1}{2} | \frac{1}{2}
\cfrac{1}{2} | \frac{1}{2}
\dfracx | \dfracx
\$5 | 5
$5$ | 5
£5 | 5
€5 | 5
¥5 | 5
₹5 | 5
₩5 | 5
5¢ | 5
\pounds 5 | 5
\euro 5 | 5
\yen 5 | 5
\eurox 5 | \eurox 5
US 5 | 5
USD 5 | 5
EUR 5 | 5
GBP 5 | 5
US$5 | 5
US citizens | US citizens
1\,000 | 1000
1{,}000 | 1000
1,\!000 | 1000
1 \, 000 | 1000
1\,000\,000 | 1000000
1\,0000 | 1 0000
1\,00 | 1 00
x\,000 | x 000
1{,}5 | 1,5
a\,b\;c\:d\>e\!f | a b c d e f
a\quad b\qquad c | a b c
a\enspace b\thinspace c\medspace d\thickspace e\hfill f | a b c d e f
a\hspace{1cm}b\vspace*{1cm}c | a b c
a\phantom{x}b\hphantom{x}c\vphantom{x}d | a b c d
a~b\ c | a b c
a\\ b | a\\ b
a\quadx | a\quadx
\mathbf{x} | x
\mathrm{x} | x
\mathit{x} | x
\mathsf{x} | x
\mathtt{x} | x
\mathnormal{x} | x
\boldsymbol{x} | x
\bm{x} | x
\underline{x} | x
\boxed{x} | x
\fbox{x} | x
\color{red}{x} | x
\textcolor{red}{x} | x
\mathbf {x} | x
\mathbf{x}y | \mathbf{x}y
\mathbf{x}+\mathbf{y} | \mathbf{x}+\mathbf{y}
\text{5} | 5
\textbf{x 5} | x 5
\text{five} | \text{five}
\text{5}6 | \text{5}6
30^\circ x | 30 x
30^{\circ}x | 30 x
30 ^ { \circ } x | 30 x
30\degree | 30
30\degrees | 30\degrees
5\% | 5%
5 % | 5%
5 percent | 5%
5 per cent | 5%
5 pct | 5%
5\text{ percent} | 5%
5\text{ per cent } | 5%
5\mathrm{pct} | 5%
5 \text{%} | 5%
5 percentx | 5 percentx
5 % of x | 5% of x
4:30 p.m. | 4:30 pm
4:30 PM | 4:30 Pm
4:30~pm | 4:30 pm
4:30\text{ p.m.} | 4:30 pm
4:30\ \text{a.m.} | 4:30 am
4:30\mathrm{ am } | 4:30 am
4\text{ : }30 | 4:30
4{:}30 | 4:30
4:30 pmx | 4:30 pmx
the answer is 5 | 5
The final answer is: 5 | 5
answer: 5 | 5
approximately 5 | 5
approx. 5 | 5
approx 5 | 5
about 5 | 5
roughly 5 | 5
exactly 5 | 5
about exactly 5 | 5
\text{The answer is } 5 | 5
\text{they are: }5 | 5
\text{it is about }5 | 5
\text{it is} | \text{it is}
answer5 | answer5
\varnothing | \emptyset
\{ \} | \emptyset
\varnothingx | \varnothingx
y^{\prime}x | y'x
y^{\prime \prime } | y''
y^\prime | y'
y^\primex | y^\primex
5. | 5
5.. | 5..
; 5 , | 5
5 : | 5
5\\ | 5
5\text{ . } | 5
{5} | 5
{ {5} } | 5
{5}{6} | {5}{6}
\mathbf{{5}.} | 5
\begin{matrix}1\\2\end{matrix} | \begin{matrix}1\\2\end{matrix}
\begin{matrix}1\\x\end{matrix} | \begin{matrix}1\\x\end{matrix}
\begin{array}1\\x\[y\]\end{array} | \begin{array}1\\x\[y\]\end{array}
1\\alpha | 1\alpha
1\\2 | 1\\2
\[5\] | 5
\sqrt3 | \sqrt{3}
\sqrt34 | \sqrt{3}4
\sqrt[3]2 | \sqrt[3]{2}
\sqrt [3] {2} | \sqrt [3]{2}
\frac\pi2 | \frac{\pi}{2}
\frac{1}2 | \frac{1}{2}
\frac1{2} | \frac{1}{2}
\frac 1 2 | \frac{1}{2}
\frac12+\frac34 | \frac{1}{2}+\frac{3}{4}
\frac{\frac12}3\sqrt4 | \frac{\frac{1}{2}}{3}\sqrt{4}
\sqrt\frac12 | \sqrt{\frac}12
\frac{1}{2}\pi | \frac{1}{2}\pi
\frac | \frac
\frac{1 | \frac{1
\frac+2 | \frac+2
\frac1+ | \frac{1}+
\fracx12 | \fracx12
"""


def rows(lines: str) -> list[tuple[str, str]]:
    return [(text, result) for text, _, result in (line.rpartition(" | ") for line in lines.strip().splitlines())]


def test_signs_of_unicode_are_commands() -> None:
    assert {text: forms.clean(text) for text in CHARACTERS} == CHARACTERS


@pytest.mark.parametrize(("text", "cleaned"), [one for one in rows(LOOKS) if not one[0].startswith(r"\biggm")])
def test_only_what_changes_looks_is_taken_off(text: str, cleaned: str) -> None:
    assert forms.clean(text) == cleaned


def test_white_space_and_twenty_layers_of_braces_are_taken_off() -> None:
    assert forms.clean(r" \biggm( x  \Bigg)" + "\n ") == "( x )"
    assert [forms.clean("a\\"), forms.clean("$"), forms.clean(""), forms.clean("$5$.")] == ["a", "", "", "5"]
    assert [forms.clean("{" * size + "5" + "}" * size) for size in (20, 21)] == ["5", "{5}"]


@pytest.mark.parametrize(
    ("text", "result"),
    rows(r"""
a b | ab
1 2 | 1 2
2 1/2 | 2 1/2
2 x | 2x
x 2 | x2
a  b 1 2 c | ab1 2c
x_{1} | x_1
x_ {1} | x_1
x_{12} | x_{12}
x^{2} | x^2
x^{\alpha} | x^\alpha
\text{a} | {a}
\mathrm{a} | {a}
\textx | \textx
"""),
)
def test_keys_differ_in_needless_braces_and_spaces_only(text: str, result: str) -> None:
    assert forms.key(text) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("even", "even"), (r"\text{(C)}", "c"), ("(C)", "c"), ("C", "c"), ("c", None), ("no", None), ("Yes", "yes"),
        ("even odd", "even odd"), (r"\text{No}", "no"), (r"\text{it's A-b}", "it's a-b"), (r"\text{5}", None),
        ("x=5", None), (r"\text{a} 5", None), (r"\text{a}\text{b}", "a b"), ("even5", None), (r"\mathrm{x}", "x"),
        (r"\text{St. Ives}", "st ives"), ("", None), (r"\text{ A }", "a"), (r"\text{a}+", None), ("even, odd", None),
    ],
)  # fmt: skip
def test_words_are_lower_case_and_nothing_but_words(text: str, said: str | None) -> None:
    assert forms.words(text) == said


@pytest.mark.parametrize(
    ("text", "result"),
    rows(r"""
1,234 | 1234
1,234,567 | 1234567
(1,234) | (1,234)
[1,234] | [1,234]
\{1,234\} | \{1,234\}
{1,234} | {1234}
12,34 | 12,34
1,2345 | 1,2345
1234,567 | 1234,567
x=1,234 | x=1234
1,234, | 1,234,
1,234.5 | 1234.5
0.1,234 | 0.1,234
,1,234 | ,1,234
1,234 and 5,678 | 1234 and 5678
"""),
)
def test_commas_between_thousands_go_where_no_bracket_holds_them(text: str, result: str) -> None:
    assert forms.joined(text) == result


SHAPES: dict[str, Form] = {
    r"\begin{pmatrix}1,2\end{pmatrix}": Form("value", (r"\begin{pmatrix}1,2\end{pmatrix}",)),
    "1, 2": Form("list", ("1", "2")), "1; 2": Form("list", ("1", "2")), "1,,2,": Form("list", ("1", "2")),
    "1 and 2": Form("list", ("1", "2")), "1, or 2": Form("list", ("1", "2")), r"1\vee2": Form("list", ("1", "2")),
    r"1 \text{ and } 2": Form("list", ("1", "2")), r"1\lor 2": Form("list", ("1", "2")),
    r"1\mathrm{or}2": Form("list", ("1", "2")), r"1\mbox{ , or}2": Form("list", ("1", "2")),
    "band": Form("value", ("band",)), r"1\veex2": Form("value", (r"1\veex2",)), "": Form("value", ("",)),
    "1": Form("value", ("1",)), "1,": Form("value", ("1,",)), ",": Form("value", (",",)),
    "(1)": Form("value", ("(1)",)), "[1]": Form("value", ("[1]",)), "{1,2}": Form("value", ("{1,2}",)),
    r"(1,2\)": Form("value", (r"(1,2\)",)), "{1,2)": Form("value", ("{1,2)",)),
    "(1": Form("value", ("(1",)), "1)": Form("value", ("1)",)), "f(1,2)": Form("value", ("f(1,2)",)),
    "(1,2)(3,4)": Form("value", ("(1,2)(3,4)",)), "(1,2),(3,4)": Form("list", ("(1,2)", "(3,4)")),
    "(1, 2)": Form("tuple", ("1", "2"), "()"), "(1,(2,3))": Form("tuple", ("1", "(2,3)"), "()"),
    "(1,2,3)": Form("tuple", ("1", "2", "3"), "()"), r"(\{1,2\},3)": Form("tuple", (r"\{1,2\}", "3"), "()"),
    "[1,2]": Form("interval", ("1", "2"), "[]"), "(1,2]": Form("interval", ("1", "2"), "(]"),
    "[1,2)": Form("interval", ("1", "2"), "[)"), "[1,2,3)": Form("interval", ("1", "2", "3"), "[)"),
    "[1,2,3]": Form("list", ("1", "2", "3"), "[]"), "(1,2)]": Form("value", ("(1,2)]",)),
    r"\{1,2\}": Form("set", ("1", "2")), r"\{ 1 \}": Form("set", ("1",)), r"\{\}": Form("set", ("",)),
    r"\{1\pm2\}": Form("set", ("1+2", "1-2")), r"\lbrace 1,2\rbrace": Form("set", ("1", "2")),
    r"\{1\},\{2\}": Form("list", (r"\{1\}", r"\{2\}")), r"\{1\}\cup\{2\}": Form("value", (r"\{1\}\cup\{2\}",)),
    r"\langle 1, 2\rangle": Form("tuple", ("1", "2"), "()"), r"\langle 1\rangle": Form("value", (r"\langle 1\rangle",)),
    r"\langle 1,2\rangle, \langle 3,4\rangle": Form("list", (r"\langle 1,2\rangle", r"\langle 3,4\rangle")),
    r"\langlex, 1\ranglex": Form("list", (r"\langlex", r"1\ranglex")),
    r"1\pm2": Form("list", ("1+2", "1-2")), r"1\mp2": Form("list", ("1+2", "1-2")), r"\pm2": Form("list", ("2", "-2")),
    r"1\pm2, +3": Form("list", ("1+2", "1-2", "3")), r"1\pm2\pm3": Form("value", (r"1\pm2\pm3",)),
    r"1\pmx": Form("value", (r"1\pmx",)), "+1,+2": Form("list", ("1", "2")),
}  # fmt: skip


@pytest.mark.parametrize("text", SHAPES)
def test_texts_have_their_shapes(text: str) -> None:
    assert forms.take_apart(text) == SHAPES[text]


NAMES = r"""
x = 5 | x | 5
x_1=2 | x_1 | 2
x_{12} = 3 | x_{12} | 3
x'=2 | x' | 2
f(x)=3 | f(x) | 3
x \in S | x | S
x := 5 | x | 5
x \colon 5 | x | 5
x \coloneqq 5 | x | 5
\alpha=2 | \alpha | 2
\dot{x}=1 | \dot{x} | 1
\ddot {x}=1 | \ddot {x} | 1
\frac{dy}{dx}=2 | \frac{dy}{dx} | 2
\angle ABC=90 | \angle ABC | 90
\triangle A_1=9 | \triangle A_1 | 9
\angle A_{1}=9 | \angle A_{1} | 9
\text{area}=5 | \text{area} | 5
\text{area} (x)=5 | \text{area} (x) | 5
(x, y)=(1,2) | (x, y) | (1,2)
|AB|=5 | |AB| | 5
"""
NAMELESS = ("x=", "x", "5", r"x\inS", "ab=5", "AB = 5", "x+1=5", "x<=5", "5=x", "x\\colonx 5", r"\angle 5 = 9")
LONG = {
    "speed = 5": ("speed", "5"), "time: 30 m": ("time", "30 m"), "P(A) = 3": ("P(A)", "3"), "AB = 5": ("AB", "5"),
    "speed (x)=3": ("speed (x)", "3"), "Ann's = 5": ("Ann's", "5"), "a" * 40 + "=5": ("a" * 40, "5"),
    "A" + "a" * 40 + "=5": ("A" + "a" * 40, "5"), "a" * 42 + "=5": (None, "a" * 42 + "=5"),
    "4:30": (None, "4:30"), "time: 30": ("time", "30"), "speed =": (None, "speed ="),
}  # fmt: skip


def test_names_are_split_from_what_they_name() -> None:
    named = [(text, name, rest) for head, rest in rows(NAMES) for text, _, name in [head.rpartition(" | ")]]
    assert [forms.split_name(text) for text, *_ in named] == [(name, rest) for _, name, rest in named]
    assert [forms.split_name(text) for text in NAMELESS] == [(None, text) for text in NAMELESS]
    assert {text: forms.split_name(text, long=True) for text in LONG} == LONG
    assert forms.split_name("x = 5", long=True) == ("x", "5")


def test_what_is_exact_stands_before_what_is_about_it() -> None:
    texts = ("5", r"\pi \approx 3.14", r"\approx 3", r"3\approx", r"a\simeq b", r"a\doteq b", "a ~= b", r"a\approxx b",
             r"a\approx b\approx c")  # fmt: skip
    parts = [("5", "5"), (r"\pi", "3.14"), ("3", "3"), ("3", "3"), *[("a", "b")] * 3, (r"a\approxx b",) * 2]
    assert [forms.exact_part(text) for text in texts] == [*parts, ("a", r"b\approx c")]
