"""What of a completion is taken for its program."""

from __future__ import annotations

import ast
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("Sure:\n```python\ndef f(x): return x\n```", "def f(x): return x"),
        ("```python\nf = lambda x: x\n```", "f = lambda x: x"),
        (f"1. So:\n   ```python\n   {F.replace(chr(10), chr(10) + '   ')}\n   ```\n2. Done.", F),
        (f"apples\npears\nplums\n```\n{F}\n```", F), (f"a\nb\nc\n~~~py\r\n{F}\r\n~~~", F),
        ("```\ndef f(x): return 1\n```\nBetter:\n```\ndef f(x): return 2\n```\nTest:\n```\nf(3)\n```",
         "def f(x): return 2"),
        ("```python\ndef g(x): return x\n```", None), ("```python\ndef f(x): return x", None),
        ("<think>\n```\ndef f(x): return x\n```", None), ("```\nf(3)\n```", None),
        ("```\n" * 40_000, None), ("".join("`" * length + "\n" for length in range(900, 2, -1)), None),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_fenced_program_that_evalplus_overlooks_is_found(completion: str, program: str | None) -> None:
    start = time.process_time()
    assert extract_code(completion, "f") == program
    assert time.process_time() - start < 5


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


def test_a_program_is_found_anywhere_in_the_text() -> None:
    assert longest_code("no code\n" * 5000 + "f = 1\ng = 2\nh = 3") == "f = 1\ng = 2\nh = 3"
    assert extract_code("It's no code (\n" * 5000 + "f = 1\ng = 2\n" + "no code\n" * 500, "f") == "f = 1"


def test_only_the_first_half_million_characters_are_looked_at() -> None:
    comment = "#" * (500_000 - len("\nf = 1"))
    assert extract_code(f"{comment}\nf = 1", "f") == "f = 1"
    assert extract_code(f"{comment}#\nf = 1", "f") is None


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("<think>\ndef f(x):\n    return 1\n    # more\n</think>\ndef f(x):\n    return 2",
         "def f(x):\n    return 2"),
        ("def f(x):\n    return 1\n    # more\n</think>\ndef f(x):\n    return 2", "def f(x):\n    return 2"),
        ("<think>\ndef f(x):\n    return 1\n", None),
        ("<think>a</think>b</think>\nf = 1", "f = 1"),
        ("def f(x):\n    return '<think>'", "def f(x):\n    return '<think>'"),
    ],
)  # fmt: skip
def test_a_draft_inside_a_thought_is_no_program(completion: str, program: str | None) -> None:
    assert extract_code(completion, "f") == program


def test_the_end_of_a_thought_may_be_another_one() -> None:
    draft = "f = 1\ng = 2\n[end]\nf = 2\n"
    assert extract_code(draft, "f", lambda text: text.rpartition("[end]")[2]) == "f = 2"


@pytest.mark.parametrize("separator", ["\r", "\r\n", "\n"])
def test_what_ends_a_line_for_the_parser_ends_one_here(separator: str) -> None:
    program = "import os\ndef f(x):\n    return 'a'"
    completion = f"Sure\n{program}\nprint(f(1))\ndone it".replace("\n", separator)
    assert extract_code(completion, "f") == program


@pytest.mark.parametrize("separator", "\x0b \x0c \x1c \x1d \x1e \x85 \u2028 \u2029".split(" "))
def test_what_ends_no_line_for_the_parser_ends_none_here(separator: str) -> None:
    program = f"def f(x):\n    return 'a{separator}b'"
    assert extract_code(f"no{separator}code\n{program}\n{separator}no code", "f") == program


@given(st.text("def f(x):\n \t\r\x0b\x0c\x1c\x1e\x85\u2028\0'\"#\\(=1retun\ud800", max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    for completion in (text, f"def f(x):\r return x{text}", f"f = '''{text}'''\rg = 1"):
        program = extract_code(completion, "f")
        assert program is None or "f" in program


def brute(text: str) -> str:
    """Every run of lines tried, as EvalPlus does."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found, most = lines[0], 0
    for first in range(len(lines)):
        for last in range(first + 1, len(lines)):
            run = "\n".join(lines[first : last + 1])
            filled = sum(bool(line.strip()) for line in lines[first : last + 1])
            if filled > most:
                try:
                    ast.parse(run)
                except (SyntaxError, ValueError):
                    continue
                found, most = run, filled
    return found


PIECES = ["def f(x):", "    return x", "    try:", "        y = 1", "    except E:", "try:", "    z = (", "    )",
          "else:", "finally:", "if x:", "    pass", "a = 1", "it's", "no code", '"""', "'''text", "b = [", "]", "@c",
          "class A:", "", "# note", "x = 1 \\", "    '''", "1 if", "0777", "\x0c",
          "elif y:", "(", ")", "f'{x"]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_the_run_is_the_one_that_trying_all_finds(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    assert longest_code(text) == brute(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = 1\ndef f():\n  c = 1\n  try:\n    d = 1\n    e = 1",
        "def f():\n  try:\n    d = 1\n  except E:\n    pass\n  x = 1\n  try:\n    try:\n      y\n    finally: z\n    e",
        'a = 1\nb = 2\ndef f():\n  """Text.\n\n  More.\n',
        "def f():\n  c = 1\n  x = g(1,\n    2,\n    3,\n",
        "Text it is\n'''\nmore\n'''\na = 1\nb = 2",
        'it is\na = """\nb = 1\nc = 2\n"""\nd e\n"""\nd = 1\nf = 2\ng = 3\nh = 4',
    ],
)
def test_what_breaks_off_is_left_out_and_nothing_else(text: str) -> None:
    assert longest_code(text) == brute(text)
    assert len(longest_code(text).split("\n")) > 1


HOSTILE = [
    "x = (\n" * 3000, "it's 0777 (\n" * 3000, "'''\na b\n" * 2000, "def f():\n" + "  try:\n" + "    a = 1\n" * 3000,
    "if x:\n" + " 3apples 'a\n" * 3000, ("a = 1\n" * 40 + "b c\n") * 100, "@a\n" * 3000, "(\n" * 90 + "()\n" * 3000,
    "[\n1,\n" * 2000, "def f():\n  '''\n" + "a = 1\n" * 3000, "try: a\n" * 3000, "f = {\n" + "'a': [1,\n" * 3000,
    "a\r" * 5000, "\0\n" * 5000, "a = \\\n" * 3000, "(" * 90 + "\n" + ")" * 89 + "\nx y\n", "lambda: " * 500 + "\n1 1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_takes_long(text: str) -> None:
    begin = time.process_time()
    extract_code(text, "f")
    assert time.process_time() - begin < 10
