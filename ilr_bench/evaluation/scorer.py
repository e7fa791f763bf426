"""Verdicts on the completions of one agent on one benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ilr_bench.core.hardware import cores
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.code import CodeJudge, extract_code
from ilr_bench.grading.expressions import ProgramRunner, extract_program
from ilr_bench.grading.killable_pool import ProcessOwner
from ilr_bench.grading.math import Grader, reject_question_echo
from ilr_bench.prompts import task_formats
from ilr_bench.prompts.thoughts import without_thought
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion


class GradedAnswer(NamedTuple):
    """The answer found in one completion, and what it earns."""

    answer: str | None
    verdict: Verdict


class Scorer(ProcessOwner):
    """Scores one agent's completions on one benchmark. Use it in a `with`."""

    def __init__(self, benchmark: Benchmark, agent: Agent, grader: Grader, jail: bool = True) -> None:
        """The grader stays its owner's; processes for programs are started only where a benchmark needs them."""
        self._kind, self._measured = benchmark.kind, benchmark.measured
        self._formats = task_formats(agent.style)
        self._thoughts = agent.thoughts
        self._grader = grader
        self._programs = ProgramRunner()
        self._code = CodeJudge(jail, cores()) if benchmark.kind == "code" else None

    @property
    def protection(self) -> str | None:
        """What holds programs that are run, None where none needs a jail; raises JailError where none can be had."""
        return None if self._code is None else self._code.protection

    def score(self, row: BenchmarkQuestion, completions: Sequence[str]) -> list[GradedAnswer]:
        """The graded answers of all completions for one row."""
        return self.score_all([row], [completions])[0]

    def score_all(
        self, rows: Sequence[BenchmarkQuestion], completions: Sequence[Sequence[str]]
    ) -> list[list[GradedAnswer]]:
        """`completions[i]` are those for `rows[i]`; judged together, which is faster than one by one."""
        completions_of_row = [(row, text) for row, texts in zip(rows, completions, strict=True) for text in texts]
        answers = [self._answer(row, text) for row, text in completions_of_row]
        verdicts = self._verdicts([row for row, _ in completions_of_row], answers)
        # Two different answers are none; only the grader knows whether they differ.
        found = [None if verdict is Verdict.MISSING else one for one, verdict in zip(answers, verdicts, strict=True)]
        verdict_of = iter(map(GradedAnswer, found, verdicts))
        return [[next(verdict_of) for _ in texts] for texts in completions]

    def close(self) -> None:
        """See `ProcessOwner.close`."""
        self._programs.close()
        if self._code is not None:
            self._code.close()

    def _answer(self, row: BenchmarkQuestion, completion: str) -> str | None:
        completion = without_thought(completion, self._thoughts)
        if self._kind == "function":
            return extract_program(completion)
        if self._kind == "code" and row.problem is not None:
            return extract_code(completion, row.problem["entry_point"])
        return reject_question_echo(self._formats.extract_as(completion, self._kind), row.question)

    def _verdicts(self, rows: Sequence[BenchmarkQuestion], answers: Sequence[str | None]) -> list[Verdict]:
        if self._kind == "function":
            return [self._programs.judge(answer, row.problem or {}) for row, answer in zip(rows, answers, strict=True)]
        if self._code is not None:
            return self._code.judge_many(
                [(answer, row.problem or {}) for row, answer in zip(rows, answers, strict=True)]
            )
        if self._kind == "choice":
            return [_choice(answer, row.gold) for row, answer in zip(rows, answers, strict=True)]
        pairs = [(answer, row.gold) for row, answer in zip(rows, answers, strict=True)]
        return self._grader.grade(pairs, self._measured)


def _choice(letter: str | None, gold: str) -> Verdict:
    if letter is None:
        return Verdict.MISSING
    return Verdict.CORRECT if letter == gold else Verdict.WRONG
