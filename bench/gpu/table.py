"""The results as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def markdown(results: Mapping[str, Any]) -> str:
    """Machine, a line per part, then a table of each part's rows and the end of what failed parts printed."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield "# Checks and measurements on one card"
    yield ""
    for name, value in results["machine"].items():
        yield f"- {name}: {value}"
    yield from ("", "| part | status | s | rows |", "|---|---|---:|---:|")
    for part in results["parts"]:
        yield f"| {part['part']}: {part['title']} | {part['status']} | {part['seconds']:.0f} | {len(part['rows'])} |"
    for part in results["parts"]:
        if part["rows"]:
            yield from ("", f"## {part['part']}: {part['title']}", "")
            yield from ("| | | | at most | |", "|---|---:|---|---:|---|")
            yield from map(_row, part["rows"])
        if part["output"]:
            yield from ("", f"The end of what {part['part']} printed:", "", "```text", *part["output"], "```")


def _row(row: Mapping[str, Any]) -> str:
    shown = [_cell(row.get(key)) for key in ("value", "unit", "limit")]
    verdict = "" if row.get("ok", True) else "**wrong** "
    return f"| {_cell(row['what'])} | {' | '.join(shown)} | {verdict}{_cell(row.get('note'))}".rstrip() + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
