"""Small changes to a module's source, each of which can change a number.

Left out: docstrings, messages (f-strings, whatever is raised), annotations, decorators, imports, also those for types
alone, `strict=` of zip, `dtype=`, without which numpy nearly always finds the same type, and `device=`, since tests
have one device.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
OTHER_NAMES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "mean": "sum", "sum": "mean", "argmax": "argmin",
    "argmin": "argmax", "maximum": "minimum", "minimum": "maximum", "floor": "ceil", "ceil": "floor",
    "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like", "ones_like": "zeros_like", "append": "extend",
    "less": "greater", "greater": "less", "startswith": "endswith", "endswith": "startswith", "std": "var",
    "var": "std", "median": "mean", "lower": "upper", "upper": "lower",
}  # fmt: skip
"""Functions and methods that are easily mistaken for each other."""
TRANSPARENT = ("sorted", "reversed", "abs", "round")
"""Functions of which the first argument may stand alone."""

COMMUTATIVE = ("min", "max", "minimum", "maximum", "isclose")
"""Functions whose arguments may change places."""

UNCHANGED_KEYWORDS = ("strict", "dtype", "device")


@dataclass(frozen=True)
class Mutant:
    """One changed program."""

    function: str
    """Qualified name of the innermost function or class that holds the change; `<module>` outside of them."""
    line: int
    """Of the change, from 1."""
    first_line: int | None
    """Where the innermost function begins (its first decorator's line); None where the change is in no function."""
    before: str
    """The changed lines, in one line with single spaces."""
    after: str
    source: str
    """The whole changed module."""


Change = tuple[ast.AST, str]
"""A node, and the text that takes its place."""


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module in the order of its lines, no program twice."""
    text = source.encode()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen = {ast.dump(ast.parse(source))}
    found = []
    for index, (node, changed) in _changes(ast.parse(source), _Position("<module>", None, frozenset())):
        start = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        program = (text[:start] + changed.encode() + text[end:]).decode()
        try:
            meaning = ast.dump(ast.parse(program))
        except SyntaxError:
            continue
        if meaning in seen:
            continue
        seen.add(meaning)
        first = text.rfind(b"\n", 0, start) + 1
        last = text.find(b"\n", end)
        last = len(text) if last < 0 else last
        before = " ".join(text[first:last].decode().split())
        after = " ".join((text[first:start] + changed.encode() + text[end:last]).decode().split())
        found.append(Mutant(index.function, node.lineno, index.first_line, before, after, program))  # type: ignore[attr-defined]
    return sorted(found, key=lambda mutant: mutant.line)


@dataclass(frozen=True)
class _Position:
    function: str
    first_line: int | None
    bound: frozenset[str]
    """Names that are bound more than once, so that deleting one assignment leaves a program."""

    def inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> _Position:
        name = node.name if self.function == "<module>" else f"{self.function}.{node.name}"
        if isinstance(node, ast.ClassDef):
            return _Position(name, self.first_line, frozenset())
        arguments = node.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        names += [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        return _Position(name, first, frozenset(name for name in names if names.count(name) > 1))


def _changes(node: ast.AST, index: _Position) -> Iterator[tuple[_Position, Change]]:
    """Changes of a node and of all nodes in it."""
    yield from ((index, change) for change in _changes_of(node, index))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        index = index.inside(node)
    for child in _children(node, index):
        yield from _changes(child, index)


def _children(node: ast.AST, index: _Position) -> Iterator[ast.AST]:
    """Those in which something may be changed."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call) and _name(node.func).endswith(("Error", "TypeVar")):
        return
    if isinstance(node, ast.Assign) and index.function == "<module>" and isinstance(node.value, ast.Subscript):
        return  # the name of a type
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            if isinstance(child, ast.keyword) and child.arg in UNCHANGED_KEYWORDS:
                continue
            yield child


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(function: ast.AST) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _changes_of(node: ast.AST, index: _Position) -> Iterator[Change]:
    if isinstance(node, ast.stmt):
        yield from _of_statement(node, index)
    elif isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp | ast.UnaryOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield from _of_subscript(node)
    elif isinstance(node, ast.IfExp):
        yield node, f"({ast.unparse(node.body)})"
        yield node, f"({ast.unparse(node.orelse)})"
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        yield from _of_comprehension(node)


def _of_statement(node: ast.stmt, index: _Position) -> Iterator[Change]:
    if isinstance(node, ast.If | ast.While) and _name(node.test) != "TYPE_CHECKING":
        yield node.test, "True"
        yield node.test, "False"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield node, "return None"
    elif isinstance(node, ast.Continue | ast.Break):
        yield node, "pass"
        yield node, "break" if isinstance(node, ast.Continue) else "continue"
    elif isinstance(node, ast.AugAssign):
        target, value = ast.unparse(node.target), ast.unparse(node.value)
        yield node, f"{target} = {value}"
        yield node, "pass"
        if type(node.op) in OPERATIONS:
            other = copy.deepcopy(node)
            other.op = OPERATIONS[type(node.op)]()
            yield node, ast.unparse(other)
    elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom):
        yield node, "pass"
    elif isinstance(node, ast.Assign) and index.first_line is not None:
        names = [part for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        if all(isinstance(name.ctx, ast.Load) or name.id in index.bound for name in names):
            yield node, "pass"


def _of_operation(node: ast.Compare | ast.BinOp | ast.BoolOp | ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                changed = copy.deepcopy(node)
                changed.ops[number] = other()
                yield node, f"({ast.unparse(changed)})"
    elif isinstance(node, ast.BinOp):
        if type(node.op) in OPERATIONS:
            yield node, f"({ast.unparse(ast.BinOp(node.left, OPERATIONS[type(node.op)](), node.right))})"
        left, right = node.left, node.right
        if isinstance(left, ast.BinOp) and isinstance(right, ast.BinOp):
            # Weights that are swapped: a x + b y -> b x + a y.
            crossed = ast.BinOp(
                ast.BinOp(right.left, left.op, left.right), node.op, ast.BinOp(left.left, right.op, right.right)
            )
            yield node, f"({ast.unparse(crossed)})"
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, f"({ast.unparse(ast.BoolOp(other_op, node.values))})"
        for number in range(len(node.values)):
            kept = node.values[:number] + node.values[number + 1 :]
            yield node, f"({ast.unparse(kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept))})"
    else:
        yield node, f"({ast.unparse(node.operand)})"


def _of_constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield node, str(not value)
    elif isinstance(value, int):
        yield node, f"({value + 1})"
        yield node, f"({value - 1})"
    elif isinstance(value, float):
        yield node, f"({value * 1.1 if value else 0.1})"
    elif isinstance(value, str):
        yield node, repr(value + "x")


def _of_call(node: ast.Call) -> Iterator[Change]:
    name = _name(node.func)
    if name.endswith(("Error", "TypeVar")) or name == "cast":
        return
    for number in range(0 if name in COMMUTATIVE else len(node.args) - 1):
        changed = copy.deepcopy(node)
        changed.args[number], changed.args[number + 1] = changed.args[number + 1], changed.args[number]
        yield node, ast.unparse(changed)
    for number, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, *UNCHANGED_KEYWORDS):
            changed = copy.deepcopy(node)
            del changed.keywords[number]
            yield node, ast.unparse(changed)
    if name in OTHER_NAMES:
        changed = copy.deepcopy(node)
        if isinstance(changed.func, ast.Attribute):
            changed.func.attr = OTHER_NAMES[name]
        elif name not in ("sum", "mean"):
            changed.func = ast.Name(OTHER_NAMES[name], ast.Load())
        yield node, ast.unparse(changed)
    if name in TRANSPARENT and node.args:
        yield node, f"({ast.unparse(node.args[0])})"


def _of_subscript(node: ast.Subscript) -> Iterator[Change]:
    index, value = node.slice, ast.unparse(node.value)
    if isinstance(index, ast.Slice):
        for bound in ("lower", "upper", "step"):
            if getattr(index, bound) is not None:
                changed = copy.deepcopy(node)
                setattr(changed.slice, bound, None)
                yield node, ast.unparse(changed)
    elif not isinstance(index, ast.Constant | ast.Tuple | ast.UnaryOp):
        yield node, f"{value}[0]"
        if isinstance(index, ast.Name):
            # The first ones in place of those that are meant; an error where the index is a number.
            yield node, f"{value}[:len({index.id})]"


def _of_comprehension(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Iterator[Change]:
    for number, generator in enumerate(node.generators):
        for condition in range(len(generator.ifs)):
            changed = copy.deepcopy(node)
            del changed.generators[number].ifs[condition]
            yield node, ast.unparse(changed)
