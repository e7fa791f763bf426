"""What a reward is given, what it may return, and by which names rewards are found."""

import numpy as np
import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.generation.agent import Prompt
from ilr_bench.generation.engine import Completion
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.judge import Judge
from ilr_bench.method.rewards import REWARDS, Answer, Graded, Score, Verified, score
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


def test_what_is_graded_is_the_answer_and_not_the_question():
    question = Question("q", "$\\sqrt{16}$", "4")
    turn = Turn(Prompt((1,), 0), Completion((1,), np.zeros(1, dtype=np.float32), True), "\\boxed{5}")
    with Grader(workers=1) as grader:
        (found,) = score([question], [turn], STYLES.get("chat"), Verified(), grader)
    assert found.verdict is Verdict.WRONG


def test_a_reward_sees_each_answer_with_its_own_question_length_and_end():
    questions = [Question("q", "1+1", "2"), Question("r", "2+2", "4")]
    turns = [
        Turn(Prompt((1,), 0), Completion((1,) * length, np.zeros(length, dtype=np.float32), finished), text)
        for length, finished, text in ((3, True, "\\boxed{2}"), (5, False, "\\boxed{5}"))
    ]
    seen = []
    with Grader(workers=1) as grader:
        found = score(questions, turns, STYLES.get("chat"), lambda answers: seen.extend(answers) or [0.5, 2], grader)
    assert seen == [
        Answer(questions[0], "\\boxed{2}", 3, True, Verdict.CORRECT),
        Answer(questions[1], "\\boxed{5}", 5, False, Verdict.WRONG),
    ]
    assert found == [Score(Verdict.CORRECT, 0.5), Score(Verdict.WRONG, 2.0)]


@pytest.mark.parametrize("bad", [[1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]], [1.0, np.nan], [np.inf, 1.0]])
def test_a_reward_returns_a_finite_number_for_each_answer(bad):
    turn = Turn(Prompt((1,), 0), Completion((1,), np.zeros(1, dtype=np.float32), True), "\\boxed{2}")
    question, shape = Question("q", "1+1", "2"), str(np.shape(bad)).replace("(", r"\(").replace(")", r"\)")
    with Grader(workers=1) as grader:
        said = rf"^reward\.kind: rewards of shape {shape} came back for 2 answers"
        with pytest.raises(ConfigurationError, match=said):
            score([question] * 2, [turn] * 2, STYLES.get("chat"), lambda answers: bad, grader)


def test_rewards_have_the_names_of_the_settings():
    assert [REWARDS.get(name) for name in ("verified", "graded", "judge")] == [Verified, Graded, Judge]
