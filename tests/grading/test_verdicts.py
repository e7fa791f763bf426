"""Right and wrong forms of one answer, by kind: each gold with texts that are it and texts that are not."""

from __future__ import annotations

import logging
import random

import pytest

from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict

Forms = tuple[str, list[str], list[str]]


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)


PERCENT: list[Forms] = [
    ("40", [r"40\%", "40%", r"40 \%", "40 percent", r"40\text{ percent}", r"40\,\%"], [r"0.4\%", r"4\%", r"41\%"]),
    (r"12 \%", [r"12\%", "12", "0.12", r"\frac{3}{25}", "12 percent"], [r"1.2\%", "1.2", "120"]),
    ("37.5%", [r"37.5\%", "37.5", "0.375", r"\frac38", r"37\frac12\%"], ["3.75", "0.38"]),
    ("0.75", [r"75\%", "75%"], ["75", r"7.5\%"]),
]
SIZE: list[Forms] = [
    (r"\frac1{3^{50}}", [r"3^{-50}", r"\frac{1}{9^{25}}"], [r"\frac1{2^{50}}", "0", r"-3^{-50}"]),
    ("0.0000451", [r"4.51\times 10^{-5}", ".0000451", "4.51e-5"], ["0.0000452", r"4.5\times10^{-5}", "0"]),
    ("7.1e28", [r"7.1\times10^{28}", r"71\cdot 10^{27}"], [r"7.1\times10^{27}", "7.1", r"7.2\times10^{28}"]),
    (
        r"\frac13",
        [r"0.\overline{3}", "0.33333333333333", r"0.\overline{33}"],
        ["0.33", "0.3333", "0.333333", "0.3333333333"],
    ),
    ("1234567.1", ["1,234,567.1"], ["1234567.2"]),
]
WORDS_BEHIND: list[Forms] = [
    # A number may stand behind a unit as its power, but not behind any word.
    ("1", ["1 m2", "1 cm^3", "1 pen"], ["1 fix1", "1 wrong1", "1 x2", "1 pen2"]),
]
UNALIKE: list[Forms] = [
    ("35", ["35", "x = 35"], ["3 5", r"n\equiv35"]),
    ("21/2", [r"10\frac12", "10.5"], ["2 1/2"]),
    (r"2\frac12", ["2 1/2", "5/2"], ["21/2"]),
    ("(3,-2)", ["x=3, y=-2", "y=-2, x=3"], ["y=3, x=-2", "x=-2, y=3"]),
    (r"\emptyset", [r"\varnothing", r"\{\}", "∅"], [r"\{\emptyset\}", r"\{0\}", "0"]),
    ("4:30", ["4:30", "4:30 PM", r"4{:}30"], ["2:15", "9:00", "4:31"]),
    (r"4\text{:}30 \text{ p.m.}", ["4:30 PM", r"4:30\text{ p.m.}", "4:30pm"], ["4:30 a.m.", "4:31 p.m.", "2:15 p.m."]),
    (
        r"(-\infty,-1)\cup[2,\infty)",
        [r"x<-1 \text{ or } x\ge 2", "x >= 2 or x < -1", "-1 > x or 2 <= x"],
        ["x<-1 or x>2", "x<-1", r"x\ge2", "x<-1 and x>=2", "x<-2 or x>=2"],
    ),
    ("x<-1 or x>2", [r"(-\infty,-1)\cup(2,\infty)", "2<x or x<-1"], [r"(-\infty,-1]\cup(2,\infty)", "-1<x<2"]),
    ("(1,3]", [r"3\ge x>1", r"1<x\leq3"], ["3>x>1", "3<x<1", r"1\le x<3"]),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", [r"\begin{pmatrix} 1 & 2 \\[2pt] 3 & 4 \end{pmatrix}"], ["1,2,3,4"]),
    (r"\ln 2", [r"\log_e 2", r"\log_{e}2"], [r"\log_2 2", r"\log_{10} 2"]),
    ("6\\pi", ["6pi", "6 pi"], ["6p", "7pi"]),
    ("101_2", [r"101_\text{two}"], [r"101_\text{three}"]),
]
FORMS: list[Forms] = [
    (
        r"\angle B E A_{1}=90,\angle A E B_{1}=90",
        [
            r"90^\circ, 90^\circ",
            r"\angle BEA_1 = \angle AEB_1 = 90^\circ",
            r"\angle BEA_1=90^\circ, \angle AEB_1 = 90^\circ",
            r"90^\circ",
            r"90^{\circ} \text{ and } 90^{\circ}",
            r"\angle B E A_{1} = 90^{\circ} \text{ and } \angle A E B_{1} = 90^{\circ}",
        ],
        ["80,90", r"\angle BEA_1=90"],
    ),
    (r"m_{\max }=n^{2}-n-1", ["n^2-n-1", r"m_{\max} = n^2 - n - 1", "m=n^2-n-1", "n(n-1)-1"], ["n^2-n+1", "n^2"]),
    ("f(x)=a x+b", ["f(x)=ax+b", "ax+b", "f(x) = b + ax"], ["ax"]),
    (
        r"(-\infty, 0) \cup\{1\}.",
        [r"(-\infty,0)\cup\{1\}", r"\left(-\infty,0\right) \cup \{1\}", r"\{1\}\cup(-\infty,0)"],
        [r"(-\infty,0)", r"(-\infty,0]\cup\{1\}", r"(-\infty,1)\cup\{1\}"],
    ),
    (r"t \in (0,4]", ["(0,4]", r"t\in(0,4]", r"0<t\le 4", r"0 < t \leq 4"], ["(0,4)", "[0,4]", r"0\le t\le 4", "4"]),
    ("62.5%", ["62.5", r"62.5\%", "0.625", r"\frac{5}{8}", "5/8"], ["6.25", "0.62", r"\frac58\%"]),
    (
        r"x=\frac{1}{6} \pi+\pi k, \frac{1}{3} \pi+\pi k, \frac{2}{3} \pi+\pi k, \frac{5}{6} \pi+\pi k",
        [
            r"\frac{\pi}{6}+k\pi, \frac{\pi}{3}+k\pi, \frac{2\pi}{3}+k\pi, \frac{5\pi}{6}+k\pi",
            r"x = \frac{\pi}{6}+\pi k, \frac{\pi}{3}+\pi k, \frac{2\pi}{3}+\pi k, \frac{5\pi}{6}+\pi k",
        ],
        [r"\frac{\pi}{6}+k\pi, \frac{\pi}{3}+k\pi, \frac{2\pi}{3}+k\pi"],
    ),
    (
        r"1 \pm \sqrt{19}",
        [
            r"1+\sqrt{19}, 1-\sqrt{19}",
            r"1\pm\sqrt{19}",
            r"1-\sqrt{19} \text{ and } 1+\sqrt{19}",
            r"x = 1 \pm \sqrt{19}",
            r"\{1+\sqrt{19},1-\sqrt{19}\}",
        ],
        [r"1+\sqrt{19}", r"-1\pm\sqrt{19}"],
    ),
    (r"\{1\pm\sqrt{5},-2\}", [r"-2, 1+\sqrt5, 1-\sqrt5", r"\{-2,1\pm\sqrt5\}"], [r"1\pm\sqrt5"]),
    ("y = 2x + 3", ["y=2x+3", "2x+3", "2x - y + 3 = 0", "y = 3+2x"], ["y=2x-3", "x=2y+3", "3"]),
    (
        "5x - 7y + 11z + 4 = 0",
        ["5x-7y+11z+4=0", "5x-7y+11z=-4", "-5x+7y-11z-4=0", "10x-14y+22z+8=0"],
        ["5x-7y+11z=4", "0"],
    ),
    (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        [
            r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
            r"\left(\begin{matrix}1&2\\3&4\end{matrix}\right)",
        ],
        [r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"],
    ),
    (r"\text{Evelyn}", ["Evelyn", r"\text{evelyn}", r"\textbf{Evelyn}", r"\mathrm{Evelyn}"], ["Angela", "E"]),
    (r"\text{(C)}", ["C", "(C)", r"\text{C}", "c", r"\textbf{(C)}"], ["B", "(B)"]),
    (r"\text{even}", ["even", "Even", r"\text{ even }"], ["odd", "neither"]),
    (r"10,\!080", ["10080", "10,080"], ["1080"]),
    (r"5.4 \text{ cents}", ["5.4", r"5.4\text{ cents}", "5.4 cents", "5.4¢"], ["54"]),
    (
        r"(0,9) \cup (9,36)",
        [r"(9,36)\cup(0,9)", r"(0, 9) \cup (9, 36)", r"x\in(0,9)\cup(9,36)"],
        ["(0,36)", r"(0,9]\cup(9,36)"],
    ),
    (r"k \geqslant 2", [r"k\ge2", r"k \geq 2", r"2 \le k", r"[2,\infty)"], ["k>2", r"k\le2", "2"]),
    ("f(n)=n, g(n)=1", ["f(n)=n,g(n)=1", "g(n)=1, f(n)=n", r"f(n)=n \text{ and } g(n)=1"], ["f(n)=1,g(n)=n"]),
    ("x^2+2x+1", ["(x+1)^2", "1+2x+x^2"], ["x^2+2x"]),
    (r"\sqrt{2}", ["2^{1/2}", r"\sqrt2", r"\frac{2}{\sqrt2}"], ["1.41", "1.4142"]),
    (r"11\sqrt2", [r"11\sqrt{2}", r"\sqrt{242}", r"\boxed{11\sqrt{2}}"], ["11"]),
    (
        "10",
        [
            "10",
            r"10 \text{ cm}^2",
            r"10\,\text{cm}^3",
            r"10\text{ m/s}",
            "10 cm^2",
            "10km",
            r"10\ \mathrm{km/h}",
            r"10 \frac{\text{m}}{\text{s}}",
            "+10",
            "{10}",
            "$10$",
            r"\(10\)",
            r"10\text{.}",
            "10.0",
            "10.00",
            r"\textbf{10}",
            r"\mathbf{10}",
            r"10 \text{ (cm)}",
        ],
        [
            "10 or so",
            "10x",
            "10i",
            r"10 \text{ or } 11",
            "10-11",
            "10+1",
            "100",
            "1:0",
            "10^2",
            "10!",
            r"10\pi",
            r"\sqrt{10}",
            "10 squared",
            r"10 \pm 1",
            "[10,10]",
            "(10,10)",
            "10,10",
            r"10 \text{ million}",
        ],
    ),
    (
        "18",
        [
            r"\$18",
            r"18\text{ dollars}",
            "18 dollars",
            r"18 \, \text{USD}",
            r"\text{\$18}",
            "USD 18",
            "18 eggs",
            r"18\text{ eggs/day}",
        ],
        ["18 thousand"],
    ),
    ("3:5", ["3:5", "3 : 5", r"\frac{3}{5}", r"3\text{ to }5"], ["5:3", "3:4"]),
    ("0.5", [r"\frac12", ".5", r"50\%", "1/2"], ["5", "0.05"]),
    (
        "12",
        [
            "x=12",
            "AB=12",
            r"\angle A = 12",
            r"\text{The answer is } 12",
            "12 = x",
            "n(A) = 12",
            "3+9=12",
            "|AB| = 12",
            "a_{12} = 12",
            "a+b=12",
            "S_{10}=12",
        ],
        ["12=13", "x=13", r"x\neq 12", "x<12", r"x\ge 12"],
    ),
    (
        r"(3, \frac{\pi}{2})",
        [r"\left(3,\frac{\pi}{2}\right)", r"(r,\theta)=(3,\frac{\pi}{2})", r"3, \frac\pi2", r"(3,\pi/2)"],
        [r"[3,\frac\pi2]", r"(\frac\pi2,3)", r"(3,\frac\pi2]"],
    ),
    ("16,3,1,1", ["1,1,3,16", "16, 3, 1 and 1"], ["16,3,1", "16,3,3,1", "16,16,3,1"]),
    ("1.5", ["1 1/2", r"1\frac{1}{2}", r"1\tfrac12", "3/2"], ["11/2", "1/2"]),
    (r"-\frac{3}{2}", [r"-1\frac12", "-1.5", r"\frac{-3}{2}", r"\frac{3}{-2}", r"-\dfrac32", "-(3/2)"], ["3/2"]),
    ("2^{60}", ["2^{60}", "1152921504606846976", "4^{30}"], ["1152921504606846977", "2^{59}"]),
    (r"\frac{1}{2}e^{x}", [r"\frac{e^x}{2}", r"\frac12 \exp(x)", "0.5e^x"], ["e^x"]),
    ("7", [r"\text{7}", "7\\\\", "7 ", r"\,7\,", r"\large 7", r"\color{red}{7}"], ["8"]),
    (
        "1000000",
        ["1,000,000", "10^6", "10^{6}", r"1\times10^6", "1 million", "1{,}000{,}000", r"1\,000\,000", "1 000 000"],
        ["1,000,00", "10^5"],
    ),
    ("x=5", ["5", "x=5", "x = 5"], ["y=5", "x=6"]),
    ("2516_8", ["2516_8", "2516_{8}", "2516", r"2516_{\text{eight}}"], ["2516_9", "2517_8", "2516_{10}"]),
    ("0", ["0", "-0", "0.0", r"0\text{ m}"], ["0:7", "[0,0]", r"\emptyset", "1"]),
]
MEASURED: list[Forms] = [
    (
        r"\frac{dM}{dt}=\frac{10^{5} L_{\odot}}{0.007 c^{2} M_{\odot}^{6}} M^{6}",
        [
            r"\frac{dM}{dt} = \frac{10^5 L_\odot M^6}{0.007 c^2 M_\odot^6}",
            r"\frac{dM}{dt}=\frac{10^{5} L_{\odot}}{0.007 c^{2} M_{\odot}^{6}}M^{6}",
            r"\frac{10^5 L_{\odot} M^6}{0.007 c^2 M_{\odot}^6}",
        ],
        [r"\frac{10^5 L_{\odot} M^5}{0.007 c^2 M_{\odot}^6}", r"\frac{10^6 L_{\odot} M^6}{0.007 c^2 M_{\odot}^6}"],
    ),
    (
        r"y^{\prime}+r y-r x(t)=0",
        ["y'+ry-rx(t)=0", "y' + r y = r x(t)", "y'(t) + r y(t) = r x(t)", r"\frac{dy}{dt}+ry-rx=0"],
        ["y'-ry-rx(t)=0", "y+ry-rx(t)=0"],
    ),
    (
        r"\frac{4 A}{3+3 i} e^{i t}",
        [r"\frac{4A}{3+3i}e^{it}", r"\frac{4A e^{it}}{3+3i}", r"\frac{4Ae^{it}}{3(1+i)}", r"\frac{2A(1-i)}{3}e^{it}"],
        [r"\frac{4A}{3-3i}e^{it}", r"\frac{4A}{3+3i}e^{-it}"],
    ),
    (
        r"\frac{e^{2 i t}}{(2+2 i)}",
        [r"\frac{e^{2it}}{2+2i}", r"\frac{1}{2+2i}e^{2it}", r"\frac{1-i}{4}e^{2it}", r"w=\frac{e^{2it}}{2+2i}"],
        [r"\frac{e^{2it}}{2-2i}"],
    ),
    (
        r"x^{\prime}+\frac{r}{V} x-r c=0",
        [r"x'+\frac{r}{V}x-rc=0", r"x' + \frac{r}{V} x = rc", r"\frac{dx}{dt}+\frac{r}{V}x=rc", r"x'+\frac{rx}{V}=rc"],
        [r"x'-\frac{r}{V}x-rc=0", r"\frac rVx=rc"],
    ),
    (r"\frac{37}{4} m", [r"\frac{37m}{4}", r"\frac{37}{4}m", "9.25m", r"k=\frac{37}{4}m"], [r"\frac{37}{4}", "9.25"]),
    (
        r"\frac{e^{2 i t}}{(2+2 i)}+C e^{-2 t}",
        [
            r"\frac{e^{2it}}{2+2i}+Ce^{-2t}",
            r"z = C e^{-2t} + \frac{e^{2it}}{2+2i}",
            r"z(t)=\frac{e^{2it}}{2+2i}+Ce^{-2t}",
        ],
        [r"\frac{e^{2it}}{2+2i}"],
    ),
    (r"\frac{1}{m} t", [r"\frac{t}{m}", "t/m", r"v(t)=\frac{t}{m}", r"\frac{1}{m}t"], [r"\frac{1}{m}", r"\frac1t"]),
    (
        r"\frac{d^{2} v_{o}}{d t^{2}}+\frac{v_{o}}{L C}=\frac{v_{i}}{L C}",
        [
            r"\frac{d^2v_o}{dt^2}+\frac{v_o}{LC}=\frac{v_i}{LC}",
            r"\frac{d^2 v_o}{dt^2} + \frac{1}{LC} v_o = \frac{1}{LC} v_i",
            r"LC\frac{d^2v_o}{dt^2}+v_o=v_i",
        ],
        [r"\frac{d^2v_o}{dt^2}-\frac{v_o}{LC}=\frac{v_i}{LC}"],
    ),
    (
        r"m l \ddot{\theta}(t)-m g \sin \theta(t)=f(t) \cos \theta(t)",
        [r"ml\ddot{\theta}(t)-mg\sin\theta(t)=f(t)\cos\theta(t)", r"ml\ddot\theta - mg\sin\theta = f\cos\theta"],
        [r"ml\ddot{\theta}(t)+mg\sin\theta(t)=f(t)\cos\theta(t)"],
    ),
    (
        r"\frac{1}{\sqrt{2}}c",
        [r"\frac{c}{\sqrt{2}}", r"\frac{\sqrt2}{2}c", r"v=\frac{c}{\sqrt2}"],
        [r"\frac{1}{\sqrt2}", r"\frac c2"],
    ),
    (
        r"\lambda_{\text {red}} / \sqrt{2}",
        [
            r"\frac{\lambda_{\text{red}}}{\sqrt{2}}",
            r"\lambda_{red}/\sqrt2",
            r"\frac{1}{\sqrt{2}}\lambda_{\text{red}}",
            r"\frac{\sqrt2}{2}\lambda_{\mathrm{red}}",
        ],
        [r"\lambda_{\text{red}}/2", r"\lambda_{red}", r"\sqrt2\lambda_{red}"],
    ),
    (
        "MR=SRMC",
        ["MR = SRMC", "SRMC=MR", r"\text{MR} = \text{SRMC}", r"\mathrm{MR}=\mathrm{SRMC}"],
        ["MR=MC", "SRMC", "P=SRMC"],
    ),
    ("SRAC=LRAC", ["SRAC = LRAC", "LRAC=SRAC", r"\text{SRAC}=\text{LRAC}"], ["SRMC=LRMC"]),
    (
        r"\hbar \omega(v+1 / 2)-\frac{E_{0}^{2} e^{2}}{2 m \omega^{2}}",
        [
            r"\hbar\omega\left(v+\frac{1}{2}\right)-\frac{E_0^2e^2}{2m\omega^2}",
            r"E_v=\hbar\omega(v+1/2)-\frac{e^2E_0^2}{2m\omega^2}",
            r"\hbar \omega \left(v + \frac12\right) - \frac{e^2 E_0^2}{2 m \omega^2}",
            r"\left(v+\frac12\right)\hbar\omega-\frac{e^2E_0^2}{2m\omega^2}",
        ],
        [r"\hbar\omega(v+1/2)", r"\hbar\omega\left(v+\frac{1}{2}\right)+\frac{E_0^2e^2}{2m\omega^2}"],
    ),
    (
        r"\frac{1}{3} E_{1}+\frac{2}{3} E_{2}",
        [r"\frac{E_1+2E_2}{3}", r"\frac{E_1}{3}+\frac{2E_2}{3}", r"\langle E\rangle = \frac13E_1+\frac23E_2"],
        [r"\frac23", r"\frac{2}{3}E_1+\frac13E_2"],
    ),
    (
        "E_{1},E_{2}",
        ["E_1, E_2", r"E_1 \text{ or } E_2", "E_2, E_1", r"\{E_1,E_2\}", r"E_1 \text{ and } E_2"],
        ["E_1", "E_1,E_3"],
    ),
    (
        "2.88e-19",
        [
            r"2.9\times10^{-19}",
            r"2.88\times 10^{-19} \text{ J}",
            "2.880e-19",
            r"E = 2.88 \times 10^{-19} \mathrm{~J}",
            r"\approx 2.88\times10^{-19}",
        ],
        [r"3\times10^{-19}", r"2.8\times10^{-19}", "2.885e-19", "2.88"],
    ),
    ("4.6", ["4.6", "4.60", r"4.6 \text{ m}"], ["5", "4.7", "4.61", "46", "-4.6"]),
    (r"\frac{1}{3}", ["0.33", "0.333"], ["0.34", "0.3"]),
]
"""Where golds are measured quantities, which may be rounded to two digits or more; and laws, with their symbols."""


def misjudged(rows: list[Forms], measured: bool) -> list[tuple[str, str, bool]]:
    cases = [
        (gold, text, right)
        for gold, *both in rows
        for right, texts in zip((True, False), both, strict=True)
        for text in texts
    ]
    return [case for case in cases if (judge(case[1], case[0], measured) is Verdict.CORRECT) is not case[2]]


@pytest.mark.parametrize(
    "rows",
    [PERCENT, SIZE, WORDS_BEHIND, UNALIKE, FORMS[:18], FORMS[18:]],
    ids=["percent", "size", "words", "unalike", "forms", "more"],
)
def test_right_forms_are_accepted_and_wrong_ones_are_not(rows: list[Forms]) -> None:
    assert misjudged(rows, measured=False) == []


def test_measured_quantities_may_be_rounded_and_nothing_else_may() -> None:
    assert misjudged(MEASURED, measured=True) == []
    assert judge("0.33", r"\frac{1}{3}") is Verdict.WRONG


def test_a_verdict_does_not_depend_on_what_was_judged_before() -> None:
    pairs = [("(0,3)", "0 < x < 3"), (r"0<x<\frac62", "0 < x < 3"), ("(0,3)", "(0,3)"), ("0,3", "(0,3)"),
             ("3,0", "(0,3)"), ("3, 0", "0,3"), (r"\{0,3\}", "0,3"), (r"\{3,0\}", "(0,3)"), ("(0,3]", "(0,3)"),
             (r"1 < x \text{ and } x < 2", "(1,2)"), ("x=2, x=1", "1,2"), ("2,1,1", "1,1,2"),
             ("2,1", "1,1,2")]  # fmt: skip
    alone = {pair: judge(*pair) for pair in pairs}
    draw = random.Random(3)
    for _ in range(3):
        draw.shuffle(pairs)
        assert {pair: judge(*pair) for pair in pairs} == {pair: alone[pair] for pair in pairs}
    assert alone["0<x<\\frac62", "0 < x < 3"] is alone["(0,3)", "0 < x < 3"] is Verdict.CORRECT
