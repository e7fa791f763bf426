"""Table 2 as Markdown, CSV, LaTeX, JSON and HTML: pure functions from the table to text."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports import paper_numbers
from reports.accuracy import AVERAGE, Cell, Comparison, Row, column_title

if TYPE_CHECKING:
    from reports.table2 import Table2

TITLE = "Table 2. Component ablation and out-of-domain code"
NOTHING = "–"
REFERENCE_TITLES = {"base": "vs base", "grpo_matched": "vs matched GRPO"}


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of text: what Markdown, LaTeX and HTML have in common."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def main_grid(table: Table2) -> Grid:
    """The table proper."""
    references = table.references
    head = (
        "Model",
        "Variant",
        *map(column_title, table.columns.all),
        "Tokens (k)",
        *(REFERENCE_TITLES[name] for name in references),
    )
    rows = [
        (
            row.section,
            row.label + _mark(table, row),
            *(_cell(table.cells.get((row, column))) for column in table.columns.all),
            f"{table.effects[row].sampled_tokens / 1000:,.0f}",
            *(_difference(table.comparison(row, name)) for name in references),
        )
        for row in table.rows
    ]
    return Grid(TITLE, head, tuple(rows))


def effects_grid(table: Table2) -> Grid:
    """What training saw, of the rows that were trained."""
    head = (
        "Model",
        "Variant",
        "Clipped terms",
        "Changed groups",
        "Mean change",
        "Flat groups",
        "Cooperation",
        "By rule",
    )
    rows = []
    for row in table.rows:
        seen = table.effects[row]
        if seen.flat is None:
            continue
        shares = (seen.clipped, seen.changed)
        change = NOTHING if seen.advantage_change is None else f"{seen.advantage_change:.4f}"
        rest = (seen.flat, seen.cooperation, seen.rule_cooperation if seen.cooperation is not None else None)
        rows.append((row.section, row.label, *map(_share, shares), change, *map(_share, rest)))
    return Grid(
        "What training saw: terms of equation (5) that were clipped, groups whose advantages calibration changed by "
        "more than 0.001, mean absolute change of an advantage; groups with nothing to learn from; questions on which "
        "the agent cooperated, and on which the item-response rule alone would have it",
        head,
        tuple(rows),
    )


def detectable_grid(table: Table2) -> Grid:
    """What the table could have seen."""
    rows = [
        (column_title(item.column), str(item.questions), _points(item.single), _points(item.family))
        for item in table.detectable
        if item.single is not None
    ]
    return Grid(
        "Smallest detectable difference in points (power 80 %, two-sided 5 %, median over the comparisons)",
        ("Column", "Questions", "One comparison", "Within the family"),
        tuple(rows),
    )


def paper_grids() -> tuple[Grid, ...]:
    """The published numbers."""
    main = [(name, *(f"{value:.2f}" for value in values)) for name, values in paper_numbers.MAIN.items()]
    ablation = [
        (name, *(NOTHING if value is None else f"{value:.2f}" for value in values))
        for name, values in paper_numbers.ABLATION.items()
    ]
    return (
        Grid(paper_numbers.TITLE, ("Model, variant", *paper_numbers.MAIN_COLUMNS), tuple(main)),
        Grid("The paper's component ablation, Avg", ("Variant", *paper_numbers.ABLATION_COLUMNS), tuple(ablation)),
    )


def markdown(table: Table2) -> str:
    """Readable as plain text and on a page that renders it."""
    parts = [f"# {TITLE}", _about(table), _pipes(main_grid(table), 2)]
    parts += ["\n".join(f"- {_escaped(note)}" for note in table.notes)]
    for grid, labels in ((detectable_grid(table), 1), (effects_grid(table), 2), *((grid, 1) for grid in paper_grids())):
        if grid.rows:
            parts += [f"**{grid.title}**", _pipes(grid, labels)]
    return "\n\n".join(parts) + "\n"


def latex(table: Table2) -> str:
    """A `table` environment for a document that loads booktabs; the foot as text below."""
    grid = main_grid(table)
    lines = [
        f"% {TITLE}; needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_tex(TITLE.split('. ', 1)[1])}.}}",
        "  \\label{tab:table2}",
        "  \\resizebox{\\linewidth}{!}{%",
        f"  \\begin{{tabular}}{{ll{'r' * (len(grid.head) - 2)}}}",
        "    \\toprule",
        f"    {' & '.join(map(_tex, grid.head))} \\\\",
    ]
    previous = None
    for row in grid.rows:
        if row[0] != previous:
            lines.append("    \\midrule")
        first = row[0] if row[0] != previous else ""
        lines.append(f"    {' & '.join(map(_tex, (first, *row[1:])))} \\\\")
        previous = row[0]
    lines += ["    \\bottomrule", "  \\end{tabular}}", "  \\par\\smallskip\\raggedright\\footnotesize"]
    lines += [f"  {_tex(note)}\\par" for note in table.notes]
    detectable = "; ".join(f"{column_title(item.column)} {_points(item.single)}" for item in table.detectable)
    seen = f"Smallest detectable difference in points (power 80 %, one comparison): {detectable}."
    lines.append(f"  {_tex(seen)}")
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def comma_separated(table: Table2) -> str:
    """One line per cell and comparison, numbers as shares of 1: for spreadsheets and pandas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "group", "variant", "column", "quantity", "value", "low", "high", "p", "p_holm", "test", "df",
         "answers", "questions", "seeds"]
    )  # fmt: skip
    for row in table.rows:
        head = [row.section, row.models, row.label]
        for column in table.columns.all:
            if cell := table.cells.get((row, column)):
                it = cell.interval
                numbers = [it.mean, it.low, it.high, "", "", "", it.df, it.n, it.questions, it.seeds]
                writer.writerow([*head, column, "accuracy", *map(_plain, numbers)])
        for name in table.references:
            if item := table.comparison(row, name):
                of = item.result
                numbers = [of.difference, of.low, of.high, of.pvalue, item.adjusted, of.test, of.df, of.n, "", ""]
                writer.writerow([*head, table.headline, f"difference from {name}", *map(_plain, numbers)])
        seen = dataclasses.asdict(table.effects[row])
        for quantity, value in seen.items():
            if value is not None:
                writer.writerow([*head, "", quantity, _plain(value), *[""] * 9])
    return text.getvalue()


def as_json(table: Table2) -> str:
    """Every number with its interval, counts and the record files it came from."""
    study = table.frames.study
    data = {
        "title": TITLE,
        "study": {"profile": study.profile, "command": study.command, "unfinished": table.frames.unfinished},
        "columns": {"maths": table.columns.maths, "average": AVERAGE, "code": table.columns.code},
        "headline": table.headline,
        "rows": [_row_data(table, row) for row in table.rows],
        "family": {
            "correction": "Holm",
            "level": 0.05,
            "comparisons": sum(item.row.same_as is None for item in table.comparisons),
        },
        "detectable": [dataclasses.asdict(item) for item in table.detectable],
        "equal_by_theorem": [
            {"model": item.row.section, "row": item.row.label, "twin": item.twin.label, "answers": item.answers,
             "different": item.different}
            for item in table.equal
        ],
        "notes": table.notes,
        "paper": {"main": paper_numbers.MAIN, "ablation": paper_numbers.ABLATION, "note": paper_numbers.TITLE},
    }  # fmt: skip
    return json.dumps(_rounded(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def html(table: Table2, picture: bytes) -> str:
    """One self-contained page."""
    environment = Environment(
        loader=PackageLoader("reports"), autoescape=select_autoescape(default=True), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    grids = [grid for grid in (detectable_grid(table), effects_grid(table)) if grid.rows]
    return environment.get_template("table2.html.jinja").render(
        title=TITLE,
        about=_about(table).replace("`", ""),
        main=main_grid(table),
        notes=[note.replace("`", "") for note in table.notes],
        grids=grids,
        paper=paper_grids(),
        picture=base64.b64encode(picture).decode(),
    )


RENDERERS: dict[str, Callable[[Table2], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "tex": latex,
    "json": as_json,
}


def _about(table: Table2) -> str:
    groups = ", ".join(dict.fromkeys(row.models for row in table.rows))
    return f"Profile {table.frames.study.profile}, models trained together: {groups}. `{table.frames.study.command}`"


def _mark(table: Table2, row: Row) -> str:
    return " =" if any(item.row == row for item in table.equal) else ""


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return NOTHING
    it = cell.interval
    return f"{100 * it.mean:.1f} ±{50 * (it.high - it.low):.1f}"


def _difference(item: Comparison | None) -> str:
    if item is None or item.adjusted is None:
        return NOTHING
    it, p = item.result, item.adjusted
    shown = "p<.001" if p < 0.001 else "p=1" if p > 0.995 else f"p={p:.3f}" if p < 0.1 else f"p={p:.2f}"
    shown = shown.replace("=0.", "=.")
    return f"{100 * it.difference:+.1f} ±{50 * (it.high - it.low):.1f} {shown}{' *' if p < 0.05 else ''}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f} %"


def _points(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def _pipes(grid: Grid, labels: int) -> str:
    """A Markdown table, padded so that it can be read as it stands; repeated models are printed once."""
    body, previous = [], None
    for row in grid.rows:
        repeated = labels > 1 and row[0] == previous
        body.append(tuple(map(_escaped, ("" if repeated else row[0], *row[1:]))))
        previous = row[0]
    head = tuple(map(_escaped, grid.head))
    widths = [max(len(row[place]) for row in (head, *body)) for place in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if place < labels else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if place < labels else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, body)])


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("|", "\\|")


def _tex(text: str) -> str:
    for sign, code in (
        ("\\", "\\textbackslash{}"), ("&", "\\&"), ("%", "\\%"), ("_", "\\_"), ("#", "\\#"), ("$", "\\$"),
        ("±", "$\\pm$"), ("–", "--"), ("<", "$<$"), (">", "$>$"), ("`", ""),
    ):  # fmt: skip
        text = text.replace(sign, code)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.6g}"
    return "" if value is None else value


def _row_data(table: Table2, row: Row) -> dict[str, Any]:
    return {
        "model": row.section,
        "group": row.models,
        "agent": row.agent,
        "variant": row.variant,
        "label": row.label,
        "seeds": row.seeds,
        "trials": row.folders,
        "same_trials_as": row.same_as,
        "cells": {
            column: {
                **dataclasses.asdict(cell.interval),
                "run_seeds": cell.seeds,
                "per_run": cell.per_run,
                "files": cell.files,
            }
            for column in table.columns.all
            if (cell := table.cells.get((row, column)))
        },
        "training": dataclasses.asdict(table.effects[row]),
        "comparisons": {
            name: {
                **dataclasses.asdict(item.result),
                "column": item.column,
                "pvalue_holm": item.adjusted,
                "pvalue_own_run_variance": item.own_runs_pvalue,
                "against": item.against.label,
            }
            for name in table.references
            if (item := table.comparison(row, name))
        },
    }


def _rounded(value: Any) -> Any:
    """Floats to nine digits (the last ones depend on the machine), infinities and NaN to null."""
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
