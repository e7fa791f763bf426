"""Verdicts on programs: found in completions, run in a jail, judged outside it by EvalPlus's rules (0.3.1).

**Extraction** is that of EvalPlus's `sanitize`, with Python's own parser. First the longest run of lines that parses:
most lines that are not empty, the earliest of equals. Then, of its top level, all imports and whatever the entry point
reaches by name: functions with a `return`, classes, assignments. Everything else (calls, `if`, decorated definitions,
second definitions of a name) is left out; where nothing remains, the whole run stays.

**Problems** are in EvalPlus's format: `task_id`, `prompt`, `entry_point`, `canonical_solution`, `base_input`,
`plus_input`, `atol`. A problem whose tests state their results has `tests` instead of inputs: pairs of an expression
and what it must equal; and `setup`, statements to run before them. What EvalPlus measures in wall-clock time is CPU
time here: a test may take `TEST_SECONDS`, or four times what the canonical solution took.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.compare_outputs import Comparison, Oracle, is_floats
from ilr_bench.grading.killable_pool import ProcessOwner
from ilr_bench.grading.sandbox.host import Jail, ProgramEnd, ProgramRequest
from ilr_bench.grading.sandbox.wire import decode, encode
from ilr_bench.storage.records import Verdict

LONGEST_COMPLETION = 100_000
"""Characters; nothing is looked for behind them."""
_MOST_LINES = 200

TEST_SECONDS, REFERENCE_FACTOR, PROGRAM_SECONDS = 1.0, 4.0, 60.0
"""EvalPlus's: least limit of one test, its multiple of the canonical solution's time, limit of all tests together."""
STATED_SECONDS = 15.0
"""Limit of one test that states its result, where no canonical solution is run."""
LOAD_SECONDS = 5.0
_CANONICAL_SECONDS = 120.0
_PARTS = ("base_input", "plus_input")
_HEADROOM, _HEADROOM_FACTOR = 1 << 16, 16

_PRESENT = ("check_str", "text_match_three", "text_starta_endb")
_SAME_SET = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def extract_code(completion: str, entry_point: str) -> str | None:
    """The program in a completion; None where no code names the entry point."""
    run = longest_code(completion[:LONGEST_COMPLETION])
    tree = _parse(run)
    if tree is None:
        return None
    program = _reduced(tree, run, entry_point).strip() or run
    return program if re.search(rf"\b{re.escape(entry_point)}\b", program) else None


def longest_code(text: str) -> str:
    """The lines of a text that parse and are most; its first line where no two do.

    Of a text of more than `_MOST_LINES` lines, the first ones are looked at: the search is quadratic.
    """
    lines = text.split("\n")[:_MOST_LINES]
    # filled[i]: how many lines before line i are not empty.
    filled = [0]
    for line in lines:
        filled.append(filled[-1] + bool(line.strip()))
    spans = (
        (filled[first] - filled[last + 1], first, last)
        for first in range(len(lines))
        for last in range(first + 1, len(lines))
        if filled[last + 1] > filled[first]
    )
    for _, first, last in sorted(spans):
        run = "\n".join(lines[first : last + 1])
        if _parse(run) is not None:
            return run
    return lines[0]


def _parse(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        # A model's `"\d"` is no concern of the user's.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _reduced(tree: ast.Module, text: str, entry_point: str) -> str:
    imports = [node for node in tree.body if _is_import(node)]
    definitions: dict[str, _Definition] = {}
    for node in tree.body:
        name = _defined_name(node)
        if name is not None and isinstance(node, _Definition):
            definitions.setdefault(name, node)
    needed = _reachable(entry_point, definitions)
    kept = [*imports, *(node for name, node in definitions.items() if name in needed)]
    lines = text.encode().split(b"\n")
    return "\n".join(_source(node, lines) for node in kept)


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")


def _defined_name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = any(isinstance(part, ast.Return) for part in ast.walk(node))
        return node.name if returns and not node.decorator_list else None
    if isinstance(node, ast.ClassDef):
        return None if node.decorator_list else node.name
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        sides = (target, node.value if isinstance(node, ast.AnnAssign) or len(node.targets) == 1 else None)
        return next((side.id for side in sides if isinstance(side, ast.Name)), None)
    return None


def _reachable(entry_point: str, definitions: dict[str, _Definition]) -> set[str]:
    reached, waiting = {entry_point}, [entry_point]
    while waiting:
        node = definitions.get(waiting.pop())
        fresh = set(_identifiers(node)) - reached if node is not None else set()
        reached |= fresh
        waiting += fresh
    return reached


def _identifiers(node: ast.AST) -> Iterator[str]:
    """Every name in a statement, attributes, arguments and keywords included."""
    for part in ast.walk(node):
        for _, value in ast.iter_fields(part):
            values: Iterable[object] = value if isinstance(value, list) else [value]
            for text in values:
                if isinstance(text, str) and not isinstance(part, ast.Constant):
                    yield from text.split(".")


def _source(node: ast.stmt, lines: list[bytes]) -> str:
    assert node.end_lineno is not None
    taken = lines[node.lineno - 1 : node.end_lineno]
    taken[-1] = taken[-1][: node.end_col_offset]
    taken[0] = taken[0][node.col_offset :]
    return b"\n".join(taken).decode()


def view_of(problem: Mapping[str, Any]) -> Literal["value", "items", "present"]:
    """What of an output counts: itself, the items of an iterable, or that it is not None."""
    if not _is_mbpp_plus(problem):
        return "value"
    entry_point = problem["entry_point"]
    return "present" if entry_point in _PRESENT else "items" if entry_point in _SAME_SET else "value"


def oracle_of(problem: Mapping[str, Any]) -> Oracle | None:
    """The task's own oracle; None where equality decides."""
    entry_point, atol = problem["entry_point"], problem["atol"]
    if problem["task_id"].startswith("HumanEval/") and entry_point == "find_zero":
        return lambda output, _, arguments: abs(_polynomial(arguments[0], output)) <= atol or _never()
    if not _is_mbpp_plus(problem):
        return None
    if entry_point in _SAME_SET:
        return lambda output, expected, _: set(output) == set(expected)
    if entry_point == "are_equivalent":
        return lambda *_: True
    if entry_point == "sum_div":
        return lambda output, expected, _: output == expected or output == 0
    if entry_point == "surface_Area":
        return lambda output, expected, arguments: output == expected or abs(output - _surface(*arguments)) <= atol
    if entry_point == "digit_distance_nums":
        return lambda output, expected, arguments: output in (expected, _digit_distance(*arguments))
    return None


def _is_mbpp_plus(problem: Mapping[str, Any]) -> bool:
    # The original MBPP states its tests itself, and equality is what they ask for.
    return problem["task_id"].startswith("Mbpp/") and "tests" not in problem


def _never() -> bool:
    raise ValueError("no root, and no second chance by tolerance")


def _polynomial(coefficients: list[float], x: float) -> float:
    return sum(factor * math.pow(x, power) for power, factor in enumerate(coefficients))


def _surface(base_edge: float, height: float) -> int:
    """Surface of a square pyramid of this height over the base."""
    slant = math.sqrt((base_edge / 2) ** 2 + height**2)
    return round(base_edge**2 + 4 * (base_edge * slant) / 2)


def _digit_distance(first: int, second: int) -> int:
    """Sum of the differences of digits, the shorter number filled up with zeros."""
    texts = str(first), str(second)
    longest = max(map(len, texts))
    digits = zip(*(text.zfill(longest) for text in texts), strict=True)
    return sum(abs(int(one) - int(other)) for one, other in digits)


@dataclass(frozen=True)
class _Test:
    """One call, what it must return, and what it may take."""

    call: Any
    expected: bytes
    """As the jail encodes it: outputs may be large, and most right ones are equal in this form already."""
    floats: bool
    cpu_seconds: float


class CodeJudge(ProcessOwner):
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

        A program that is killed from outside is run once more; KILLED where that happens again.
        Raises JailError where the kernel refuses what the jail needs, ConfigurationError where the canonical
        solution itself fails.
        """
        if program is None:
            return Verdict.MISSING
        for part in ("tests",) if "tests" in problem else _PARTS:
            tests = self._tests(problem, part)
            verdict = self._judge(program, problem, tests)
            if verdict is Verdict.KILLED:
                verdict = self._judge(program, problem, tests)
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
        """See `ProcessOwner.close`."""
        self._jail.close()

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
                return _VERDICTS[ended]
            for test in tests:
                line = run.reply(min(test.cpu_seconds, left), _HEADROOM + _HEADROOM_FACTOR * len(test.expected))
                if isinstance(line, ProgramEnd):
                    return _VERDICTS[line]
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
                if isinstance(line, ProgramEnd):
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


def _request(program: str, problem: Mapping[str, Any], calls: Sequence[Any], cpu_seconds: float) -> ProgramRequest:
    setup = problem.get("setup", "")
    return ProgramRequest(program, problem["entry_point"], tuple(calls), setup, view_of(problem), cpu_seconds)


_VERDICTS = {
    ProgramEnd.FAILED: Verdict.WRONG,
    ProgramEnd.OVERRAN: Verdict.TIMEOUT,
    ProgramEnd.KILLED: Verdict.KILLED,
}
