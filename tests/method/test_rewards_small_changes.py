"""A question that itself has the right value does not grade a wrong answer right."""

import numpy as np

from ilr_bench.generation.agent import Prompt
from ilr_bench.generation.engine import Completion
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.rewards import Verified, score
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


def test_what_is_graded_is_the_answer_and_not_the_question():
    question = Question("q", "$\\sqrt{16}$", "4")
    turn = Turn(Prompt((1,), 0), Completion((1,), np.zeros(1, dtype=np.float32), True), "\\boxed{5}")
    with Grader(workers=1) as grader:
        (found,) = score([question], [turn], STYLES.get("chat"), Verified(), grader)
    assert found.verdict is Verdict.WRONG
