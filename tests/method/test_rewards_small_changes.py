"""A question that itself has the right value does not grade a wrong answer right."""

from ilr_bench.core.config import RewardSettings
from ilr_bench.grading.math import Grader
from ilr_bench.method.rewards import Answer, score
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


def test_what_is_graded_is_the_answer_and_not_the_question():
    answer = Answer(Question("q", "$\\sqrt{16}$", "4"), "\\boxed{5}", True)
    with Grader(workers=1) as grader:
        (found,) = score([answer], STYLES.get("chat"), RewardSettings(kind="verified"), grader)
    assert found.verdict is Verdict.WRONG
