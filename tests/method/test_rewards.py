"""What an answer earns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.generation.agent import Prompt
from ilr_bench.generation.engine import Completion
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.rewards import Answer, Graded, Verified, remark_rewards, right_steps, score
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question

QUESTION = Question("q", "3+5-2", "6", ("3+5=8", "8-2=6"))
GRADED, VERIFIED = Graded(), Verified()


def turn(text, finished=True):
    return Turn(Prompt((), 0), Completion((), np.zeros(0, np.float32), finished), text)


def earns(verdict, text, settings, finished=True):
    (earned,) = settings([Answer(QUESTION, text, 3, finished, verdict)])
    return earned


def test_a_right_answer_in_form_earns_one_and_the_format_term():
    assert earns(Verdict.CORRECT, "8-2=6 \\boxed{6}", GRADED) == pytest.approx(1.1)


def test_right_steps_of_a_wrong_answer_earn_partial_credit_only_when_graded():
    wrong = "3+5=8 8-2=5 \\boxed{5}"
    assert earns(Verdict.WRONG, wrong, GRADED) == pytest.approx(0.5 * 0.5 + 0.1)
    assert earns(Verdict.WRONG, wrong, VERIFIED) == pytest.approx(0.1)


def test_a_turn_without_an_answer_or_cut_by_the_limit_gets_no_format_term():
    assert earns(Verdict.MISSING, "nothing", GRADED) == 0
    assert earns(Verdict.CORRECT, "\\boxed{6}", VERIFIED, finished=False) == 1


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("3+5=8;8-2=6", 1), ("3 + 5 = 8", 0.5), ("13+5=8", 0), ("3+5=80", 0), ("8-2=6;3+5=8", 0.5), ("", 0)],
)
def test_steps_count_whole_and_in_their_order(text, fraction):
    assert right_steps(text, QUESTION.steps) == fraction


@given(st.sampled_from(list(Verdict)), st.text(max_size=40), st.booleans())
def test_no_answer_that_is_not_right_earns_as_much_as_a_right_one(verdict, text, finished):
    earned = earns(verdict, text, GRADED, finished)
    assert verdict is Verdict.CORRECT or earned < earns(Verdict.CORRECT, text, GRADED, finished) or earned <= 0.6


def test_a_question_copied_into_the_box_is_no_answer():
    copied = Question("q", "Simplify $\\sqrt{16}$.", "4")
    with Grader(workers=1) as grader:
        output = [turn(f"\\boxed{{{text}}}") for text in (copied.text, "4")]
        scores = score([copied] * 2, output, STYLES.get("chat"), VERIFIED, grader)
    assert [item.verdict for item in scores] == [Verdict.MISSING, Verdict.CORRECT]
    assert scores[0].reward == 0


def test_the_weights_of_steps_and_form_are_those_of_the_settings():
    settings = Graded(format_weight=0.2, step_weight=0.25)
    wrong = "3+5=8 8-2=5 \\boxed{5}"
    assert earns(Verdict.WRONG, wrong, settings) == pytest.approx(0.25 * 0.5 + 0.2)
    assert earns(Verdict.CORRECT, "\\boxed{6}", settings) == pytest.approx(1.2)
    assert earns(Verdict.MISSING, "3+5=8", settings) == pytest.approx(0.25 * 0.5)


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("0.5 + 1 = 1.5", 1),
        ("0. 5+1=1.5", 0),
        ("10.5+1=1.5", 0),
        (".0.5+1=1.5", 0),
        ("0.5+1=1.52", 0),
        ("0.5+1=1.5.", 1),
    ],
)
def test_numbers_of_a_step_are_whole(text, fraction):
    assert right_steps(text, ["0.5+1=1.5"]) == fraction


def test_a_step_is_looked_for_behind_the_one_before_it():
    assert right_steps("1+1=2", ["1+1=2", "1+1=2"]) == 0.5
    assert right_steps("1+1=2 1+1=2", ["1+1=2", "1+1=2"]) == 1
    assert right_steps("2+2=4", ["1+1=2", "2+2=4"]) == 0.5
    assert right_steps("anything", []) == 0


def test_an_analysis_earns_the_mean_of_the_fusions_in_its_dialogue():
    fusion = [np.array([[1.0, 0.0, 0.5, 0.5]])]
    assert remark_rewards(fusion, dialogues=2)[0].tolist() == [[0.5, 0.5]]
    assert remark_rewards(fusion, dialogues=4)[0].tolist() == [[1.0, 0.0, 0.5, 0.5]]


def test_analyses_of_several_questions_are_paid_one_by_one():
    fusion = [np.array([[1.0, 0.0, 0.5, 0.7], [0.2, 0.4, 0.0, 1.0]]), np.array([[0.0, 0.0, 1.0, 1.0]] * 2)]
    first, second = remark_rewards(fusion, dialogues=2)
    np.testing.assert_allclose(first, [[0.5, 0.6], [0.3, 0.5]])
    assert second.tolist() == [[0.0, 1.0]] * 2
