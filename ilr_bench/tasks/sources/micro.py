"""Questions of the micro profile: procedural families with exact answers and gold steps, and a small code family.

Every question reduces to a chain, a start value and operations that act on the running value, which stays within
0..49. A code task asks for one function whose body returns an expression of names, integers, arithmetic and
comparisons: the corpus shows how such functions are written, and reinforcement never trains on them.

Which split an item belongs to is decided by the hash of its text, so that training (and the corpus of the micro
models), validation and benchmarks have no text in common by construction.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.types import Question, QuestionSource

Split = Literal["training", "validation", "benchmark"]
T = TypeVar("T")
_ATTEMPTS = 400
"""Unsuccessful draws in a row after which a family counts as exhausted."""

Operation = tuple[str, int]
"""An operator (`+`, `-`, `*`) and its right operand."""
Chain = tuple[int, tuple[Operation, ...]]
Step = tuple[int, Operation, int]
"""Running value before, operation, running value after."""

TRAINING_FAMILIES = ("short_chain", "long_chain", "word_problem", "two_step")
FAMILIES = (*TRAINING_FAMILIES, "ood")
"""All families; `ood` is longer or larger than any training question."""

LARGEST = 49
LARGEST_START = 29
LONGEST_TRAINING_CHAIN = 6
LARGEST_OPERAND = 9

_STEP = re.compile(r"(?P<value>\d*)(?P<operator>[-+*])(?P<operand>\d+)=(?P<result>\d+)")
_NAMES = ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Ida")
_ITEMS = ("figs", "nuts", "pens", "cups", "eggs", "keys")
_VERBS = {"+": ("buys", "finds", "gets"), "-": ("eats", "loses", "sells")}


def split_of(text: str) -> Split:
    """2 in 8 to the benchmark, 1 to validation, 5 to training."""
    part = hashlib.sha256(text.encode()).digest()[0] % 8
    return "benchmark" if part < 2 else "validation" if part == 2 else "training"


def stream(draw: Callable[[random.Random], tuple[str, T]], split: Split, rng: random.Random) -> Iterator[T]:
    """Draws (text, item) and yields the items of one split, each text once, until they run out."""
    seen: set[str] = set()
    misses = 0
    while misses < _ATTEMPTS:
        text, item = draw(rng)
        if text in seen or split_of(text) != split:
            misses += 1
            continue
        misses = 0
        seen.add(text)
        yield item


def take(items: Iterator[T], count: int, family: str) -> tuple[T, ...]:
    """The first `count` items; raises ConfigurationError if there are fewer."""
    taken = tuple(islice(items, count))
    if len(taken) < count:
        raise ConfigurationError(f"family {family}: only {len(taken)} different questions, {count} asked for")
    return taken


def load(n_train: int, n_validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Training and validation questions, the in-distribution families in turn."""
    return _mix("training", n_train), _mix("validation", n_validation)


def benchmark_questions(family: str, count: int) -> tuple[Question, ...]:
    """`count` evaluation questions of one family; raises ConfigurationError if it is unknown or too small."""
    if family not in FAMILIES:
        raise ConfigurationError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    return take(question_stream(family, "benchmark", random.Random(f"benchmark {family}")), count, family)


def question_stream(family: str, split: Split, rng: random.Random) -> Iterator[Question]:
    """Different questions of one family and split, until the family is nearly exhausted."""

    def draw(rng: random.Random) -> tuple[str, Question]:
        text, chain = _MAKERS[family](rng)
        return text, _question(family, text, chain)

    return stream(draw, split, rng)


def apply(value: int, operation: Operation) -> int:
    """The exact result of one step."""
    operator, operand = operation
    if operator == "+":
        return value + operand
    return value - operand if operator == "-" else value * operand


def chain_of(question: Question) -> Chain:
    """Start value and operations, read back from the gold steps."""
    tape = read_tape(question.steps)
    return tape[0][0], tuple(operation for _, operation, _ in tape)


def write_tape(steps: Sequence[Step]) -> tuple[str, ...]:
    """Steps as a solution writes them, the running value only where it starts: `3+5=8`, `-2=6`."""
    return tuple(
        f"{value if index == 0 else ''}{operator}{operand}={result}"
        for index, (value, (operator, operand), result) in enumerate(steps)
    )


def read_tape(words: Sequence[str]) -> tuple[Step, ...]:
    """The inverse of `write_tape`; words that are no steps are passed over."""
    steps: list[Step] = []
    for word in words:
        match = _STEP.fullmatch(word)
        if match is None or (match["value"] == "") is not bool(steps):
            continue
        value = steps[-1][2] if steps else int(match["value"])
        steps.append((value, (match["operator"], int(match["operand"])), int(match["result"])))
    return tuple(steps)


def _question(family: str, text: str, chain: Chain) -> Question:
    value, operations = chain
    steps: list[Step] = []
    for operation in operations:
        result = apply(value, operation)
        steps.append((value, operation, result))
        value = result
    name = f"{family}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return Question(id=name, text=text, answer=str(value), steps=write_tape(steps), family=family)


def _mix(split: Split, count: int) -> tuple[Question, ...]:
    counts = {
        family: count // len(TRAINING_FAMILIES) + (index < count % len(TRAINING_FAMILIES))
        for index, family in enumerate(TRAINING_FAMILIES)
    }
    drawn = {
        family: take(question_stream(family, split, random.Random(f"{split} {family}")), size, family)
        for family, size in counts.items()
    }
    indices = range(max(counts.values()))
    return tuple(drawn[family][index] for index in indices for family in drawn if index < counts[family])


def _draw_chain(rng: random.Random, steps: int, largest_start: int, largest_operand: int) -> Chain:
    """A chain of sums and differences whose running value stays within 0..LARGEST."""
    start = rng.randint(1, largest_start)
    value = start
    operations: list[Operation] = []
    while len(operations) < steps:
        operation = (rng.choice("+-"), rng.randint(1, largest_operand))
        if 0 <= apply(value, operation) <= LARGEST:
            value = apply(value, operation)
            operations.append(operation)
    return start, tuple(operations)


def _chain_text(_: random.Random, chain: Chain) -> str:
    return f"{chain[0]}{''.join(f'{operator}{operand}' for operator, operand in chain[1])}=?"


def _story(rng: random.Random, chain: Chain) -> str:
    events = [f"{rng.choice(_VERBS[operator])} {operand}" for operator, operand in chain[1]]
    return f"{rng.choice(_NAMES)} has {chain[0]} {rng.choice(_ITEMS)}, {', '.join(events)}. How many?"


def _chain_maker(
    shortest: int, longest: int, word: Callable[[random.Random, Chain], str]
) -> Callable[[random.Random], tuple[str, Chain]]:
    def make(rng: random.Random) -> tuple[str, Chain]:
        chain = _draw_chain(rng, rng.randint(shortest, longest), LARGEST_START, LARGEST_OPERAND)
        return word(rng, chain), chain

    return make


def _two_step(rng: random.Random) -> tuple[str, Chain]:
    """A product and a sum or difference, in either order."""
    while True:
        sign, first, second, third = rng.choice("+-"), rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
        if rng.random() < 0.5:
            chain: Chain = (first, (("*", second), (sign, third)))
            text = f"{first}*{second}{sign}{third}=?"
        else:
            chain = (first, ((sign, second), ("*", third)))
            text = f"({first}{sign}{second})*{third}=?"
        middle = apply(chain[0], chain[1][0])
        if 0 <= middle <= LARGEST and 0 <= apply(middle, chain[1][1]) <= LARGEST:
            return text, chain


def _ood(rng: random.Random) -> tuple[str, Chain]:
    """Longer chains, larger starts, or a product with two more steps."""
    kind = rng.randrange(3)
    if kind == 0:
        chain = _draw_chain(rng, LONGEST_TRAINING_CHAIN + 1, LARGEST_START, LARGEST_OPERAND)
        return _chain_text(rng, chain), chain
    if kind == 1:
        start, operations = _draw_chain(rng, 3, LARGEST, LARGEST_OPERAND)
        while start <= LARGEST_START:
            start, operations = _draw_chain(rng, 3, LARGEST, LARGEST_OPERAND)
        return _chain_text(rng, (start, operations)), (start, operations)
    while True:
        first, second = rng.randint(2, 9), rng.randint(2, 9)
        rest = ((rng.choice("+-"), rng.randint(1, 9)), (rng.choice("+-"), rng.randint(1, 9)))
        middle = apply(first * second, rest[0])
        if max(first * second, middle, apply(middle, rest[1])) <= LARGEST and min(middle, apply(middle, rest[1])) >= 0:
            chain = (first, (("*", second), *rest))
            return _chain_text(rng, chain), chain


_MAKERS: dict[str, Callable[[random.Random], tuple[str, Chain]]] = {
    "short_chain": _chain_maker(2, 3, _chain_text),
    "long_chain": _chain_maker(4, LONGEST_TRAINING_CHAIN, _chain_text),
    "word_problem": _chain_maker(2, 3, _story),
    "two_step": _two_step,
    "ood": _ood,
}


_BASE_INPUTS = (0, 1, 5)
_PLUS_INPUTS = (-7, -1, 2, 3, 10, 64)
_WORDS = {"+": "plus", "-": "minus", "*": "times", ">": "above", "<": "below"}


class CodeTask(NamedTuple):
    """A function described in words, and the program of it."""

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
            "task_id": f"Micro/{index}",
            "prompt": f'"""{task.question}"""\n',
            "entry_point": "f",
            "canonical_solution": f"{task.program}\n",
            "base_input": [[value] for value in _BASE_INPUTS],
            "plus_input": [[value] for value in _PLUS_INPUTS],
            "contract": "",
            "atol": 0,
            "question": task.question,
        }
        for index, task in enumerate(tasks)
    )


def code_stream(split: Split, rng: random.Random) -> Iterator[CodeTask]:
    """Different code tasks of one split, until the family is nearly exhausted."""
    return stream(_draw_code, split, rng)


def _draw_code(rng: random.Random) -> tuple[str, CodeTask]:
    """`f(x): x plus 3, then times 2` -> `def f(x): return (x+3)*2`."""
    first, second = rng.sample("+-*", 2) if rng.random() < 0.7 else (rng.choice("+-*"), rng.choice("<>"))
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    inner = "x" if rng.random() < 0.2 else str(a)
    body = f"x{first}{inner}"
    grouped = f"({body})" if second == "*" and first != "*" else body
    question = f"f(x): x {_WORDS[first]} {inner}, then {_WORDS[second]} {b}"
    return question, CodeTask(question, f"def f(x): return {grouped}{second}{b}")


SOURCES.add("micro", QuestionSource("micro", load))
