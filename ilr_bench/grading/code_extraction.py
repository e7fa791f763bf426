"""The program in what a model said, as EvalPlus's `sanitize` (0.3.1) finds it, with Python's own parser.

Two steps. First the longest run of lines that parses: most lines that are not empty, the earliest of equals.
Then, of its top level, all imports and whatever the entry point reaches by name: functions with a `return`,
classes, assignments. The rest (calls, `if`, decorated definitions, second definitions of a name) is left out,
as there; where nothing remains, the whole run stays.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator

LONGEST_COMPLETION = 100_000
"""Characters; nothing is looked for behind them."""
_MOST_LINES = 200

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
