"""Programs that models wrote: found in completions, run in a jail, judged outside it by EvalPlus's rules.

`problem` is in EvalPlus's format: `task_id`, `prompt`, `entry_point`, `canonical_solution`, `base_input`,
`plus_input`, `atol`. A problem whose tests state their results has `tests` instead of inputs: pairs of an
expression and what it must equal; and `setup`, statements to run before them.

What EvalPlus measures by the wall clock is CPU time here: a test may take `TEST_SECONDS`, or four times what the
canonical solution took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.code_extraction import extract_code
from ilr_bench.grading.code_rules import oracle_of, view_of
from ilr_bench.grading.compare_outputs import Comparison, is_floats
from ilr_bench.grading.sandbox.host import Ended, Jail, Request
from ilr_bench.grading.sandbox.wire import decode, encode
from ilr_bench.storage.records import Verdict

__all__ = ["CodeJudge", "extract_code"]

TEST_SECONDS, REFERENCE_FACTOR, PROGRAM_SECONDS = 1.0, 4.0, 60.0
"""EvalPlus's: least limit of one test, its multiple of the canonical solution's time, limit of all tests together."""
STATED_SECONDS = 15.0
"""Limit of one test that states its result, where no canonical solution is run."""
LOAD_SECONDS = 5.0
_CANONICAL_SECONDS = 120.0
_PARTS = ("base_input", "plus_input")
_ROOM, _ROOM_FACTOR = 1 << 16, 16


@dataclass(frozen=True)
class _Test:
    """One call, what it must return, and what it may take."""

    call: Any
    expected: bytes
    """As the jail would say it: outputs may be large, and most right ones are equal in this form already."""
    floats: bool
    cpu_seconds: float


class CodeJudge:
    """Judges programs. Use it in a `with`; `judge_many` runs `workers` of them at a time."""

    def __init__(self, jail: bool = True, workers: int = 1) -> None:
        """`jail=False` runs programs in a process with limits only: they can read, write and send what you can."""
        self._jail = Jail(jail=jail)
        self._workers = workers
        self._known: dict[tuple[int, str], tuple[Mapping[str, Any], list[_Test]]] = {}

    @property
    def protection(self) -> str:
        """What stands between a program and the machine, for the records; raises JailError where it cannot."""
        return self._jail.protection

    @property
    def launcher_pid(self) -> int | None:
        """Process id of what starts the programs; None while none has been judged."""
        return self._jail.pid

    def judge(self, program: str | None, problem: Mapping[str, Any]) -> Verdict:
        """CORRECT where every output is right; MISSING without a program; TIMEOUT where it overran its limits.

        Raises JailError where the kernel refuses what the jail needs, ConfigurationError where the canonical
        solution itself fails.
        """
        if program is None:
            return Verdict.MISSING
        for part in ("tests",) if "tests" in problem else _PARTS:
            verdict = self._judge(program, problem, self._tests(problem, part))
            if verdict is not Verdict.CORRECT:
                return verdict
        return Verdict.CORRECT

    def judge_many(self, pairs: Sequence[tuple[str | None, Mapping[str, Any]]]) -> list[Verdict]:
        """The verdict of each pair of program and problem, in their order."""
        # Before the programs: two workers would each run the canonical solution of one problem.
        for _, problem in pairs if self._workers > 1 else ():
            for part in _PARTS if "tests" not in problem else ():
                self._tests(problem, part)
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(lambda pair: self.judge(*pair), pairs))

    def close(self) -> None:
        """Ends the processes; the judge can be used again."""
        self._jail.close()

    def __enter__(self) -> CodeJudge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judge(self, program: str, problem: Mapping[str, Any], tests: Sequence[_Test]) -> Verdict:
        if not tests:
            return Verdict.CORRECT
        left = min(PROGRAM_SECONDS, sum(test.cpu_seconds for test in tests)) + 1
        calls = [test.call for test in tests]
        oracle = oracle_of(problem)
        comparison = Comparison(problem["atol"], oracle)
        with self._jail.run(_request(program, problem, calls, LOAD_SECONDS + left)) as run:
            ended = run.loaded(LOAD_SECONDS)
            if ended is not None:
                return _verdict(ended)
            for test in tests:
                line = run.reply(min(test.cpu_seconds, left), _ROOM + _ROOM_FACTOR * len(test.expected))
                if isinstance(line, Ended):
                    return _verdict(line)
                left -= run.cpu_seconds
                # Not a number is not equal to itself.
                if oracle is None and line == test.expected and b"NaN" not in line:
                    comparison.tolerate(test.floats)
                elif not _accepts(comparison, line, test):
                    return Verdict.WRONG
        return Verdict.CORRECT

    def _tests(self, problem: Mapping[str, Any], part: str) -> list[_Test]:
        key = (id(problem), part)
        if key not in self._known:
            if part == "tests":
                tests = [_test(call, encode(expected).encode(), STATED_SECONDS) for call, expected in problem["tests"]]
            else:
                tests = self._run_canonical(problem, problem[part])
            # The problem is kept with its tests: as long as it lives, nothing else has its id.
            self._known[key] = (problem, tests)
        return self._known[key][1]

    def _run_canonical(self, problem: Mapping[str, Any], inputs: Sequence[Any]) -> list[_Test]:
        if not inputs:
            return []
        program = problem["prompt"] + problem["canonical_solution"]
        found: list[_Test] = []
        with self._jail.run(_request(program, problem, inputs, _CANONICAL_SECONDS)) as run:
            ended = run.loaded(_CANONICAL_SECONDS)
            for call in inputs:
                line = run.reply(_CANONICAL_SECONDS) if ended is None else ended
                if isinstance(line, Ended):
                    raise ConfigurationError(
                        f"problem {problem['task_id']}: its canonical solution {line.value} on test {len(found)}; "
                        "leave the problem out or mend the data"
                    )
                found.append(_test(call, line, max(TEST_SECONDS, REFERENCE_FACTOR * run.cpu_seconds)))
        return found


def _test(call: Any, expected: bytes, cpu_seconds: float) -> _Test:
    output = decode(expected)
    return _Test(call, expected, output is not None and is_floats(output.value), cpu_seconds)


def _accepts(comparison: Comparison, line: bytes, test: _Test) -> bool:
    output, expected = decode(line), decode(test.expected)
    if output is None or expected is None:
        return False
    return comparison.accepts(output.value, expected.value, test.call, exact=output.exact)


def _request(program: str, problem: Mapping[str, Any], calls: Sequence[Any], cpu_seconds: float) -> Request:
    setup = problem.get("setup", "")
    return Request(program, problem["entry_point"], tuple(calls), setup, view_of(problem), cpu_seconds)


def _verdict(ended: Ended) -> Verdict:
    return Verdict.TIMEOUT if ended is Ended.OVERRAN else Verdict.WRONG
