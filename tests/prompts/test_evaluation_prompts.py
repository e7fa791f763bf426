"""What styles say alone: each kind of answer is asked for, found again, and never found where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.grading.code import extract_code
from ilr_bench.prompts import STYLES, Kind, task_formats
from ilr_bench.prompts.fewshot import CHOICES, FORMULAS, PROGRAMS
from ilr_bench.tasks.benchmarks import get
from ilr_bench.tasks.types import GROUPS

KINDS: tuple[Kind, ...] = ("answer", "choice", "code", "function")
CHAT, FEWSHOT, MICRO = (task_formats(STYLES.get(name)) for name in ("chat", "fewshot", "micro"))


@given(question=st.text(min_size=1), kind=st.sampled_from(KINDS))
def test_a_style_of_one_form_asks_and_reads_as_in_training(question: str, kind: Kind) -> None:
    style = STYLES.get("micro")
    assert MICRO.solve_as(question, kind) == style.solve(question)
    assert MICRO.extract_as(question, kind) == style.extract_answer(question)
    assert MICRO.stops_as(kind) == style.stop_strings()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forms", [CHAT, FEWSHOT], ids=["chat", "fewshot"])
def test_questions_stand_in_their_prompts_once(forms: object, kind: Kind) -> None:
    question = r"What is $\frac{1}{7}$ of 91?"
    assert forms.solve_as(question, kind).count(question) == 1  # type: ignore[attr-defined]


def test_answers_are_asked_for_as_in_training() -> None:
    question = "Ann has 3 figs and buys 2. How many figs has she?"
    for name in ("chat", "fewshot"):
        style = STYLES.get(name)
        assert task_formats(style).solve_as(question, "answer") == style.solve(question)
    for kind in ("answer", "function"):
        assert CHAT.extract_as(r"so \boxed{B}, or \boxed{5}", kind) == r"\boxed{B} \boxed{5}"
    assert FEWSHOT.solve_as("3 + 4", "answer") == STYLES.get("fewshot").solve("3 + 4")


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{\textbf{(B)}}", "B"),
        (r"\boxed{B.}", "B"),
        (r"\boxed{B. seven}", "B"),
        (r"\boxed{B) a civil court}", "B"),
        (r"\boxed{\text{B. seven}}", "B"),
        (r"\boxed{B} again \boxed{B. seven}", "B"),
        (r"\boxed{A} or \boxed{B}", None),
        (r"\boxed{A, B}", None),
        (r"\boxed{A or B}", None),
        (r"\boxed{A. one B. two}", None),
        (r"\boxed{A} and \boxed{7}", None),
        (r"\boxed{seven}", None),
        (r"\boxed{b}", "B"),
        (r"\boxed{}", None),
        ("The answer is B.", None),
        ("", None),
    ],
)
def test_chat_choices_are_one_letter_or_none(completion: str, letter: str | None) -> None:
    assert CHAT.extract_as(completion, "choice") == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (" The answer is B.", "B"),
        ("So the answer is (B)", "B"),
        ("the answer is B. The answer is B.", "B"),
        ("B", "B"),
        ("(B).", "B"),
        ("The answer is A. No, the answer is B.", None),
        ("The answer is A, B, C", None),
        ("The answer is (A) or (B)", None),
        ("The answer is A and B", None),
        ("The answer is Berlin.", None),
        ("A, B", None),
        ("", None),
    ],
)
def test_few_shot_choices_are_one_letter_or_none(completion: str, letter: str | None) -> None:
    assert FEWSHOT.extract_as(completion, "choice") == letter


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"so it is. The answer is $\frac{11}{12}$.", r"\frac{11}{12}"),
        (r"The answer is $(2, 0)$.", "(2, 0)"),
        (r"The answer is 2\sqrt{13}.", r"2\sqrt{13}"),
        ("The answer is 3.5.", "3.5"),
        ("The answer is $1,200.", "1200"),
        ("The answer is 10 pens. Done.", "10"),
        ("The answer is: 7", "7"),
        ("The answer is 3. No, the answer is 4.", None),
        ("The answer is x + 1. The answer is x + 1.", "x + 1"),
        ("19", "19"),
        ("nothing", None),
        ("", None),
    ],
)
def test_few_shot_answers_may_be_formulas(completion: str, answer: str | None) -> None:
    assert FEWSHOT.extract_as(completion, "answer") == answer


@pytest.mark.parametrize("kind", KINDS)
def test_few_shot_examples_end_where_the_completion_would(kind: Kind) -> None:
    question = r"Compute $\dfrac12$." if kind == "answer" else "A question\nof two lines"
    prompt, (stop, *_) = FEWSHOT.solve_as(question, kind), FEWSHOT.stops_as(kind)
    examples, asked = prompt.rsplit("Question: ", 1)
    opening = "```python\n" if kind in ("code", "function") else "Answer:"
    assert asked == f"{question}\nAnswer:{'' if opening == 'Answer:' else chr(10) + opening}"
    for example in examples.split("Question: ")[1:]:
        output = example.split(opening, 1)[1].split(stop)[0].strip()
        if kind in ("code", "function"):
            compile(output, "example", "exec")
        else:
            assert FEWSHOT.extract_as(output, kind) is not None


def test_examples_are_right() -> None:
    assert [FEWSHOT.extract_as(output, "choice") for _, output in CHOICES] == ["B", "C", "A", "D"]
    wanted = [r"\frac{11}{12}", "5", r"2\sqrt{13}", "(2, 0)"]
    assert [FEWSHOT.extract_as(output, "answer") for _, output in FORMULAS] == wanted
    names = {}
    for _, program in PROGRAMS:
        exec(program, names)
    assert names["count_vowels"]("banana") == 3
    assert names["largest_gap"]([1, 4, 2]) == 3
    assert names["keep_even"]([1, 2, 4]) == [2, 4]


def test_a_few_shot_program_needs_no_fence() -> None:
    completion = "def double(x):\n    return 2 * x"
    assert extract_code(completion, "double") == completion


def test_the_page_states_every_benchmarks_limit() -> None:
    page = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    stated = {name.strip(): cells[3].split()[0] for cells in rows if len(cells) == 6 for name in cells[1].split(",")}
    for group in ("paper-v4", "generated"):
        for name in GROUPS[group]:
            assert stated[name] == f"{get(name).max_new_tokens:,}"
    for name in ("mbpp_plus", "humaneval", "humaneval_plus"):
        assert stated[name] == f"{get(name).max_new_tokens:,}"
