"""Programs of every kind get EvalPlus's verdicts, and are found in completions as EvalPlus finds them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from multiprocessing import Array, Value
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from mutants import mutants

from ilr_bench.grading.code import CodeJudge, extract_code, longest_code
from ilr_bench.grading.compare_outputs import Comparison
from ilr_bench.grading.sandbox.wire import decode, encode
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks import get
from ilr_bench.tasks.benchmarks.code import humaneval_rows, mbpp_plus_rows

evaluation = pytest.importorskip("evalplus.eval")

KNOWN_DISAGREEMENTS = {
    "HumanEval/32": "EvalPlus 0.3.1 never accepts it: its oracle for find_zero skips the line that counts a test as "
    "passed. We accept every root.",
    "Mbpp/255": "EvalPlus fails the reference. We leave out five tests with answers of 6 to 128 million values.",
}
"""Problems on which verdicts differ, and why."""
HEAVY = {"HumanEval/15", "HumanEval/83", "HumanEval/100", "HumanEval/130", "HumanEval/139", "Mbpp/123", "Mbpp/271",
         "Mbpp/392", "Mbpp/599"}  # fmt: skip
"""Seconds of both checkers for each program; judged once, by the tests of the gold solutions."""


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeJudge]:
    with CodeJudge() as judge:
        yield judge


class EvalPlus:
    """EvalPlus's checker, with the reference's outputs remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], tuple[list[Any], list[float]]] = {}

    def passes(self, program: str, problem: Mapping[str, Any]) -> bool:
        dataset = "mbpp" if problem["task_id"].startswith("Mbpp") else "humaneval"
        for part in ("base_input", "plus_input"):
            if problem[part]:
                expected, seconds = self._reference(problem, part)
                # Wall clock: a second is not enough for a right program on a busy machine.
                status, _ = evaluation.untrusted_check(
                    dataset, program, problem[part], problem["entry_point"], expected, problem["atol"], seconds,
                    fast_check=True, min_time_limit=4.0, gt_time_limit_factor=20.0,
                )  # fmt: skip
                if status != evaluation.PASS:
                    return False
        return True

    def _reference(self, problem: Mapping[str, Any], part: str) -> tuple[list[Any], list[float]]:
        from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
        from evalplus.gen.util import trusted_exec

        source, name = problem["prompt"] + problem["canonical_solution"], problem["entry_point"]
        key = (problem["task_id"], part, source)
        if key not in self._known:
            present = name in MBPP_OUTPUT_NOT_NONE_TASKS
            self._known[key] = trusted_exec(source, problem[part], name, record_time=True, output_not_none=present)
        return self._known[key]


@pytest.fixture(scope="module")
def evalplus() -> EvalPlus:
    return EvalPlus()


RETURNED: dict[str, Any] = {}
"""What a program under EvalPlus's checker in this process returns."""
OUTPUTS = [
    "1", "1.0", "True", "None", "'1'", "[1]", "(1,)", "{1}", "frozenset({1})", "{1: 2}", "1 + 0j", "b'1'",
    "float('nan')", "float('inf')", "[float('nan')]", "0.1 + 0.2", "0.3", "[0.1 + 0.2]", "(0.3,)", "[0.3, 1]",
    "[[0.1 + 0.2]]", "[[0.3]]", "{'a': 0.3}", "{'a': 0.1 + 0.2}", "10 ** 400", "1e308 * 10", "[]", "()", "''",
    "range(3)", "[0, 1, 2]", "iter([1])",
    "__import__('numpy').int64(1)", "__import__('numpy').float64(0.1 + 0.2)", "__import__('numpy').bool_(True)",
    "__import__('fractions').Fraction(1)", "__import__('decimal').Decimal(1)", "__import__('decimal').Decimal('NaN')",
    "__import__('collections').Counter([1, 1])", "__import__('collections').OrderedDict({1: 2})",
    "__import__('collections').deque([1])", "__import__('collections').namedtuple('P', 'a')(1)", "{1: 2}.keys()",
    "type('I', (int,), {})(1)", "type('F', (float,), {})(0.1 + 0.2)", "type('L', (list,), {})([0.1 + 0.2])",
    "object()", "lambda: 1", "NotImplemented", "bytearray(b'1')", "[[1.0], [2.0]]", "[1.0, 2.0]", "'a' * 100", "0",
]  # fmt: skip
NUMPY_NUMBERS = ["__import__('numpy').int64(1)", "__import__('numpy').bool_(True)"]
"""EvalPlus takes such a number for a list or tuple of one equal number: numpy's `==` asks every item. We do not."""
EXPECTED = ["1", "0.3", "[0.3]", "(0.3,)", "[[0.3]]", "{'a': 0.3}", "{1: 2}", "{1}", "[1]", "(1,)", "None", "True",
            "b'1'", "[1.0, 2.0]", "float('inf')", "[0, 1, 2]", "0.0", "float('nan')"]  # fmt: skip


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("atol", [0, 1e-3])
def test_outputs_of_every_type_get_evalplus_verdicts(expected: str, atol: float) -> None:
    differing = [
        output
        for output in OUTPUTS
        if accepted(eval(output), eval(expected), atol) != accepted_there(eval(output), eval(expected), atol)
    ]
    assert differing == [output for output in NUMPY_NUMBERS if expected in ("[1]", "(1,)")]


def accepted(output: Any, expected: Any, atol: float) -> bool:
    """Out of the jail and compared."""
    try:
        said = decode(encode(output).encode())
    except (TypeError, ValueError):
        return False
    return said is not None and Comparison(atol).accepts(said.value, expected, exact=said.exact)


def accepted_there(output: Any, expected: Any, atol: float) -> bool:
    """EvalPlus's checker in this process, around a program that returns the output."""
    status, details, progress = Value("i"), Array("b", [False]), Value("i")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("reliability_guard", "create_tempdir"):
            patch.setattr(evaluation, name, lambda *_, **__: nullcontext())
        RETURNED["output"] = output
        program = "from test_evalplus_code import RETURNED\ndef f(): return RETURNED['output']"
        evaluation.unsafe_execute("none", "f", program, [[]], [expected], [9.0], atol, True, status, details, progress)
    return bool(status.value == evaluation._SUCCESS)


@pytest.mark.parametrize(
    "program",
    ["def f(x): return x[::-1]", "def f(x): return sorted(x)", "def f(x): return iter(x)", "def f(x): return set(x)",
     "def f(x): return x + x", "def f(x): return 7", "def f(x): return [[y] for y in x]", "def f(x): return 8"],
)  # fmt: skip
def test_tasks_about_sets_get_evalplus_verdicts(judge: CodeJudge, evalplus: EvalPlus, program: str) -> None:
    program = program.replace("f(", "Diff(")
    problem = {
        "task_id": "Mbpp/769", "prompt": "", "entry_point": "Diff", "canonical_solution": "def Diff(x): return x",
        "base_input": [[[1, 2, 3]], [[4.0]]], "plus_input": [], "atol": 0,
    }  # fmt: skip
    assert (judge.judge(program, problem) is Verdict.CORRECT) == evalplus.passes(program, problem)


@pytest.mark.data
@pytest.mark.slow
def test_references_and_hundreds_of_mutants_get_evalplus_verdicts(
    judge: CodeJudge, evalplus: EvalPlus, record_property: Callable[[str, object], None]
) -> None:
    rows = [*humaneval_rows(plus=True), *mbpp_plus_rows(plus=True)]
    record_property("rows", len(rows) // 2)
    wrong, differing = 0, set()
    for index, row in enumerate(rows):
        assert row.problem is not None
        if row.id in HEAVY or index % 2:
            continue
        # Forty tests tell as much about agreement as a thousand.
        problem = {**row.problem, "plus_input": row.problem["plus_input"][:40]}
        changed = list(mutants(row.gold, problem["entry_point"]))
        for name, program in [("reference", row.gold), changed[index * 7 % len(changed)]]:
            verdict = judge.judge(program, problem)
            wrong += verdict is not Verdict.CORRECT
            if (verdict is Verdict.CORRECT) != evalplus.passes(program, problem):
                differing.add((row.id, name, verdict))
    assert wrong >= 200
    assert {row_id for row_id, _, _ in differing} <= set(KNOWN_DISAGREEMENTS)


WRAPPINGS = [
    "Here is the code:\n```python\n{}\n```\nThis works because it is right.\nIt's simple.",
    "{}",
    "Sure!\n\n{}\n\nprint({e}(1))\nassert {e}(2) == 3\n",
    "```\n{}\n```\n\n```python\nimport os\nprint(1)\n```",
    "x = 1\ny: int = 2\nfrom __future__ import annotations\n{}\n@wrapped\ndef g(x):\n    return {e}(x)\n"
    "if __name__ == '__main__':\n    main()",
    "import math, os\n{}\ndef {e}(x):\n    return 2\nclass A(B):\n    y = {e}\na, b = 1, 2\nc = d = {e}\n",
]


@pytest.mark.data
@pytest.mark.slow
def test_programs_are_found_as_evalplus_finds_them(record_property: Callable[[str, object], None]) -> None:
    sanitize = pytest.importorskip("evalplus.sanitize").sanitize
    rows = [*humaneval_rows(plus=False)[::8], *mbpp_plus_rows(plus=False)[::12], *get("mbpp").load()[::16]]
    record_property("rows", len(rows))
    for index, row in enumerate(rows):
        assert row.problem is not None
        name = row.problem["entry_point"]
        completion = WRAPPINGS[index % len(WRAPPINGS)].replace("{}", row.gold).replace("{e}", name)
        assert normal(extract_code(completion, name)) == normal(sanitize(completion, name)), completion


@pytest.mark.parametrize(
    "completion",
    [
        "@cache\ndef f(x):\n    return x",
        "from functools import cache\n@cache\ndef f(x):\n    return x",
        "def g(x):\n    yield x\ndef f(x):\n    return list(g(x))",
        "async def g(x):\n    return x\ndef f(x):\n    return g",
        "a = b = 3\nb = 4\ndef f(x):\n    return a + b",
        "a, b = 3, 4\ndef f(x):\n    return a + b",
        "a.b = c\nd[0] = e\nx: int\ndef f(x: g) -> h:\n    return c, e\ng = 1\nh = 2\nc = 3\ne = 4",
        "def f(x):\n    return f'{g(x)} {h!r:>{w}}'\ndef g(x):\n    return x\nh = 1\nw = 2",
        "def f(x):\n    try:\n        return g.h\n    except k as l:\n        return m(n=o)\nh = 1\nk = 2\nn = 3",
        "def f(x):\n    match x:\n        case P(q=r):\n            return r\nP = 1\nq = 2",
        "import a.b as c, d\nfrom . import e\nfrom .g import *\ndef f(x): return c",
        "def f(x):\n    global n\n    import m.k as j\n    return n\nn = 1\nm = 2\nk = 3\nj = 4",
        "def f(x):\n    # nothing but a comment\n    pass",
        "if True:\n    def f(x):\n        return 1",
        "x += 1\ndel x\nf = lambda y: y",
        "class f:\n    def __call__(self):\n        return 1",
        "def f(x):\n    return 1; y = 2\nz = 3; w = f",
        "nothing\nat all",
        "one line of prose.",
        "def f(x): return x",
    ],
)
def test_odd_completions_are_cut_as_evalplus_cuts_them(completion: str) -> None:
    sanitize = pytest.importorskip("evalplus.sanitize").sanitize
    ours, theirs = extract_code(completion, "f"), sanitize(completion, "f")
    # What does not name the entry point cannot pass: we say that there is no program, EvalPlus runs what it has.
    assert normal(ours) == (normal(theirs) if re.search(r"\bf\b", theirs) else None)


@pytest.mark.parametrize(
    "text", ["a = 1\n\n\nb = 2\nnot code", "\n\na = 1\nb = 2\n\n", "no\ncode (\nx = 1\n)\n", "\n\n"]
)
def test_the_longest_run_is_evalplus_run(text: str) -> None:
    assert longest_code(text) == pytest.importorskip("evalplus.sanitize").code_extract(text)


def normal(program: str | None) -> str | None:
    """A program without its layout."""
    if program is None:
        return None
    try:
        return ast.dump(ast.parse(program))
    except SyntaxError:
        return program
