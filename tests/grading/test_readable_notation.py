r"""Notations are put into ones that the library reads: degrees, binomials, derivatives, symbols, logarithms.

Each line: text, result; a dot stands for an unchanged text.
"""

from __future__ import annotations

import pytest

from ilr_bench.grading import notation

DEGREES = r"""
\sin 60^\circ | \sin(\frac{1\pi}{3})
\cos 60^{\circ} | \cos(\frac{1\pi}{3})
\tan(30^\circ) | \tan(\frac{1\pi}{6})
\tan ( 30 ) ^ { \circ } | \tan(\frac{1\pi}{6})
\cot{30^\circ} | \cot(\frac{1\pi}{6})
\sec{30}^\circ | \sec(\frac{1\pi}{6})
\csc 30\degree | \csc(\frac{1\pi}{6})
\sin^2 60^\circ | \sin^2(\frac{1\pi}{3})
\sin^{2}(60^\circ) | \sin^{2}(\frac{1\pi}{3})
\sin 22.5^\circ | \sin(\frac{1\pi}{8})
\sin -30^\circ | \sin(\frac{-1\pi}{6})
\sin \frac{45}{2}^\circ | \sin(\frac{1\pi}{8})
\sin 200^\circ | \sin(\frac{10\pi}{9})
\sin 90^\circ + \cos 180^\circ | \sin(\frac{1\pi}{2}) + \cos(\frac{1\pi}{1})
sin 0^\circ | \sin(\frac{0\pi}{1})
\sin \frac{1}{0}^\circ | .
60^\circ | .
\sin 60 | .
asin 60^\circ | .
\sinx 60^\circ | .
\sin 30^\circx | .
\sin 30\degrees | .
"""
NOTATIONS = r"""
{10 \choose 3} | \binom{10}{3}
10\choose 3 | \binom{10}{3}
2{n \choose 2} | 2\binom{n}{2}
{10 \choosex 3} | .
{}_{10}C_3 | \binom{10}{3}
{ } _ 5 C_{2} | \binom{5}{2}
_{10}C_{3} | \binom{10}{3}
^{10}C_3 | \binom{10}{3}
{}_{10}{C}_{3} | \binom{10}{3}
{}_{10}C_34 | \binom{10}{3}4
x_{10}C_3 | .
}_{10}C_3 | .
\frac{dy}{dx} | \Xi_{yprime1}
\frac{d^2y}{dx^2} | \Xi_{yprime2}
\frac{d^{3} y}{d t^{ 3 }} | \Xi_{yprime3}
\frac{dx(t)}{dt} | \Xi_{xprime1}
\frac{d v_o}{d t} | \Xi_{v_oprime1}
\frac{d \theta }{dt} | \Xi_{thetaprime1}
\frac{d^2y}{dx^3} | .
\frac{dy}{dx^2} | .
\dot{x} | \Xi_{xprime1}
\dot x | \Xi_{xprime1}
\ddot\theta | \Xi_{thetaprime2}
\ddot{ x_1 } | \Xi_{x_1prime2}
\dddot{x} | .
x(t) | x
\theta'(t) | \Xi_{thetaprime1}
x_1(t)+y (t) | x_1+y
ax(t) | .
x'' | \Xi_{xprime2}
x_1' | \Xi_{x_1prime1}
x_{12}''' | \Xi_{x_12prime3}
x_{\text{red}} | x_{red}
x_{ \mathrm{ab} } | x_{ab}
M_\odot | M_{odot}
M_{ \odot } | M_{odot}
M_\odotx | .
\text{MR}+\mathrm{ MC }+1 |  MR + MC +1
\text{a} | .
\text{abcdefg} | .
E_1+E _2 | \Xi _1+\Xi  _2
AE_1 | .
\E_1 | .
1\\[2pt]3 | 1\\3
1\\ [ -2.5em ]3 | 1\\3
1\\[x]3 | .
\log_e 2 | \ln  2
\log_{ e }2 | \ln 2
\log_2 3 | .
2pi+r | 2\pi +r
pix | .
api | .
\omega(v+1) | \omega \cdot (v+1)
\alpha(1)\beta(2)\lambda(3) | \alpha \cdot (1)\beta \cdot (2)\lambda \cdot (3)
\mu(1)\nu(2)\rho(3)\sigma(4) | \mu \cdot (1)\nu \cdot (2)\rho \cdot (3)\sigma \cdot (4)
\tau(1)\phi(2)\theta(3) | \tau \cdot (1)\phi \cdot (2)\theta \cdot (3)
\hbar(1)\pi (2) | \hbar \cdot (1)\pi \cdot (2)
\gamma(x) | .
"""
SYMBOLS = r"x X \alpha \beta \gamma \delta \epsilon \varepsilon \theta \lambda \mu \nu \rho \sigma \tau \phi \varphi"
SYMBOLS += r" \chi \psi \omega \Delta \Omega \ell \hbar"


def rows(lines: str) -> list[tuple[str, str]]:
    pairs = (line.split(" | ") for line in lines.strip("\n").split("\n"))
    return [(text, text if result == "." else result) for text, result in pairs]


@pytest.mark.parametrize(("text", "result"), rows(DEGREES))
def test_functions_of_degrees_are_functions_of_radians(text: str, result: str) -> None:
    assert notation.radians(text) == result


@pytest.mark.parametrize(("text", "result"), rows(NOTATIONS))
def test_notations_are_put_into_ones_that_are_read(text: str, result: str) -> None:
    assert notation.readable(text) == result


@pytest.mark.parametrize("letter", SYMBOLS.split())
def test_every_letter_may_be_derived(letter: str) -> None:
    assert notation.readable(rf"\dot{{{letter}}}") == rf"\Xi_{{{letter.removeprefix(chr(92))}prime1}}"


@pytest.mark.parametrize("command", "text textbf textrm textit textsf texttt textnormal textup emph mathrm mathbf "
                         "mathit mathsf mbox hbox operatorname rm".split())  # fmt: skip
def test_text_in_an_index_is_the_index(command: str) -> None:
    assert notation.readable(rf"x_{{\{command} {{ab}}}}") == "x_{ab}"
