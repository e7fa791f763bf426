"""Questions of reasoning-gym's generators, the same on every machine.

The package's own start imports all of its hundred generators, one of which needs a SAT solver that is compiled at
installation. Two of its modules are enough here, so it is installed without its dependencies and imported in part.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.util import find_spec, module_from_spec
from typing import Any

from ilr_bench.core.errors import MissingInputError
from ilr_bench.tasks.data import hash_of
from ilr_bench.tasks.types import Question

VERSION = "0.1.25"
SEED = 2026
COUNT = 200
SHA256 = {
    "gsm_symbolic": "91448bfbe8580b74332f5cab82f4c930c69d83e92a915803e228d264209cf524",
    "chain_sum": "57c2838d3cd3cd5aa186a11b12d6299ef89e89156f03229e60914571b07cae40",
    "basic_arithmetic": "d3e649790c74ee144c4529c1f1653a768e6fed340d483f34dd2b107a72f58b55",
    "simple_equations": "ccd8c935fe2fa24ceadce670a5fae177b11342973f94ac38f1704edc4b79b736",
}
"""Task -> `data.hash_of` its questions and gold answers."""
_MODULES = ("reasoning_gym.arithmetic", "reasoning_gym.algebra")


@cache
def questions(task: str) -> tuple[Question, ...]:
    """The questions of one task; raises MissingInputError without reasoning-gym, or with another version's."""
    chosen: dict[str, str] = {}
    for row in _generator(task):
        if _is_exact(row):
            chosen.setdefault(row["question"], str(row["answer"]))
        if len(chosen) == COUNT:
            break
    if hash_of(chosen.items()) != SHA256[task]:
        raise MissingInputError(
            f"reasoning-gym makes other questions of {task} than version {VERSION}: "
            f"python -m pip install --no-deps reasoning-gym=={VERSION}"
        )
    return tuple(
        Question(f"rg_{task}-{index:03d}", text, answer, family=task)
        for index, (text, answer) in enumerate(chosen.items())
    )


def _generator(task: str) -> Any:
    spec = find_spec("reasoning_gym")
    if spec is None:
        raise MissingInputError(
            f"the generated benchmarks need reasoning-gym: python -m pip install --no-deps reasoning-gym=={VERSION}"
        )
    sys.modules.setdefault("reasoning_gym", module_from_spec(spec))
    try:
        for module in _MODULES:
            importlib.import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"reasoning-gym cannot be loaded ({error}): python -m pip install pytz python-dateutil pyyaml sympy"
        ) from error
    return importlib.import_module("reasoning_gym.factory").create_dataset(task, seed=SEED, size=2 * COUNT)


def _is_exact(row: dict[str, Any]) -> bool:
    """Whether a division that the generator rounded down left no remainder."""
    expression = row["metadata"].get("expression", "")
    if "/" not in expression:
        return True
    from sympy import sympify  # type: ignore[import-untyped]

    return bool(sympify(expression) == int(row["answer"]))
