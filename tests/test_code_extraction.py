"""What of a completion is taken for its program."""

from __future__ import annotations

import pytest

from ilr_bench.benchmarks.code import extract_code
from ilr_bench.benchmarks.code_extraction import longest_code


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("def f(x):\n    return x", "def f(x):\n    return x"),
        ("def f(x): return x", "def f(x): return x"),
        ("Sure:\n```python\nimport math\ndef f(x):\n    return math.pi\n```\nDone.",
         "import math\ndef f(x):\n    return math.pi"),
        ("def g(x):\n    return x\ndef h(x):\n    return x\ndef f(x):\n    return g(x)",
         "def g(x):\n    return x\ndef f(x):\n    return g(x)"),
        ("N = 3\nM = 4\ndef f(x):\n    return x * N\nprint(f(2))", "N = 3\ndef f(x):\n    return x * N"),
        ("def f(x):\n    return 1\ndef f(x):\n    return 2", "def f(x):\n    return 1"),
        ("class A:\n    n = 1\ndef f(x):\n    return A.n", "class A:\n    n = 1\ndef f(x):\n    return A.n"),
        ("def f(x):\n    return 'ä' + x; y = 1", "def f(x):\n    return 'ä' + x; y = 1"),
        ("f = lambda x: x\nassert f(1) == 1", "f = lambda x: x"),
        ("The answer is 7.\n", None),
        ("I think\nso", None),
        ("", None),
        ("def f(x:\n return", None),
        ("def f(x):\n    return '\0'", None),
        ("(" * 5000 + "\n" + "f", None),
    ],
)  # fmt: skip
def test_the_program_is_found(completion: str, program: str | None) -> None:
    assert extract_code(completion, "f") == program


def test_the_longest_run_of_lines_wins_and_the_earliest_of_equals() -> None:
    assert longest_code("a = 1\nthis is no code\nb = 1\nc = 2\nno code\nd = 1\ne = 2") == "b = 1\nc = 2"
    assert longest_code("no code\nat all") == "no code"


def test_a_long_completion_takes_no_time() -> None:
    text = "\n".join(["if this is so, then", "  we have:", "that it's not"] * 5000)
    assert extract_code(text, "f") is None
