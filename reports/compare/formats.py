"""A comparison of two logs for the terminal, and as Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .. import escaping
from ..tables.writer import aligned
from ..tables.writer import csv_text as table_csv
from .paired import Compared, Example, Line

HEADER = (
    "benchmark", "measure", "questions", "A", "B", "A - B", "95 % interval", "p", "corrected", "A better", "B better",
    "detectable",
)  # fmt: skip
LEVEL = 0.05
ALIKE = "identical"
"""The test of answers that are all alike: without a difference there is no spread, so no interval."""
LONGEST = 300
"""Characters of a question or an answer in an example."""


def rows(compared: Compared) -> list[tuple[str, ...]]:
    """The table's cells, header first: percentages and points."""
    return [HEADER, *(tuple(map(escaping.printable, _cells(line))) for line in compared.lines)]


def notes(compared: Compared) -> list[str]:
    """What was tested, and what could not be."""
    tests = " or ".join(dict.fromkeys(line.result.test for line in compared.lines if line.result.test != ALIKE))
    name = {"holm": "Holm's method (family-wise error)", "bh": "Benjamini and Hochberg's (false discovery rate)"}
    how = {
        (line.benchmark, line.joined_by, line.prompts): f"{line.benchmark} by {line.joined_by}, prompts {line.prompts}"
        for line in compared.lines
    }
    count = len(compared.lines)
    found = [
        f"A: {compared.a}; B: {compared.b}. Differences in points, paired on the question; test: "
        f"{tests or 'none needed'}; corrected over {count} comparison{'s' if count > 1 else ''} by "
        f"{name[compared.correction]}; * marks corrected p < {LEVEL}. Detectable: the smallest true difference that "
        "one such test finds with a power of 80 %.",
        "One run each: intervals and tests are about these very models and new questions of the kind, not about "
        "training the models again.",
        f"Joined: {'; '.join(how.values())}.",
        *(f"Not compared: {reason}." for reason in compared.refused),
    ]
    return [escaping.printable(text) for text in found]


def markdown(compared: Compared) -> str:
    """The table, its notes, and the examples."""
    head, *body = rows(compared)
    lines = ["# A against B", "", aligned(head, [tuple(map(escaping.markdown, cells)) for cells in body], labels=2)]
    for note in notes(compared):
        lines += ["", escaping.markdown(note)]
    for line in compared.lines:
        for title, examples in (("A", line.won_examples), ("B", line.lost_examples)):
            lines += _examples(f"{line.benchmark} ({line.measure}): {title} is better", examples)
    return "\n".join(lines) + "\n"


def csv_text(compared: Compared) -> str:
    """One row per comparison, unrounded."""
    records = [_flat(line) for line in compared.lines]
    return _encodable(table_csv(list(records[0]), [record.values() for record in records]))


def json_text(compared: Compared) -> str:
    """Everything, examples in full."""
    data = {
        "a": str(compared.a), "b": str(compared.b), "correction": compared.correction,
        "comparisons": [
            _flat(line) | {name: list(map(vars, getattr(line, name))) for name in ("won_examples", "lost_examples")}
            for line in compared.lines
        ],
        "not_compared": list(compared.refused),
    }  # fmt: skip
    return _encodable(json.dumps(data, ensure_ascii=False, indent=1)) + "\n"


RENDERERS = {"md": markdown, "csv": csv_text, "json": json_text}


def example_lines(examples: Sequence[Example]) -> list[str]:
    """For the terminal: two lines per example."""
    lines = []
    for item in examples:
        question = f": {_short(item.question, 90)}" if item.question else ""
        lines.append(f"  {_short(item.name, 60)}{question}")
        lines.append(f"    gold {_short(item.gold or '-', 30)} | A {_short(item.a, 60)} | B {_short(item.b, 60)}")
    return lines


def _cells(line: Line) -> tuple[str, ...]:
    result = line.result
    mark = "*" if line.adjusted < LEVEL else ""
    return (
        line.benchmark,
        line.measure,
        f"{line.questions}" + (f" x {line.samples}" if line.samples > 1 else ""),
        f"{100 * line.a:.1f}",
        f"{100 * line.b:.1f}",
        f"{100 * result.difference:+.1f}{mark}",
        "-" if result.test == ALIKE else f"[{100 * result.low:+.1f}, {100 * result.high:+.1f}]",
        _pvalue(result.pvalue),
        _pvalue(line.adjusted),
        str(line.won),
        str(line.lost),
        "-" if line.detectable is None else f"{100 * line.detectable:.1f}",
    )


def _flat(line: Line) -> dict[str, Any]:
    result = line.result
    low, high = (None, None) if result.test == ALIKE else (result.low, result.high)
    return {
        "benchmark": line.benchmark, "measure": line.measure, "joined_by": line.joined_by, "prompts": line.prompts,
        "questions": line.questions, "samples": line.samples, "a": line.a, "b": line.b,
        "difference": result.difference, "low": low, "high": high, "pvalue": result.pvalue,
        "corrected_pvalue": line.adjusted, "test": result.test, "won": line.won, "lost": line.lost,
        "detectable": line.detectable,
    }  # fmt: skip


def _pvalue(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}" if value else "<1e-300"


def _examples(title: str, examples: Sequence[Example]) -> list[str]:
    lines = ["", f"## {escaping.markdown(title)}"] if examples else []
    for item in examples:
        question = f" {escaping.markdown(_short(item.question, LONGEST))}" if item.question else ""
        lines += ["", f"- **{escaping.markdown(_short(item.name, LONGEST))}**{question}"]
        answers = {"gold": item.gold, "A": item.a, "B": item.b}
        lines += [
            f"  - {who}: {escaping.markdown_code(_short(text, LONGEST))}"
            for who, text in answers.items()
            if text is not None
        ]
    return lines


def _short(text: str, longest: int) -> str:
    text = escaping.printable(" ".join(text.split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _encodable(text: str) -> str:
    """Halves of surrogate pairs, which JSON can hold, exist in no file."""
    return text.encode("utf-8", "replace").decode()
