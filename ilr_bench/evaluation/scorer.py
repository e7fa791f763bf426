"""From what a model said to a verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

from ilr_bench.generation.agent import Agent
from ilr_bench.grading.code import CodeJudge, extract_code
from ilr_bench.grading.expressions import ProgramRunner, extract_program
from ilr_bench.grading.math import Grader, reject_question_echo
from ilr_bench.prompts import task_formats
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion


class GradedAnswer(NamedTuple):
    """The answer found in one completion, and what it earns."""

    answer: str | None
    verdict: Verdict


class Scorer:
    """Scores one agent's completions on one benchmark. Use it in a `with`."""

    def __init__(self, benchmark: Benchmark, agent: Agent, grader: Grader, jail: bool = True) -> None:
        """The grader stays its owner's; processes for programs are started only where a benchmark needs them."""
        self._kind = benchmark.kind
        self._forms = task_formats(agent.style)
        self._grader = grader
        self._programs = ProgramRunner()
        self._code = CodeJudge(jail, _cores()) if benchmark.kind == "code" else None
        self._owned = ExitStack()

    @property
    def protection(self) -> str | None:
        """What holds programs that are run, None where none needs a jail; raises JailError where none can be had."""
        return None if self._code is None else self._code.protection

    def score(self, row: BenchmarkQuestion, completions: Sequence[str]) -> list[GradedAnswer]:
        """The judgements of all completions for one row."""
        return self.score_all([row], [completions])[0]

    def score_all(
        self, rows: Sequence[BenchmarkQuestion], completions: Sequence[Sequence[str]]
    ) -> list[list[GradedAnswer]]:
        """`completions[i]` are those for `rows[i]`; judged together, which is faster than one by one."""
        completions_of_row = [(row, text) for row, texts in zip(rows, completions, strict=True) for text in texts]
        answers = [self._answer(row, text) for row, text in completions_of_row]
        verdicts = self._verdicts([row for row, _ in completions_of_row], answers)
        verdict_of = iter(map(GradedAnswer, answers, verdicts))
        return [[next(verdict_of) for _ in texts] for texts in completions]

    def __enter__(self) -> Scorer:
        self._owned.enter_context(self._programs)
        if self._code is not None:
            self._owned.enter_context(self._code)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()

    def _answer(self, row: BenchmarkQuestion, completion: str) -> str | None:
        if self._kind == "function":
            return extract_program(completion)
        if self._kind == "code" and row.problem is not None:
            return extract_code(completion, row.problem["entry_point"])
        return reject_question_echo(self._forms.extract_as(completion, self._kind), row.question)

    def _verdicts(self, rows: Sequence[BenchmarkQuestion], answers: Sequence[str | None]) -> list[Verdict]:
        if self._kind == "function":
            return [self._programs.judge(answer, row.problem or {}) for row, answer in zip(rows, answers, strict=True)]
        if self._code is not None:
            return self._code.judge_many(
                [(answer, row.problem or {}) for row, answer in zip(rows, answers, strict=True)]
            )
        if self._kind == "choice":
            return [_choice(answer, row.gold) for row, answer in zip(rows, answers, strict=True)]
        return self._grader.grade([(answer, row.gold) for row, answer in zip(rows, answers, strict=True)])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _choice(letter: str | None, gold: str) -> Verdict:
    if letter is None:
        return Verdict.MISSING
    return Verdict.CORRECT if letter == gold else Verdict.WRONG
