"""Every path and every command that README, CONTRIBUTING and docs/ name is there, and every command can be parsed."""

from __future__ import annotations

import ast
import pkgutil
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import typer

import reports
from ilr_bench import cli
from ilr_bench.study import sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = ("ilr_bench", "reports", "ablations", "bench", "tests", "docs", "configs")
"""Folders of the repository. In prose `models/` is ilr_bench/models."""
OUTPUT = re.compile(r"(?:runs|DIR|STUDY)/|(?:.*/)?reports/[^/]*\.(?:html|md|csv|tex|json|png|svg|pdf)$|reports/$")
"""What commands write; a report's folder of output has the name of a package."""
FENCED = re.compile(r"^```\w*[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(?:\$ )?((?:[A-Z_]+=\S+ )?(?:ilr-bench|python|nox|accelerate) .*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ASSIGNED = re.compile(r'^(?:export )?([A-Z]+)="([^"]*)"', re.MULTILINE)
PROGRAM = re.compile(r"(?:^|\s)(?:(ilr-bench)|-m (ilr_bench(?:\.sweep)?)|(nox) -s)(?=\s|$)")
PLACEHOLDER = re.compile(r"(?<=/)[A-Z]{2,}(?![\w-]*\.md)")
"""`NAME` in `reports/NAME.py`."""
WORD = re.compile(r"[\w.{},*-]+(?:/[\w.{},*-]*)+|[\w-]+\.(?:py|lock|md)")


def named(pages: list[Path] = PAGES) -> list[object]:
    return [pytest.param(page, id=page.name) for page in pages]


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def alternatives(word: str) -> Iterator[str]:
    """`a{b,c}` -> `ab`, `ac`; what says only that there are more (`...`) is left out."""
    found = re.search(r"\{([^{}]*)\}", word)
    if found is None:
        yield word
        return
    for part in found[1].split(","):
        if part != "...":
            yield from alternatives(word[: found.start()] + part + word[found.end() :])


def paths(page: Path) -> Iterator[str]:
    for text in INLINE.findall(prose(page)):
        words = (PLACEHOLDER.sub("*", word) for word in text.split() if WORD.fullmatch(word))
        yield from (path for word in words if not word.startswith("my_") for path in alternatives(word))


@cache
def everything() -> str:
    """The text of all code that users run."""
    folders = (ROOT / name for name in ("ilr_bench", "reports", "ablations", "bench"))
    return "".join(path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.rglob("*.py")))


@cache
def file_names() -> frozenset[str]:
    return frozenset(path.name for name in SOURCES for path in (ROOT / name).rglob("*")) | {
        path.name for path in ROOT.glob("*")
    }


def is_there(path: str) -> bool:
    """Whether a path is in the repository or, where a command would write it, its name is in the code."""
    name = path.rstrip("/").rpartition("/")[2]
    if OUTPUT.match(path):
        written = {f"{report}.{suffix}" for report in reports.names() for suffix in ("md", "csv", "tex", "json", "png")}
        return "." not in name or name in written or f'"{name}"' in everything()
    if "/" not in path:
        return path in file_names()
    indices = [ROOT, ROOT / "ilr_bench"]
    return path.partition("/")[0] not in known_folders() or any(
        any(folder.glob(path.rstrip("/"))) for folder in indices
    )


@cache
def known_folders() -> frozenset[str]:
    packages = {path.parent.name for path in (ROOT / "ilr_bench").glob("*/__init__.py")}
    return frozenset({*SOURCES, *packages})


@pytest.mark.parametrize("page", named())
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    assert [path for path in paths(page) if not is_there(path)] == []


@pytest.mark.parametrize("page", named())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        folder = (page.parent / target).resolve() if target else page
        if not folder.exists() or (anchor and anchor not in headings(folder)):
            broken.append(link)
    assert broken == []


def headings(page: Path) -> set[str]:
    """The anchors of a page as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", named())
def test_every_module_and_name_that_a_page_names_is_there(page: Path) -> None:
    for text in INLINE.findall(prose(page)):
        if re.fullmatch(r"(?:ilr_bench|reports|ablations|bench)(?:\.\w+)+", text) and not text.endswith(".py"):
            entry_points = f'"{text}"' in (ROOT / "pyproject.toml").read_text() or f'"{text}"' in everything()
            assert entry_points or pkgutil.resolve_name(text)


def commands(page: Path) -> Iterator[tuple[str, bool]]:
    """Lines of code, and pieces of prose; the latter may leave out what must be given."""
    text = page.read_text(encoding="utf-8")
    known = dict(ASSIGNED.findall("\n".join(FENCED.findall(text))))
    for block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\$([A-Z]+)", lambda found: known.get(found[1], found[0]), line), True
    for line in INDENTED.findall(text):
        yield line, True
    for piece in INLINE.findall(prose(page)):
        yield piece.replace("\n", " "), False


def calls(page: Path) -> Iterator[tuple[str, list[str], bool]]:
    """Program, arguments, and whether they are complete, of every command of ours on a page."""
    for line, whole in commands(page):
        for found in PROGRAM.finditer(line):
            lexer = shlex.shlex(line[found.end() :], posix=True, punctuation_chars="|&;>)")
            lexer.whitespace_split, lexer.commenters = True, "#"
            arguments = []
            for word in lexer:
                if set(word) <= set("|&;>)"):
                    break
                arguments.append(word)
            yield next(filter(None, found.groups())), arguments, whole


def parse(command: click.Command, arguments: list[str], complete: bool) -> None:
    """Parses a command and its subcommands without running any; raises click's error where that is impossible."""
    try:
        with command.make_context("docs", list(arguments)) as context:
            if isinstance(command, click.Group) and context.args is not None:
                rest = [*context._protected_args, *context.args]
                _, chosen, rest = command.resolve_command(context, rest)
                assert chosen is not None
                parse(chosen, rest, complete)
    except click.MissingParameter:
        if complete:
            raise
    except click.exceptions.Exit:
        assert "--help" in arguments or "--version" in arguments


def sessions() -> set[str]:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        item.name
        for item in tree.body
        if isinstance(item, ast.FunctionDef) and any("nox.session" in ast.unparse(mark) for mark in item.decorator_list)
    }


@pytest.mark.parametrize("page", named())
def test_every_command_that_a_page_names_can_be_parsed(page: Path) -> None:
    ours = {
        "ilr-bench": typer.main.get_command(cli.app),
        "ilr_bench": typer.main.get_command(cli.app),
        "ilr_bench.sweep": typer.main.get_command(sweep.app),
    }
    for program, arguments, complete in calls(page):
        if program == "nox":
            before = arguments[: arguments.index("--")] if "--" in arguments else arguments
            assert set(before) <= sessions(), arguments
            assert [word for word in arguments if word.startswith("tests/") and not (ROOT / word).exists()] == []
        elif arguments:
            given = [word for word in arguments if word not in ("...", "…")]
            try:
                parse(ours[program], given, complete and len(given) == len(arguments))
            except click.UsageError as error:
                pytest.fail(f"{page.name}: {program} {shlex.join(arguments)}: {error.format_message()}")


def test_commands_paths_and_links_are_looked_for_everywhere() -> None:
    assert len({(program, *arguments) for page in PAGES for program, arguments, _ in calls(page)}) > 60
    assert len({path for page in PAGES for path in paths(page)}) > 60
