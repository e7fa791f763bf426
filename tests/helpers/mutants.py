"""Wrong programs made from right ones, each by one small change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
}  # fmt: skip
_RETURNS = {
    "returns nothing": "None",
    "returns a list of it": "[{}]",
    "returns its text": "str({})",
    "returns the opposite": "not ({})",
    "returns it nearly": "({}) + 1",
    "returns a float": "({}) * 1.0000000001",
    "raises": "1 // 0",
}


def mutants(program: str, entry_point: str) -> Iterator[tuple[str, str]]:
    """(what was changed, program), in an order that hangs on the program alone."""
    for index, node in enumerate(_nodes(program)):
        change = _change(node)
        if change is not None:
            tree = ast.parse(program)
            _apply(list(ast.walk(tree))[index])
            yield f"{change} (node {index})", ast.unparse(tree)
    for name, form in _RETURNS.items():
        tree = ast.parse(program)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry_point]
        last = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Return)][-1:]
        for node in last:
            old = ast.unparse(node.value) if node.value is not None else "None"
            node.value = ast.parse(form.format(old), mode="eval").body
            yield name, ast.unparse(tree)


def _nodes(program: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(program)))


def _change(node: Any) -> str | None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        return "another comparison"
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATIONS:
        return "another operation"
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return "off by one"
    return None


def _apply(node: Any) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.Constant):
        node.value += 1
    else:
        node.op = _OPERATIONS[type(node.op)]()
