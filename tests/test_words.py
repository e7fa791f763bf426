"""Names and phrases that have given way to the field's terms (`retired_words.toml`) do not come back."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = tomllib.loads(Path(__file__).with_name("retired_words.toml").read_text(encoding="utf-8"))
FOLDERS = ("ilr_bench", "reports", "ablations", "bench", "tests")
ITSELF = {Path(__file__), Path(__file__).with_name("retired_words.toml")}
IDENTIFIERS = frozenset(RETIRED["identifiers"])
PHRASES = [re.compile(phrase, re.IGNORECASE) for phrase in RETIRED["phrases"]]
IN_BACKTICKS = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")

Finding = tuple[int, str]


def python_files() -> list[Path]:
    files = [*(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")), ROOT / "noxfile.py"]
    return sorted(set(files) - ITSELF)


def page_files() -> list[Path]:
    """Documentation but for the history in CHANGELOG.md, and what else people read."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.rglob("*.jinja"), ROOT / "pyproject.toml"]
    hidden = {path for path in pages if any(part.startswith(".") for part in path.relative_to(ROOT).parts)}
    return sorted(set(pages) - hidden - {ROOT / "CHANGELOG.md"})


def names_in(code: str) -> Iterator[Finding]:
    """Every identifier of a program with its line."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.end_lineno or node.lineno, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.lineno, node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name.rpartition(".")[2]


def prose_in(code: str) -> Iterator[Finding]:
    """Comments, docstrings and every string of several words, line by line."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for place, line in enumerate(node.value.split("\n")):
                yield node.lineno + place, line


def retired_names(code: str) -> list[Finding]:
    found = [(line, name) for line, name in names_in(code) if name in IDENTIFIERS]
    return found + [finding for line, text in prose_in(code) for finding in quoted_names(line, text)]


def quoted_names(line: int, text: str) -> list[Finding]:
    words = (word for span in IN_BACKTICKS.findall(text) for word in re.findall(r"[A-Za-z_]\w*", span))
    return [(line, word) for word in words if word in IDENTIFIERS]


def retired_phrases(lines: Iterator[Finding]) -> list[Finding]:
    return [(line, match.group()) for line, text in lines for phrase in PHRASES for match in phrase.finditer(text)]


def report(path: Path, found: list[Finding]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{line}: {word}" for line, word in sorted(found))


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_no_retired_name_and_no_retired_phrase(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    found = retired_names(code) + retired_phrases(prose_in(code))
    assert not found, report(path, found)


@pytest.mark.parametrize("path", page_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_use_no_retired_name_and_no_retired_phrase(path: Path) -> None:
    lines = list(enumerate(path.read_text(encoding="utf-8").split("\n"), 1))
    found = [finding for line, text in lines for finding in quoted_names(line, text)] + retired_phrases(iter(lines))
    assert not found, report(path, found)


def test_a_retired_name_is_found_wherever_it_stands_in_code() -> None:
    code = "from a import Classroom\n\n\ndef f() -> Classroom:\n    '''See `Classroom`.'''\n    return g(Classroom)\n"
    assert sorted(retired_names(code)) == [(1, "Classroom"), (4, "Classroom"), (5, "Classroom"), (6, "Classroom")]


def test_a_word_in_the_middle_of_another_name_is_left_alone() -> None:
    assert not retired_names("Classrooms = my_Classroom = 'Classroom'\n")


def test_a_retired_phrase_is_found_in_comments_docstrings_and_messages() -> None:
    code = "'''The ground floor imports nothing.'''\nx = 1  # the ground floor\nraise E(f'{x}: the ground floor')\n"
    assert sorted(line for line, _ in retired_phrases(prose_in(code))) == [1, 2, 3]
