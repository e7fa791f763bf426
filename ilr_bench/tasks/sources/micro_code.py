"""The small code family of the micro profile, in EvalPlus's problem format.

A task asks for one function whose body returns an expression of names, integers, arithmetic and comparisons.
The corpus teaches how such functions are written; reinforcement never trains on them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from ilr_bench.tasks.sources.micro_split import Split, stream, take

_BASE_INPUTS = (0, 1, 5)
_PLUS_INPUTS = (-7, -1, 2, 3, 10, 64)
_WORDS = {"+": "plus", "-": "minus", "*": "times", ">": "above", "<": "below"}


class CodeTask(NamedTuple):
    """One request in words, and the program that meets it."""

    question: str
    program: str


def code_problems(count: int) -> tuple[dict[str, Any], ...]:
    """`count` evaluation problems; raises ConfigurationError if there are not so many.

    Keys are EvalPlus's (task_id, prompt, entry_point, canonical_solution, base_input, plus_input, contract,
    atol); `prompt` followed by `canonical_solution` is a whole program. `question` is the request as a micro
    model gets it.
    """
    tasks = take(code_stream("benchmark", random.Random("benchmark code")), count, "code")
    return tuple(
        {
            "task_id": f"Micro/{place}",
            "prompt": f'"""{task.question}"""\n',
            "entry_point": "f",
            "canonical_solution": f"{task.program}\n",
            "base_input": [[value] for value in _BASE_INPUTS],
            "plus_input": [[value] for value in _PLUS_INPUTS],
            "contract": "",
            "atol": 0,
            "question": task.question,
        }
        for place, task in enumerate(tasks)
    )


def code_stream(split: Split, rng: random.Random) -> Iterator[CodeTask]:
    """Different code tasks of one split, until the family is nearly exhausted."""
    return stream(_draw, split, rng)


def _draw(rng: random.Random) -> tuple[str, CodeTask]:
    """`f(x): x plus 3, then times 2` -> `def f(x): return (x+3)*2`."""
    first, second = rng.sample("+-*", 2) if rng.random() < 0.7 else (rng.choice("+-*"), rng.choice("<>"))
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    inner = "x" if rng.random() < 0.2 else str(a)
    body = f"x{first}{inner}"
    grouped = f"({body})" if second == "*" and first != "*" else body
    question = f"f(x): x {_WORDS[first]} {inner}, then {_WORDS[second]} {b}"
    return question, CodeTask(question, f"def f(x): return {grouped}{second}{b}")
