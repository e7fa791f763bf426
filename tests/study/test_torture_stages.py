"""The stages at which a tortured sweep is killed are functions that its programs look up."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[1] / "torture" / "hooks" / "sitecustomize.py"


def stages() -> dict[str, dict[str, str]]:
    for node in ast.parse(HOOKS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STAGES":
            found: dict[str, dict[str, str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("no STAGES in the hooks")


@pytest.mark.parametrize("module", stages())
def test_every_stage_is_a_function_of_its_module(module: str) -> None:
    missing = [name for name in stages()[module] if not callable(getattr(import_module(module), name, None))]
    assert not missing, f"{module} has no {', '.join(missing)}: nothing would be killed there"
