"""Whom a benchmark's kind has judge its answers, and what is read before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from scripted import scripted_agent

from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.grading.math import Grader
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion

PROBLEM = {"entry_point": "solve", "task_id": "x"}


class Recorded:
    """A grader, a judge or a runner that notes what it is asked, and finds everything right."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.closed = 0

    def grade(self, pairs: Sequence[tuple[str | None, str]], measured: bool) -> list[Verdict]:
        self.asked.append((list(pairs), measured))
        return [Verdict.MISSING if answer == "2 or 3" else Verdict.CORRECT for answer, _ in pairs]

    def judge_many(self, pairs: Sequence[Any]) -> list[Verdict]:
        self.asked.append(list(pairs))
        return [Verdict.CORRECT for _ in pairs]

    def judge(self, answer: Any, problem: Any) -> Verdict:
        self.asked.append((answer, problem))
        return Verdict.CORRECT

    def close(self) -> None:
        self.closed += 1


def scorer(kind: Any, grader: Any, style: str = "micro", **options: Any) -> Scorer:
    benchmark = Benchmark("b", "B", "", kind, "in-domain", subject="maths", load=tuple, **options)
    return Scorer(benchmark, scripted_agent("A", lambda prompt, sample: "", style=style), grader, jail=False)


@pytest.mark.parametrize("measured", [False, True])
def test_an_answer_goes_to_the_grader_with_its_gold(measured: bool) -> None:
    grader = Recorded()
    row = BenchmarkQuestion("q", "1+1", "2", PROBLEM)
    found = scorer("answer", grader, measured=measured).score(row, [r"<think>\boxed{9}</think>\boxed{3}", "no"])
    assert grader.asked == [([("3", "2"), (None, "2")], measured)]
    assert [(one.answer, one.verdict) for one in found] == [("3", Verdict.CORRECT)] * 1 + [(None, Verdict.CORRECT)]


def test_what_the_grader_finds_to_be_two_answers_is_recorded_as_none() -> None:
    found = scorer("answer", Recorded()).score(BenchmarkQuestion("q", "1+1", "2"), [r"\boxed{2 or 3}", r"\boxed{2}"])
    assert [(one.answer, one.verdict) for one in found] == [(None, Verdict.MISSING), ("2", Verdict.CORRECT)]


def test_a_letter_is_compared_without_the_grader() -> None:
    grader = Recorded()
    row = BenchmarkQuestion("q", "Which?\nA. 1\nB. 2", "B")
    found = scorer("choice", grader, "chat").score(row, [r"\boxed{B}", r"\boxed{A}", "?"])
    assert [one.verdict for one in found] == [Verdict.CORRECT, Verdict.WRONG, Verdict.MISSING]
    assert grader.asked == []


def test_programs_go_to_the_judge_with_their_problem_and_functions_to_the_runner() -> None:
    text = "```python\ndef solve(x):\n    return x + 1\n```"
    rows = [BenchmarkQuestion("q", "Add one.", "", PROBLEM), BenchmarkQuestion("r", "Add one.", "")]
    code, judge = scorer("code", Recorded()), Recorded()
    code._code = judge  # type: ignore[assignment]
    code.score_all(rows, [[text], [text]])
    ((first, second),) = judge.asked
    assert first[0] is not None
    assert "return x + 1" in first[0]
    assert (first[1], second[1]) == (PROBLEM, {})
    function, runner = scorer("function", Recorded()), Recorded()
    function._programs = runner  # type: ignore[assignment]
    function.score_all(rows, [["def f(x): return x + 1"], ["no"]])
    assert [problem for _, problem in runner.asked] == [PROBLEM, {}]
    assert runner.asked[0][0] is not None


def test_a_scorer_ends_what_it_has_started_and_leaves_the_grader() -> None:
    grader = Recorded()
    with scorer("code", grader) as opened:
        opened._code, opened._programs = judge, runner = Recorded(), Recorded()  # type: ignore[assignment]
    assert (judge.closed, runner.closed, grader.closed) == (1, 1, 0)
    with scorer("answer", Grader()) as plain:
        assert plain.protection is None
