"""Numbers in words, absolute values, binomials and degrees: right forms, wrong twins, and what reading costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from ilr_bench.grading import characters, forms, inequalities, notation
from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict

FORMS = (
    ("12", ["twelve", r"\text{Twelve}", "twelve dollars", "twelve eggs per day", "x = twelve", "twelve."],
     ["thirteen", "twelve thirteen", "twelfth", "twenty", "twelve or thirteen", "twelve times", "twelve hundred",
      "minus twelve", "twelve squared", "twelve and a half", "half a dozen"]),
    (r"\frac12", ["one half", "half", "one-half", r"\text{one half}", "fifty percent"],
     ["two halves", "one third", "half half", "five percent"]),
    (r"\frac34", ["three quarters", r"\text{three-quarters}"], ["three thirds", "a quarter", "three quarters squared"]),
    (r"\text{two}", ["two", "2", "Two"], ["three", "3", "two x"]),
    (r"\text{one solution}", ["one solution", "One solution"], ["1", "two solutions"]),
    ("2,3", ["two and three", "three, two"], ["two", "two and four"]),
    ("40", ["forty", "forty percent"], ["fourteen", "four percent"]),
    ("(-1,1)", ["|x|<1", r"\lvert x\rvert<1", r"\left|x\right|<1", r"1 > |x|"],
     ["|x|>1", r"|x|\le1", "|x|<2", "|x|<-1"]),
    ("[-2,2]", [r"|x|\le 2", r"2\ge|x|"], ["|x|<2", r"|x|\ge2"]),
    (r"(-\infty,-1)\cup(1,\infty)", ["|x|>1", "1<|x|"], ["|x|<1", r"|x|\ge1"]),
    ("(1,5)", ["|x-3|<2", "|x - 3| < 2"], ["|x+3|<2", "|x-3|<3", "|3x|<2"]),
    ("|x|<1", ["(-1,1)", "-1<x<1", "1>x>-1"], ["[-1,1]", "-1<x", "|y|<1", "-2<x<1"]),
    (r"|x|\ge\sqrt2", [r"(-\infty,-\sqrt2]\cup[\sqrt2,\infty)", r"x\le-\sqrt2 \text{ or } x\ge\sqrt2"],
     [r"[-\sqrt2,\sqrt2]", r"(-\infty,-\sqrt2)\cup(\sqrt2,\infty)"]),
    (r"|x+\frac12|\le\frac32", ["[-2,1]", r"-2\le x\le1"], ["[-1,2]", "(-2,1)"]),
    ("120", [r"{10 \choose 3}", r"10 \choose 3", r"\binom{10}{3}", r"{10\choose 7}", "{}_{10}C_3", "_{10}C_{3}"],
     [r"{10 \choose 4}", r"{3 \choose 10}", "{}_{10}C_4", "C_3"]),
    (r"2\binom{n}{2}", ["n(n-1)", r"2{n \choose 2}"], [r"{2n \choose 2}", r"{n \choose 3}"]),
    (r"\frac{\sqrt3}{3}",
     [r"\tan 30^\circ", r"\tan(30^\circ)", r"\tan\left(30^{\circ}\right)", r"\tan(30)^\circ", r"\tan 30°",
      r"\cot 60^\circ",      r"\tan{30^\circ}", "tan 30°", r"\tan 30\degree"],
     [r"\tan 60^\circ", r"\tan 30", r"\tan -30^\circ", r"\sin 30^\circ"]),
    (r"\frac34", [r"\sin^2 60^\circ", r"\cos^{2} 30°"], [r"\sin^2 30^\circ", r"\sin 60^\circ"]),
    (r"\tan 30^\circ", [r"\frac{\sqrt3}{3}", r"\tan 30^\circ", r"\tan\frac\pi6"], [r"\tan 30", r"\sqrt3"]),
    (r"2\sin 20^\circ", [r"2\sin 20^{\circ}", r"2\sin(20°)", r"2\cos 70^\circ"], [r"2\sin 20", r"2\cos 20^\circ"]),
    (r"\sin 22.5^\circ", [r"\sin \frac{45}{2}^\circ", r"\frac{\sqrt{2-\sqrt2}}{2}"], [r"\sin 22^\circ"]),
    ("30", [r"30^\circ", "30°", "30º", "30˚", r"30^{o}"], [r"\sin 30^\circ", "30^2", "30²"]),
    ("18", ["１８", "18th", r"18^{\text{th}}", r"\#18", r"18\ \square", r"18\checkmark", r"\therefore 18", "→ 18",
            r"\implies 18", r"\text{Total: } 18", "Total: 18", r"\color{blue}18", r"{\color{red} 18}", "Rs. 18", "*18*",
            r"\underbrace{18}", r"\num{18}", r"\qty{18}{\metre}", r"\SI{18}{m}", r"x \coloneqq 18", "__18__",
            r"\begin{aligned} 18 \end{aligned}", r"\begin{align*} x = 18\end{align*}", "17.999999999999996"],
     [r"18\ldots", "18…", "18...", "1 8", "minus 18", "x: 19", r"\num{19}", "18^th power", "17.9999999", "1⁸", "18₉",
      r"\begin{aligned} 1 \\\\ 8 \end{aligned}", r"\to 81"]),
    ("8", ["2³", "2**3"], ["2*3", "23", "2^*3"]),
    ("23", ["**23**", "**Answer: 23**"], ["2**3", "2³"]),
    (r"x^2+2x+1", ["x**2+2*x+1", "x² + 2x + 1", "(x+1)**2"], ["x*2+2*x+1", "(x+1)*2", "x2+2x+1"]),
    ("x^{12}", ["x**12", "x¹²"], ["x**1 2", "x*12"]),
    (r"3\sqrt{12}", ["3√12", "3√(12)", r"3\sqrt(12)", "6√3"], ["3√1·2", "√36"]),
    ("3", ["∛27", "√9"], ["√27", "∛9"]),
    (r"\frac{7}{4}", ["1¾", "7⁄4", r"\nicefrac{7}{4}", r"\sfrac74", "1.75"], ["1¼", "¾", "1⁄4"]),
    ("-2", ["minus 2", "negative 2", r"\text{-}2", "−2"], ["2", "minus two minus 2"]),
    ("1500000", [r"1.5\text{ million}", r"1.5\text{ million dollars}"], ["1.5", r"1.5\text{ billion}"]),
    ("0.3", ["0.30000000000000004", "0.299999999999999989"], ["0.3000000000001", "0.29", "0.3000000000005"]),
    ("2,3", ["2 & 3", r"2\&3", r"2\text{, }3", r"\lbrace 3, 2\rbrace"], ["2 & 2", "2", r"2\text{, }4"]),
    ("[0,1)", ["[0,1[", r"\left[0,1\right[", r"\{x: 0\le x<1\}", r"\{x \mid 0 \leq x < 1\}",
               r"\left\{x\in\mathbb{R} \,\middle|\, 0\le x<1\right\}"],
     ["]0,1[", "]0,1]", "[0,1]", r"\{x: 0<x<1\}", r"\{x\in\mathbb{Z}: 0\le x<1\}"]),
    (r"(-\infty,0)\cup(1,2]", [r"]-\infty,0[\cup]1,2]", "]−∞, 0[ ∪ ]1, 2]"], [r"]-\infty,0]\cup]1,2]"]),
    (r"(3,\frac\pi2)", [r"r = 3, \theta = \frac\pi2", r"\langle 3, \pi/2\rangle", r"P(3, \frac{\pi}{2})"],
     [r"\theta = \frac\pi2, r = 3", r"P(\frac\pi2, 3)", r"\langle\pi/2, 3\rangle"]),
    ("2516_8", ["2516₈", "(2516_8)", r"2516 \text{ base } 8", "2516 in base 8", "2516_{(8)}", r"2516\text{ (base 8)}"],
     ["2516₉", "2516 base 9", "(2517)_8", "2516_{(16)}"]),
    (r"\infty", ["infinity", r"\text{infinity}", "∞"], ["negative infinity", r"-\infty", "infinite"]),
    (r"\emptyset", ["empty set", r"\text{the empty set}", "∅", r"\{\}"], ["0", r"\{0\}"]),
    (r"\text{6:30 p.m.}", ["6:30 pm", "6:30 PM"], ["6:30 am", "6:31 pm"]),
)  # fmt: skip


@pytest.mark.parametrize(("gold", "right", "wrong"), FORMS)
def test_right_forms_are_accepted_and_their_twins_are_not(gold: str, right: list[str], wrong: list[str]) -> None:
    judged = {answer: judge(answer, gold) is Verdict.CORRECT for answer in (*right, *wrong)}
    assert judged == dict.fromkeys(right, True) | dict.fromkeys(wrong, False)


NESTED = {
    "fractions begun": lambda size: r"\frac{" * size,
    "fractions in fractions": lambda size: r"\frac{1}{" * size + "1" + "}" * size,
    "roots in roots": lambda size: r"\sqrt{" * size + "2" + "}" * size,
    "fractions without braces": lambda size: r"\frac12" * size,
    "braces": lambda size: "{" * size + "1" + "}" * size,
    "bold in bold": lambda size: r"\mathbf{" * size + "1" + "}" * size,
    "brackets begun": lambda size: "(" * size,
    "full stops": lambda size: "1" + ". " * size,
    "lists": lambda size: "1, " * size,
}


@pytest.mark.parametrize("kind", NESTED)
def test_twice_as_much_to_clean_is_at_most_about_twice_the_work(kind: str) -> None:
    small, large = (steps(lambda n=size: forms.take_apart(forms.clean(NESTED[kind](n)))) for size in (200, 400))
    assert large < 2.3 * small + 100


def steps(work: Callable[[], object]) -> int:
    """Lines of the modules that take answers apart that are run, and the lengths of the texts they are run on."""
    files = {module.__file__ for module in (characters, forms, notation, inequalities)}
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_commands_in_commands_get_their_braces_as_one_by_one() -> None:
    assert forms.clean(r"\frac{\frac12}{\sqrt 3}") == r"\frac{\frac{1}{2}}{\sqrt{3}}"
    assert forms.clean(r"\frac {\sqrt[3]2} \pi") == r"\frac{\sqrt[3]{2}}{\pi}"
    assert forms.clean(r"\frac{1 + \frac1{2}") == r"\frac{1 + \frac{1}{2}"
