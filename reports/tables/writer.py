"""Tables of typed cells, and how they are written: Markdown, CSV, LaTeX and JSON from the same values."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ilr_bench.core.console import without_steering
from ilr_bench.storage.files import write_atomic

from .. import escaping

Kind = Literal["accuracy", "difference", "amount", "share", "published"]
NOTHING = "–"
MARK = " *"
"""After a difference that survives the correction."""
NUMBERS = (
    "value", "low", "high", "standard_error", "df", "pvalue", "pvalue_corrected", "test", "n", "questions", "seeds",
)  # fmt: skip
"""What the CSV holds of a cell, where the cell has it."""


@dataclass(frozen=True)
class Value:
    """One cell: what is printed, and the numbers behind it."""

    text: str
    kind: Kind
    value: float | None = None
    """The number itself, unrounded: of 1 for accuracies, differences, percentages; else in the column's unit."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Interval, test, seeds, files, ...: goes into the JSON, and the keys of `NUMBERS` into the CSV."""
    marked: bool = False


@dataclass(frozen=True)
class Column:
    """A column of numbers."""

    name: str
    """In files and commands."""
    title: str
    """In print."""


@dataclass(frozen=True)
class Line:
    """A row: a variant of a model."""

    section: str
    """The model; lines of one model stand together."""
    label: str
    values: tuple[Value | None, ...]
    """One per column; None where the study has no such number."""
    mark: str = ""
    """Printed after the label; the notes explain it."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """Numbers of a table in columns, under a title of their own."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    heads: tuple[str, ...] = ("Model", "Variant")
    """Of the leading columns of text: section and label, or the label alone."""

    @property
    def head(self) -> tuple[str, ...]:
        """All headings."""
        return (*self.heads, *(column.title for column in self.columns))

    def texts(self, line: Line) -> tuple[str, ...]:
        """A line as printed."""
        labels = (line.section, line.label + line.mark)[-len(self.heads) :]
        return (*labels, *(NOTHING if value is None else value.text for value in line.values))


@dataclass(frozen=True)
class Table:
    """A table with its footnotes."""

    name: str
    title: str
    about: str
    """What was run, in one line."""
    main: Grid
    notes: tuple[str, ...]
    """The footnotes: a sentence or two each, plain text."""
    details: tuple[Grid, ...] = ()
    """Further numbers below the footnotes."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else goes into the JSON."""
    command: str = ""
    """That ran what the table is about; printed after `about`."""


def write_table(table: Table, folder: Path) -> Path:
    """Writes NAME.md, .csv, .tex and .json, and returns the Markdown file; the same table gives the same bytes."""
    for suffix, render in RENDERERS.items():
        write_atomic(folder / f"{table.name}.{suffix}", render(table))
    return folder / f"{table.name}.md"


def markdown(table: Table) -> str:
    """Readable as plain text and on a page that renders it."""
    parts = [f"# {escaping.markdown(table.title)}", about(table), pipes(table.main)]
    parts += ["\n".join(f"- {escaping.markdown(note)}" for note in table.notes)]
    for grid in table.details:
        parts += [f"**{escaping.markdown(grid.title)}**", pipes(grid)]
    return "\n\n".join(parts) + "\n"


def about(table: Table) -> str:
    """What was run, and by which command: a line of Markdown."""
    command = [escaping.markdown_code(table.command)] if table.command else []
    return " ".join([escaping.markdown(table.about), *command])


def latex(table: Table) -> str:
    """A `table` environment for a document that loads booktabs and graphicx; the footnotes as text below."""
    grid = table.main
    lines = [
        f"% {escaping.tex(table.title)}; needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{escaping.tex(table.title.split('. ', 1)[-1])}.}}",
        f"  \\label{{tab:{table.name}}}",
        "  \\resizebox{\\linewidth}{!}{%",
        f"  \\begin{{tabular}}{{{'l' * len(grid.heads)}{'r' * len(grid.columns)}}}",
        "    \\toprule",
        f"    {' & '.join(map(escaping.tex, grid.head))} \\\\",
    ]
    for opens, texts in _printed(grid):
        lines += ["    \\midrule"] if opens else []
        lines.append(f"    {' & '.join(map(escaping.tex, texts))} \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}}", "  \\par\\smallskip\\raggedright\\footnotesize"]
    lines += [f"  {escaping.tex(note)}\\par" for note in table.notes]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def comma_separated(table: Table) -> str:
    """One line per number of the table proper, fractions of 1 in place of percentages: for spreadsheets and pandas."""
    return csv_text(number_head(table), ([*row[:4], *map(plain, row[4:])] for row in number_rows(table)))


def number_head(table: Table) -> tuple[str, ...]:
    """The names of what `number_rows` gives: `model` and `variant`, or what else the table's lines are about."""
    heads = table.main.heads if len(table.main.heads) == 2 else ("model", "variant")
    return (*map(str.lower, heads), "column", "kind", *NUMBERS)


def number_rows(table: Table) -> Iterator[list[Any]]:
    """The numbers of the table proper under `number_head`, unrounded; None where a number has no such property."""
    for line in table.main.lines:
        for column, value in zip(table.main.columns, line.values, strict=True):
            if value is not None:
                facts = {**value.facts, "value": value.value}
                yield [line.section, line.label, column.name, value.kind, *map(facts.get, NUMBERS)]


def csv_text(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Comma-separated lines, the head first; None is an empty cell, and no cell is a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([map(escaping.csv_cell, row) for row in (head, *rows)])
    return text.getvalue()


def as_json(table: Table) -> str:
    """Everything, for programs; numbers that do not exist are null."""
    data = {
        "table": table.name,
        "title": table.title,
        "about": f"{table.about} `{table.command}`" if table.command else table.about,
        **table.facts,
        "columns": [vars(column) for column in table.main.columns],
        "rows": [
            {
                "model": line.section,
                "label": line.label,
                **line.facts,
                "cells": {
                    column.name: {"text": value.text, "kind": value.kind, "value": value.value, **value.facts}
                    for column, value in zip(table.main.columns, line.values, strict=True)
                    if value is not None
                },
            }
            for line in table.main.lines
        ],
        "notes": table.notes,
        "details": [
            {"title": grid.title, "head": grid.head, "rows": [grid.texts(line) for line in grid.lines]}
            for grid in table.details
        ],
    }
    return json.dumps(_rounded(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


RENDERERS: dict[str, Callable[[Table], str]] = {"md": markdown, "csv": comma_separated, "tex": latex, "json": as_json}


def pipes(grid: Grid) -> str:
    """A Markdown table, padded so that it can be read as it stands; repeated models are printed once."""
    body = [tuple(map(escaping.markdown, texts)) for _, texts in _printed(grid)]
    return aligned(tuple(map(escaping.markdown, grid.head)), body, len(grid.heads))


def _printed(grid: Grid) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Every line as printed, and whether it opens a section: the others do not repeat its name."""
    previous = None
    for line in grid.lines:
        first, *rest = grid.texts(line)
        opens, previous = line.section != previous, line.section
        yield opens, (first if opens or len(grid.heads) == 1 else "", *rest)


def aligned(head: Sequence[str], body: Sequence[Sequence[str]], labels: int) -> str:
    """A Markdown table of cells that are ready for it: the first `labels` columns to the left, numbers to the right."""
    widths = [max(len(row[index]) for row in (head, *body)) for index in range(len(head))]

    def padded(row: Sequence[str]) -> str:
        texts = [
            text.ljust(width) if index < labels else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(texts)} |"

    rule = ["-" * width if index < labels else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join([padded(head), padded(rule), *map(padded, body)])


def html_template(name: str) -> Template:
    """A template of `reports/templates`: whatever is put into it is escaped and printable, a missing value an error."""
    loader = FileSystemLoader(Path(__file__).parents[1] / "templates")
    options = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_without_steering,
    )  # fmt: skip
    return options.get_template(name)


def _without_steering(value: Any) -> Any:
    return type(value)(without_steering(value)) if isinstance(value, str) else value


def plain(value: Any) -> Any:
    """A value for a cell of a CSV file: floats to six digits, several values joined by `; `."""
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.6g}"
    return "" if value is None else value


def _rounded(value: Any) -> Any:
    """Floats to nine digits (the last ones depend on the machine), infinities and NaN to null."""
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
