"""Letters of options, and boxes: which forms are read."""

from __future__ import annotations

import time

import pytest

from ilr_bench.prompts.letters import letter_of
from ilr_bench.tasks.types import boxed, boxed_answer

D = r"""D
(D)
[D]
D.
(D).
D:
D)
d
(d)
d.
\text{D}
\text{(D)}
\text{D}.
\textbf{(D)}
\textrm{D}
\mathrm{(D)}
\mathbf{D}
\text{Option D}
option (D)
Answer: D
The correct answer is D
**D**
{{D}}
$D$
\ D
D, eleven
D. eleven
(D) eleven
D - eleven
D = 11
D \text{ (11)}
\textbf{(D)}\ 11
\text{D. eleven}
\left(D\right)
\underline{D}
\displaystyle D
\mathbf{D. }\text{eleven}
D. UK. law
D. both A and C
**D. eleven**
\mathbb{D}
\mathcal{D}
"D"
“D”
'D'
‘D’
<D>
#D
# D
Ｄ
\text{Letter D}
D—eleven
D \Rightarrow 11
D → 11""".split("\n")
NONE = r"""A) or D
A. or D
(D) or (A)
\text{D. and A}
D or not D
A, D
D, A
D and A
D/A
D|A
D. A. B.
not D
AD
Dog
D'
D A
\{A, D\}
eleven
D to F
D, or A
D—or A
<A> or <D>
"A" or "D"
'D' or 'A'
D \Rightarrow A
#1
D's""".split("\n")


@pytest.mark.parametrize("content", D)
def test_one_option_in_many_forms_is_its_letter(content: str) -> None:
    assert letter_of(content) == "D"


@pytest.mark.parametrize("content", NONE)
def test_hedges_lists_and_words_are_no_letter(content: str) -> None:
    assert letter_of(content) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed {5}", ["5"]), (r"\fbox{5} ", ["5"]), (r"so $\boxed5$.", ["5"]), (r"\boxed{\boxed{5}}", ["5"]),
        (r"\boxed 12, I think", ["12"]), (r"\boxed\frac{1}{2}", [r"\frac{1}{2}"]), (r"\boxed{\{1,2\}}", [r"\{1,2\}"]),
        (r"\boxed{\left\{ x \right.}", [r"\left\{ x \right."]), (r"in \boxed and", []), (r"\boxedx{5}", []),
        (r"} \boxed{5} {", ["5"]), (r"{ \boxed{5}", ["5"]), (r"\boxed{5", []), (r"\boxed{a\\}", [r"a\\"]),
        (r"\\boxed{5}", ["5"]), (r"so \\ \boxed{5}", ["5"]), (r"so \\\boxed{5}", ["5"]), (r"\framebox{5}", ["5"]),
    ],
)  # fmt: skip
def test_boxes_are_found_in_every_form(text: str, found: list[str]) -> None:
    assert boxed(text) == found


def test_boxes_of_one_text_are_one_answer_and_others_are_kept_apart() -> None:
    assert boxed_answer(r"\boxed{5} \boxed{ 5 } \boxed{}") == "5"
    assert boxed_answer(r"\boxed{5} = \fbox{10/2}") == r"\boxed{5} \boxed{10/2}"
    assert boxed_answer("5") is None


def test_thousands_of_unclosed_boxes_take_no_time() -> None:
    start = time.process_time()
    assert boxed(r"\boxed{" * 14_000) == []
    assert time.process_time() - start < 1
