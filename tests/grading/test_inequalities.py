r"""Inequalities in one letter are the intervals that they mean. Each line: text, letter, intervals."""

from __future__ import annotations

import pytest

from ilr_bench.grading import inequalities

MEANT = r"""
x<1 | x | (-\infty,1)
x<=1 | x | (-\infty,1]
x\le1 | x | (-\infty,1]
x\leq 1 | x | (-\infty,1]
x \leqslant 1 | x | (-\infty,1]
x\lt 1 | x | (-\infty,1)
x>1 | x | (1,\infty)
x>=1 | x | [1,\infty)
x\ge1 | x | [1,\infty)
x\geqslant1 | x | [1,\infty)
x\gt1 | x | (1,\infty)
1<x | x | (1,\infty)
1<=x | x | [1,\infty)
1>=x | x | (-\infty,1]
x_1<\frac{1}{2} | x_1 | (-\infty,\frac{1}{2})
\alpha<2 | \alpha | (-\infty,2)
0<x<1 | x | (0,1)
0\le x<1 | x | [0,1)
0<x\leqslant1 | x | (0,1]
1>x>0 | x | (0,1)
1\ge x>0 | x | (0,1]
1 > x >= 0 | x | [0,1)
x<1 or x>2 | x | (-\infty,1)\cup(2,\infty)
x<1\text{ or }x>2 | x | (-\infty,1)\cup(2,\infty)
x<1 \lor x>2 | x | (-\infty,1)\cup(2,\infty)
x<1\vee x\ge2 | x | (-\infty,1)\cup[2,\infty)
x<1 or 2<x<3 or x>4 | x | (-\infty,1)\cup(2,3)\cup(4,\infty)
|x|<1 | x | (-1,1)
|x|>1 | x | (-\infty,-1)\cup(1,\infty)
|x|\le2 | x | [-2,2]
|x|\ge2 | x | (-\infty,-2]\cup[2,\infty)
1>|x| | x | (-1,1)
1\le|x| | x | (-\infty,-1]\cup[1,\infty)
| x - 3 | < 2 | x | (1,5)
|x+3|<2 | x | (-5,-1)
|x-3|\ge\frac{1}{2} | x | (-\infty,\frac{5}{2}]\cup[\frac{7}{2},\infty)
|x+\frac{1}{3}|<\frac{2}{3} | x | (-1,\frac{1}{3})
|x|<\sqrt{2} | x | (-\sqrt{2},\sqrt{2})
|x|\ge\sqrt{2} | x | (-\infty,-\sqrt{2}]\cup[\sqrt{2},\infty)
\lvert x\rvert<1 | x | (-1,1)
\mid x\mid<1 | x | (-1,1)
\vert x \vert\le 1 | x | [-1,1]
|x|<1 or x>2 | x | (-1,1)\cup(2,\infty)
"""
NO_ONE_LETTER = (
    "0<x>1", "0>x<1", "0<x<1<2", "x<y", "1<2", "x<1,y", "x<1,2", "x,y<1", "<1", "x<", "x", "2x<1", "x+1<2",
    "x<1 or y>2",
    "x<1 or 3", "x<1 for", "|x|<0", "|x|<-1", "|x|>0", "|x-y|<1", r"|x-3|<\sqrt{2}", "|x|<a", r"|x|<1+\sqrt{2}",
    r"|x|<1-\sqrt{2}", "0<|x|<1", "|2x|<1", "a<x<b", "0<2<x", "x<1<2", "x=1", "", r"x\neq1", "1<2x<3",
)  # fmt: skip


def rows() -> list[tuple[str, str, str]]:
    return [(text, letter, meant) for head, _, meant in (line.rpartition(" | ") for line in MEANT.strip().split("\n"))
            for text, _, letter in [head.rpartition(" | ")]]  # fmt: skip


@pytest.mark.parametrize(("text", "letter", "intervals"), rows())
def test_an_inequality_is_the_intervals_that_it_means(text: str, letter: str, intervals: str) -> None:
    assert inequalities.as_union(text) == (letter, intervals)


@pytest.mark.parametrize("text", NO_ONE_LETTER)
def test_other_texts_are_no_intervals(text: str) -> None:
    assert inequalities.as_union(text) is None


def test_relations_are_those_that_order_or_exclude() -> None:
    relations = (r"x\ne1", r"x\neq1", "x<1", "x>1", r"x\le1", r"x\leq1", r"x\lt1", r"x\gt1", r"\geqslant", r"\leqslant",
                 r"\leqq", r"\geqq", r"\ge")  # fmt: skip
    others = (r"\left", "x=1", r"\l", r"\lex", r"\nex", "x", r"\Leq")
    assert [inequalities.is_relation(text) for text in (*relations, *others)] == [True] * 13 + [False] * 7
