"""From what a model said to a verdict."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from ilr_bench.agent import Agent
from ilr_bench.benchmarks.base import Benchmark, Row
from ilr_bench.grading import Grader
from ilr_bench.programs import ProgramRunner, extract_program
from ilr_bench.records import Verdict


@dataclass(frozen=True)
class Judgement:
    """The answer found in one completion, and what it earns."""

    answer: str | None
    verdict: Verdict


class Scorer:
    """Scores one agent's completions on one benchmark and remembers them. Use it in a `with`."""

    def __init__(self, benchmark: Benchmark, agent: Agent, grader: Grader) -> None:
        """The grader stays its owner's; a process for programs is started only where one is found."""
        self._kind = benchmark.kind
        self._agent = agent
        self._grader = grader
        self._programs = ProgramRunner()
        self._owned = ExitStack()
        self.judged: dict[str, list[Judgement]] = {}
        """Row id -> judgements of its completions, in their order."""

    def score(self, row: Row, completions: list[str]) -> list[Judgement]:
        """The judgements of all completions for one row."""
        self.judged[row.id] = [self._judge(row, completion) for completion in completions]
        return self.judged[row.id]

    def __enter__(self) -> Scorer:
        self._owned.enter_context(self._programs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()

    def _judge(self, row: Row, completion: str) -> Judgement:
        if row.problem is not None:
            program = extract_program(completion)
            return Judgement(program, self._programs.judge(program, row.problem))
        answer = self._agent.style.extract_answer(completion)
        (verdict,) = self._grader.grade([(answer, row.gold)])
        return Judgement(answer, verdict)
