"""What a question, a question source and a benchmark are, and which benchmarks there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Registry
from ilr_bench.tasks.data import Dataset, data_file

_BRACES = re.compile(
    r"\\{1,2}(?P<box>boxed|fbox|framebox)(?![A-Za-z])\s*(?:\{|(?P<bare>-?\d[\d.,/]*|\\[A-Za-z]+(?:\{[^{}]*\})+))|\\.|[{}]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Question:
    """One question with its gold answer."""

    id: str
    """Unique within its source, stable across machines."""
    text: str
    answer: str
    steps: tuple[str, ...] = ()
    """Gold intermediate results in order, as a solution would write them (`3+5=8`); for graded rewards."""
    family: str = ""


@dataclass(frozen=True)
class QuestionSource:
    """Questions to learn from: disjoint training and validation sets, neither shared with any benchmark."""

    name: str
    load: Callable[[int, int], tuple[tuple[Question, ...], tuple[Question, ...]]]
    """(number of training questions, number of validation questions) -> (training, validation)."""


def source_of(name: str, found: Any) -> QuestionSource:
    """The source that an outside name stands for, around a function too; raises ConfigurationError where it is none."""
    if isinstance(found, QuestionSource):
        return found
    if not callable(found):
        raise ConfigurationError(
            f"{name} is no question source: name a function of the numbers of training and of validation questions"
        )
    return QuestionSource(name, found)


def benchmark_of(name: str, found: Any) -> Benchmark:
    """The benchmark that an outside name stands for; raises ConfigurationError where it is none."""
    if not isinstance(found, Benchmark):
        raise ConfigurationError(f"{name} is a {type(found).__name__} and no benchmark (docs/adding-a-benchmark.md)")
    return found


def boxed(text: str) -> list[str]:
    r"""Contents of every box in a text that is closed and holds no other one, in order.

    A box is `\boxed{...}` or `\fbox{...}`, with the braces nested inside it, or `\boxed8`, `\boxed\frac{1}{2}`.
    """
    found: list[str] = []
    # For each open brace: where its inside begins, and how many boxes had been found by then (-1: no box).
    opened: list[tuple[int, int]] = []
    for mark in _BRACES.finditer(text):
        if mark["bare"] is not None:
            found.append(mark["bare"].rstrip(".,"))
        elif mark["box"] is not None or mark[0] == "{":
            opened.append((mark.end(), -1 if mark["box"] is None else len(found)))
        elif mark[0] == "}" and opened:
            start, before = opened.pop()
            if before == len(found):
                found.append(text[start : mark.start()].strip())
    return found


def boxed_answer(text: str) -> str | None:
    r"""What the boxes of a text hold; None without any.

    Where their texts differ, all of them as `\boxed{1/2} \boxed{0.5}`: `grading.math` tells whether they are one value.
    """
    answers = list(dict.fromkeys(content for content in boxed(text) if content))
    return " ".join(rf"\boxed{{{answer}}}" for answer in answers) if len(answers) > 1 else next(iter(answers), None)


ANSWER_TOKENS = 2048
"""Longest answer of public benchmarks: what they are run with for models that answer without a long thought first."""
THINKING_TOKENS = 32_768
"""What is usual for models that think before they answer; they are asked with it where somebody says so."""
LETTERS = "ABCDEFGHIJ"
"""Names of options in the order in which they are listed."""


@dataclass(frozen=True)
class BenchmarkQuestion:
    """One question of a benchmark."""

    id: str
    """Unique within the benchmark, stable across machines."""
    question: str
    """What the agent is asked; the instructions around it are the prompt style's."""
    gold: str
    """Gold answer; for code, the canonical solution."""
    problem: Mapping[str, Any] | None = None
    """The whole problem in EvalPlus's format, for code."""


@dataclass(frozen=True)
class Benchmark:
    """Questions with gold answers, and how an answer is found in a completion."""

    name: str
    """As in configurations and file names."""
    column: str
    """Title of its column in tables."""
    summary: str
    """One line for `ilr-bench benchmarks`."""
    kind: Literal["answer", "choice", "code", "function"]
    """`answer`: the prompt style extracts an answer, math-verify compares it with the gold one; `choice`: the same,
    compared as the letter of an option; `code`: a program of any kind, run in a jail by EvalPlus's rules;
    `function`: the first function where it is one arithmetic expression, run without a jail (`grading.expressions`)."""
    domain: Literal["in-domain", "out-of-domain"]
    """Whether training questions are of its kind."""
    subject: Literal["maths", "code", "general"] = field(kw_only=True)
    """What it asks about: tables average accuracies over maths, and print the others beside that average."""
    load: Callable[[], tuple[BenchmarkQuestion, ...]]
    """All rows, in the same order on every machine; raises MissingInputError where the data cannot be had."""
    max_new_tokens: int | None = None
    """Longest answer in the model's own tokens; None takes the profile's limit."""
    measured: bool = False
    """Whether golds are measured quantities: an answer may be rounded to fewer significant digits, two at least."""
    exceptions: Mapping[str, str] = field(default_factory=dict)
    """Question id -> why its gold answer is not accepted, or another one is; scored as it is."""
    data: tuple[Dataset, ...] = ()
    """The public data sets that it is read from; none where its rows are made here."""
    size: int | None = None
    """Number of rows, where it is not that of its data sets."""
    own: bool = False
    """Whether its rows are a user's file, whose name decides no number."""

    @property
    def seed_name(self) -> str:
        """What stands for it where seeds are derived."""
        return "own file" if self.own else self.name

    @property
    def stated(self) -> list[object]:
        """What it says about all of its rows, as far as records depend on it."""
        return [self.kind, self.max_new_tokens, *([self.subject] if self.own else [])]


BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    modules=tuple(
        f"ilr_bench.tasks.benchmarks.{name}" for name in ("micro", "maths", "knowledge", "generated", "code")
    ),
    group="ilr_bench.benchmarks",
    adapt=benchmark_of,
)

_PAPER = ("gsm8k", "math500", "minerva", "olympiadbench", "aime", "mbpp")
GROUPS = {
    "paper": _PAPER,
    "paper-v4": (*_PAPER, "mmlu_pro", "gpqa_diamond"),
    "generated": ("rg_gsm_symbolic", "rg_chain_sum", "rg_basic_arithmetic", "rg_simple_equations"),
    "micro": tuple(
        f"micro_{family}" for family in ("short_chain", "long_chain", "word_problem", "two_step", "ood", "code")
    ),
}
"""Names that stand for several benchmarks."""


def register(benchmark: Benchmark) -> Benchmark:
    """Adds a benchmark under its name; raises ConfigurationError if that is taken."""
    return BENCHMARKS.add(benchmark.name, benchmark)


def get(name: str) -> Benchmark:
    """The benchmark of a name, or of a user's file (`tasks.files`).

    Raises ConfigurationError with the closest name on a miss, and what reading the file raises.
    """
    file = data_file(name)
    if file is None:
        return BENCHMARKS.get(name)
    # Reads what it is made of, and imports this module.
    from ilr_bench.tasks.files import file_benchmark

    return file_benchmark(file)


def names() -> tuple[str, ...]:
    """Names of all benchmarks, groups not among them."""
    return BENCHMARKS.names()


def groups_of(name: str) -> tuple[str, ...]:
    """Names of the groups that a benchmark belongs to."""
    return tuple(group for group, members in GROUPS.items() if name in members)


def row_count(benchmark: Benchmark) -> int:
    """How many rows a benchmark has; those of public data sets are not read for it."""
    if benchmark.size is not None:
        return benchmark.size
    stated = [data.rows for data in benchmark.data]
    return sum(rows or 0 for rows in stated) if stated and None not in stated else len(benchmark.load())


def expand(asked: Sequence[str]) -> tuple[str, ...]:
    """What `get` takes, each once, with groups replaced by their members; raises ConfigurationError on a miss."""
    found: dict[str, str] = {}
    for member in (member for name in asked for member in GROUPS.get(name, (name,))):
        name = get(member).name
        if found.setdefault(name, member) != member:
            raise ConfigurationError(
                f"{found[name]} and {member} are both called {name}; say another name for one: {member}:name=OTHER"
            )
    return tuple(found.values())


def rows_of(questions: Sequence[Question]) -> tuple[BenchmarkQuestion, ...]:
    """Rows of an `answer` benchmark."""
    return tuple(BenchmarkQuestion(question.id, question.text, question.answer) for question in questions)


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options, a line each under its letter."""
    listed = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, "", "Options:", *listed])
