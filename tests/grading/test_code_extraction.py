"""What of a completion is taken for its program."""

from __future__ import annotations

import pytest

from ilr_bench.grading.code import extract_code, longest_code


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


F = "def f(x):\n    return x"


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        (f"from __future__ import annotations\nimport os\nfrom re import sub\n{F}",
         f"import os\nfrom re import sub\n{F}"),
        (f"def g(x):\n    print(x)\n{F} + g(x)", f"{F} + g(x)"),
        (f"@cache\ndef g(x):\n    return x\n{F} + g(x)", f"{F} + g(x)"),
        (f"@cache\nclass A:\n    n = 1\n{F} + A.n", f"{F} + A.n"),
        (f"@cache\n{F}", f"@cache\n{F}"),
        ("async def f(x):\n    return x", "async def f(x):\n    return x"),
        (f"n: int = 3\nm: int = 4\n{F} + n", f"n: int = 3\n{F} + n"),
        (f"n = m = 3\nk = 4\n{F} + n", f"n = m = 3\n{F} + n"),
        (f"n = m = 3\n{F} + m", f"{F} + m"),
        (f"a.b = n\n{F} + n", f"a.b = n\n{F} + n"),
        (f"a.b = a.c = n\n{F} + n", f"{F} + n"),
        (f"a.b: int = n\n{F} + n", f"a.b: int = n\n{F} + n"),
        (f"g = 4\nh = 5\n{F} + h.g", f"g = 4\nh = 5\n{F} + h.g"),
        (f"g = 4\nh = 5\n{F} + k(h=1)", f"h = 5\n{F} + k(h=1)"),
        (f"g = 4\n{F} + 'g'", f"{F} + 'g'"),
        ("a = 1; f = 2\nb = 3", "f = 2"),
        ("f = 2; a = 1\nb = 3", "f = 2"),
        ("def ff(x):\n    return x", None),
        ("f = 1", "f = 1"),
        ("if f:\n    pass", "if f:\n    pass"),
        ("g = 1\nh = g\nf = h", "g = 1\nh = g\nf = h"),
    ],
)  # fmt: skip
def test_what_the_entry_point_reaches_is_kept_and_nothing_else(completion: str, program: str | None) -> None:
    assert extract_code(completion, "f") == program


def test_empty_lines_do_not_count_in_a_run() -> None:
    assert longest_code("a = 1\n\n\n\nno code\nb = 2\nc = 3") == "b = 2\nc = 3"
    assert longest_code("no code\n\n\na = 1\nb = 2") == "\n\na = 1\nb = 2"


def test_only_the_first_two_hundred_lines_are_looked_at() -> None:
    assert extract_code("no code\n" * 198 + "f = 1\ng = 2\nh = 3", "f") == "f = 1"
    assert longest_code("no code\n" * 198 + "f = 1\ng = 2\nh = 3") == "f = 1\ng = 2"
    assert extract_code("no code\n" * 199 + "f = 1\ng = 2", "f") is None


def test_only_the_first_hundred_thousand_characters_are_looked_at() -> None:
    comment = "#" * (100_000 - len("\nf = 1"))
    assert extract_code(f"{comment}\nf = 1", "f") == "f = 1"
    assert extract_code(f"{comment}#\nf = 1", "f") is None
