"""Verdicts on functions of one arithmetic expression, which are run without a jail.

A program is run only if nothing in it can do harm: without its docstrings it is exactly one `def` whose body returns
one expression of its parameters, integers, `+ - * // % /` and comparisons. No attribute, no call, no power, no text;
what is run is written anew from the syntax tree that was checked. Anything else is REFUSED and earns no point.

What this covers: such a program can name nothing but its parameters, cannot loop, and cannot build numbers much longer
than itself and its inputs. It still runs in a process of its own with limits on CPU time and memory, no open files and
no environment, because inputs may be large. What it does not cover: a defect of the Python interpreter in these few
operations. Outputs are compared outside that process, by EvalPlus's rules (`grading.compare_outputs`). Programs of any
other kind need the jail (`ilr_bench.grading.code`).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.compare_outputs import Comparison
from ilr_bench.grading.killable_pool import KillablePool, ProcessOwner
from ilr_bench.storage.records import Verdict

CPU_SECONDS = 1.0
"""CPU time that one program may take for all its inputs."""
LONGEST_PROGRAM = 1000
"""Characters; longer ones are refused before anything parses them."""
LARGEST_EXPRESSION = 100
"""Nodes of the syntax tree (about 25 operations); larger ones are refused before anything recurses into them."""

_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ALLOWED = (
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Div, ast.UnaryOp, ast.USub,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Load,
)  # fmt: skip


def extract_program(completion: str) -> str | None:
    """The first function in a completion: of the first fenced block that has one, else of the plain text.

    It begins with a line that starts with `def ` and goes on through indented and empty lines.
    """
    completion = "\n".join(source_lines(completion))
    for text in [*_FENCE.findall(completion), completion]:
        lines = text.strip().split("\n")
        start = next((index for index, line in enumerate(lines) if line.startswith("def ")), None)
        if start is not None:
            body = lines[start + 1 :]
            end = next((index for index, line in enumerate(body) if line and line[0] not in " \t\f"), len(body))
            return "\n".join([lines[start], *body[:end]]).rstrip()
    return None


def source_lines(text: str) -> list[str]:
    """The lines of a text as Python's parser counts them, and as everything here does.

    They end with a line feed, a carriage return or both, and with none of the other characters that `splitlines` knows.
    """
    return re.split(r"\r\n|\r|\n", text)


def check_safe_subset(program: str, entry_point: str) -> str | None:
    """The program as it may be run, or None where it is outside the subset; raises SyntaxError if no Python."""
    if len(program) > LONGEST_PROGRAM:
        return None
    try:
        body = _undocumented(ast.parse(program).body)
    except (ValueError, MemoryError, RecursionError) as error:
        raise SyntaxError(str(error)) from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or body[0].name != entry_point:
        return None
    function = body[0]
    arguments, inner = function.args, _undocumented(function.body)
    parameters = {argument.arg for argument in arguments.args}
    beyond = [*arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults, arguments.vararg, arguments.kwarg]
    if any(beyond) or function.decorator_list or len(inner) != 1:
        return None
    statement = inner[0]
    if not isinstance(statement, ast.Return) or statement.value is None:
        return None
    nodes = list(ast.walk(statement.value))
    if len(nodes) > LARGEST_EXPRESSION or not all(_harmless(node, parameters) for node in nodes):
        return None
    return f"def {entry_point}({', '.join(argument.arg for argument in arguments.args)}): {ast.unparse(statement)}"


def agree(outputs: Sequence[Sequence[Any]], expected: Sequence[Any], atol: float) -> bool:
    """EvalPlus's comparison of all outputs (`[value]`, or empty where the program raised)."""
    comparison = Comparison(atol)
    pairs = zip(outputs, expected, strict=True)
    return all(bool(output) and comparison.accepts(output[0], wanted) for output, wanted in pairs)


class ProgramRunner(ProcessOwner):
    """Runs and scores programs in a process that may be killed. Close it, or use it in a `with`."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS) -> None:
        """`cpu_seconds` limits one program."""
        self._worker = KillablePool("ilr_bench.grading.expressions_worker", cpu_seconds)

    def judge(self, program: str | None, problem: Mapping[str, Any]) -> Verdict:
        """CORRECT where every base and plus output equals the canonical solution's.

        `problem` has EvalPlus's keys (`prompt`, `entry_point`, `canonical_solution`, `base_input`,
        `plus_input`, `atol`), inputs as JSON values. MISSING without a program that parses, REFUSED outside
        the subset, TIMEOUT where it used up its limits. Raises ConfigurationError where the canonical
        solution itself cannot be run.
        """
        entry_point = problem["entry_point"]
        if program is None:
            return Verdict.MISSING
        try:
            safe_program = check_safe_subset(program, entry_point)
        except SyntaxError:
            return Verdict.MISSING
        if safe_program is None:
            return Verdict.REFUSED
        inputs = [*problem["base_input"], *problem["plus_input"]]
        expected = self._expected(problem, inputs)
        outputs = self.run(safe_program, entry_point, inputs)
        if outputs is None:
            return Verdict.TIMEOUT
        base = len(problem["base_input"])
        passed = all(agree(outputs[part], expected[part], problem["atol"]) for part in (slice(base), slice(base, None)))
        return Verdict.CORRECT if passed else Verdict.WRONG

    def run(self, safe_program: str, entry_point: str, inputs: Sequence[Sequence[Any]]) -> list[list[Any]] | None:
        """Outputs of what `check_safe_subset` returned, one list per input; None where it overran its limits."""
        reply = self._worker.ask(json.dumps([safe_program, entry_point, inputs]))
        return None if reply is None else json.loads(reply)

    def close(self) -> None:
        """See `ProcessOwner.close`."""
        self._worker.close()

    def _expected(self, problem: Mapping[str, Any], inputs: Sequence[Sequence[Any]]) -> list[Any]:
        entry_point = problem["entry_point"]
        safe_program = check_safe_subset(problem["prompt"] + problem["canonical_solution"], entry_point)
        outputs = None if safe_program is None else self.run(safe_program, entry_point, inputs)
        if outputs is None or not all(outputs):
            raise ConfigurationError(
                f"problem {problem['task_id']}: its canonical solution is outside the programs that may run here, "
                "overruns their limits, or fails on one of its inputs; leave the problem out"
            )
        return [output for (output,) in outputs]


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str
    )
    return body[1:] if documented else body


def _harmless(node: ast.AST, parameters: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in parameters
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, _ALLOWED)
