"""Verdicts on programs: found in completions, run in a jail, judged outside it by EvalPlus's rules (0.3.1).

**Extraction** is that of EvalPlus's `sanitize`, with Python's own parser, on what follows a thought. A line ends where
the parser says that it does: with a line feed, a carriage return or both, and nothing else. First the longest run of
lines that parses: most lines that are not empty, the earliest of equals. Then, of its top level, all imports and
whatever the entry point reaches by name: functions with a `return`, classes, assignments. Everything else (calls, `if`,
decorated definitions, second definitions of a name) is left out; where nothing remains, the whole run stays.

**Problems** are in EvalPlus's format: `task_id`, `prompt`, `entry_point`, `canonical_solution`, `base_input`,
`plus_input`, `atol`. A problem whose tests state their results has `tests` instead of inputs: pairs of an expression
and what it must equal; and `setup`, statements to run before them. What EvalPlus measures in wall-clock time is CPU
time here: a test may take `TEST_SECONDS`, or four times what the canonical solution took.
"""

from __future__ import annotations

import ast
import re
import warnings
from codeop import PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from textwrap import dedent
from typing import Any

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.compare_outputs import OutputJudge, has_oracle, is_floats, tolerance_after, view_of
from ilr_bench.grading.expressions import source_lines
from ilr_bench.grading.killable_pool import ProcessOwner
from ilr_bench.grading.sandbox.host import Jail, ProgramEnd, ProgramRequest
from ilr_bench.grading.sandbox.wire import decode, encode
from ilr_bench.storage.records import Verdict

LONGEST_COMPLETION = 500_000
"""Characters after the thought; nothing is looked for behind them."""
_MOST_PARSED, _READINGS = 2_000_000, 100
"""Characters that the parser may read to find one program; less for a short text, which it may read so often."""
_END_OF_THOUGHT, _THOUGHT = "</think>", "<think>"

TEST_SECONDS, REFERENCE_FACTOR, PROGRAM_SECONDS = 1.0, 4.0, 60.0
"""EvalPlus's: least limit of one test, its multiple of the canonical solution's time, limit of all tests together."""
STATED_SECONDS = 15.0
"""Limit of one test that states its result, where no canonical solution is run."""
LOAD_SECONDS = 5.0
_CANONICAL_SECONDS = 120.0
_PARTS = ("base_input", "plus_input")
_HEADROOM, _HEADROOM_FACTOR = 1 << 16, 16

_FENCED = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)^[ \t]*\1", re.MULTILINE | re.DOTALL)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def extract_code(completion: str, entry_point: str, answer_part: Callable[[str], str] | None = None) -> str | None:
    """The program in a completion; None where no code names the entry point.

    Where EvalPlus would find none, it is the last fenced block that defines the entry point. `answer_part` takes a
    model's thought off; without it, text up to the last `</think>` is one, and so is all of a text that begins with
    `<think>` and never ends it.
    """
    answer = (answer_part or _after_thought)(completion)[:LONGEST_COMPLETION]
    program = _program(longest_code(answer), entry_point)
    if program is not None:
        return program
    # EvalPlus finds no program of one line, none in indented blocks, and none beside a longer run of other lines.
    blocks = (dedent(found[2]) for found in _FENCED.finditer("\n".join(source_lines(answer))))
    defining = [block for block in blocks if entry_point in map(_defined_name, getattr(_parse(block), "body", ()))]
    return _program(defining[-1].strip("\n"), entry_point) if defining else None


def _program(run: str, entry_point: str) -> str | None:
    tree = _parse(run)
    if tree is None:
        return None
    program = _reduced(tree, run, entry_point).strip() or run
    return program if re.search(rf"\b{re.escape(entry_point)}\b", program) else None


def _after_thought(text: str) -> str:
    _, mark, after = text.rpartition(_END_OF_THOUGHT)
    return after if mark else "" if text.lstrip().startswith(_THOUGHT) else text


def longest_code(text: str) -> str:
    """The lines of a text that parse and are most; its first line where no two do.

    Where the parser would read more than its budget, the longest run found until then.
    """
    lines = source_lines(text)
    # filled[i]: how many lines before line i are not empty.
    filled = list(accumulate((bool(line.strip()) for line in lines), initial=0))
    runs = _Runs(lines)
    best = found = range(1)
    most = 0
    hopeless: set[int] = set()
    for first, line in enumerate(lines):
        if filled[-1] - filled[first] <= most or not runs.left:
            break
        # No statement begins in a line that is indented.
        if first in hopeless or (line[:1] in (" ", "\t") and line.strip()[:1] not in ("", "#")):
            continue
        found, statements = runs.longest_from(first)
        # From another statement of the same run, the same end would be reached.
        hopeless.update(set(found).difference(*statements))
        if filled[found.stop] - filled[first] > most:
            most, best = filled[found.stop] - filled[first], found
    last = best.stop
    while last > best.start + 2 and not lines[last - 1].strip():
        last -= 1
    shorter, run = ("\n".join(lines[best.start : stop]) for stop in (last, best.stop))
    return run if _parse(shorter) is None and _parse(run) is not None else shorter


class _Runs:
    """Runs of lines that parse, within a budget: what a model writes must not keep the parser busy for long."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.left = min(_MOST_PARSED, _READINGS * (1000 + sum(map(len, lines))))

    def longest_from(self, first: int) -> tuple[range, list[range]]:
        """The longest run that begins with a line, and the lines of its statements that are not their first.

        The run is empty where fewer than two lines parse. What no further line could mend is found by doubling and
        halving; of what only breaks off, the statement that does is left out.
        """
        total = len(self._lines)
        good, end = first, min(first + 2, total)
        while not self._broken(first, end):
            good, end = end, min(2 * end - first, total)
            if good == end:
                break
        while end - good > 1:
            middle = (good + end) // 2
            good, end = (good, middle) if self._broken(first, middle) else (middle, end)
        while good > first + 1:
            tree = self._parse(first, good)
            if isinstance(tree, ast.Module):
                return range(first, good), [_continuation(node, first) for node in tree.body]
            good = min(good - 1, self._beginning(first, good, tree))
        return range(first, first), []

    def _broken(self, first: int, end: int) -> bool:
        """Whether these lines cannot be the beginning of a program."""
        tree = self._parse(first, end, PyCF_ALLOW_INCOMPLETE_INPUT)
        if tree is None or isinstance(tree, ast.Module):
            return tree is None
        if tree.msg != "incomplete input":
            return True
        # The parser counts a text that its line does not end among these.
        tree = self._parse(first, end)
        return tree is None or (isinstance(tree, SyntaxError) and _BROKEN_TEXT.match(tree.msg) is not None)

    def _beginning(self, first: int, end: int, error: SyntaxError | None) -> int:
        """The line with which that begins which breaks off before line `end`."""
        if error is None or not error.lineno:
            return end
        if "'except'" in error.msg:
            return next((line for line in range(end - 1, first, -1) if _TRY.match(self._lines[line])), first)
        return first + error.lineno - 1

    def _parse(self, first: int, end: int, flags: int = 0) -> ast.Module | SyntaxError | None:
        text = "\n".join(self._lines[first:end])
        if len(text) > self.left:
            self.left = 0
            return None
        self.left -= len(text) + 1
        return _compile(text, flags)


_BROKEN_TEXT = re.compile("unterminated (f-string|string|t-string) literal")
_TRY = re.compile(r"\s*try\s*:")


def _continuation(node: ast.stmt, first: int) -> range:
    begin = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return range(first + begin, first + (node.end_lineno or begin))


def _parse(text: str) -> ast.Module | None:
    tree = _compile(text)
    return tree if isinstance(tree, ast.Module) else None


def _compile(text: str, flags: int = 0) -> ast.Module | SyntaxError | None:
    """The syntax tree, or what is wrong with a text; None where the parser gives up on it."""
    with warnings.catch_warnings():
        # A model's `"\d"` is no concern of the user's.
        warnings.simplefilter("ignore")
        try:
            tree: ast.Module = compile(text, "<completion>", "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        except SyntaxError as error:
            return error
        except (ValueError, MemoryError, RecursionError):
            return None
        return tree


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
        self._outputs = OutputJudge()
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
        self._outputs.close()

    def _judge(self, program: str, problem: Mapping[str, Any], tests: Sequence[_Test]) -> Verdict:
        if not tests:
            return Verdict.CORRECT
        left = min(PROGRAM_SECONDS, sum(test.cpu_seconds for test in tests)) + 1
        calls = [test.call for test in tests]
        by_oracle, tolerance = has_oracle(problem), problem["atol"]
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
                if by_oracle or line != test.expected or b"NaN" in line:
                    right = self._outputs.accepts(problem, tolerance, line, test.expected, test.call)
                    if not right:
                        return Verdict.TIMEOUT if right is None else Verdict.WRONG
                tolerance = tolerance_after(tolerance, floats=test.floats)
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

    def _run_canonical(self, problem: Mapping[str, Any], inputs: Sequence[Any], *, again: bool = True) -> list[_Test]:
        if not inputs:
            return []
        program = problem["prompt"] + problem["canonical_solution"]
        found: list[_Test] = []
        with self._jail.run(_request(program, problem, inputs, _CANONICAL_SECONDS)) as run:
            ended = run.loaded(_CANONICAL_SECONDS)
            for call in inputs:
                line = run.reply(_CANONICAL_SECONDS) if ended is None else ended
                if line is ProgramEnd.KILLED and again:
                    break
                if isinstance(line, ProgramEnd):
                    raise ConfigurationError(
                        f"problem {problem['task_id']}: its canonical solution {line.value} on test {len(found)}; "
                        "leave the problem out or mend the data"
                    )
                found.append(_test(call, line, max(TEST_SECONDS, REFERENCE_FACTOR * run.cpu_seconds)))
            else:
                return found
        return self._run_canonical(problem, inputs, again=False)


def _test(call: Any, expected: bytes, cpu_seconds: float) -> _Test:
    output = decode(expected)
    return _Test(call, expected, output is not None and is_floats(output.value), cpu_seconds)


def _request(program: str, problem: Mapping[str, Any], calls: Sequence[Any], cpu_seconds: float) -> ProgramRequest:
    setup = problem.get("setup", "")
    return ProgramRequest(program, problem["entry_point"], tuple(calls), setup, view_of(problem), cpu_seconds)


_VERDICTS = {
    ProgramEnd.FAILED: Verdict.WRONG,
    ProgramEnd.OVERRAN: Verdict.TIMEOUT,
    ProgramEnd.KILLED: Verdict.KILLED,
}
