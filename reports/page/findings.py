"""Findings in sentences, taken from the tests of the tables and claiming no more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..rows import column_title
from ..tables.printing import pvalue_text
from ..tables.writer import Line, Table, Value
from .descriptions import counted, listed

QUESTIONS = {
    ("ilr", "grpo_matched"): "Does talking help? {table} compares ilr with grpo_matched, the same models trained alone "
    "with as many sampled tokens.",
    ("ilr", "base"): "Does training help at all? {table} compares ilr with base, the same models before training.",
    ("infer_idea3", "infer_single"): "Does a discussion (infer_idea3) help while answering? {table} compares it with "
    "one answer by each model, and counts what it costs.",
    ("infer_debate", "infer_single"): "Does a debate (infer_debate) help while answering? {table} compares it with one "
    "answer by each model, and counts what it costs.",
}
"""Variant and reference -> the question that their comparison answers."""


def findings(tables: Sequence[Table]) -> list[str]:
    """For each question that the tables answer: the differences, and whether they are more than chance.

    Of the tables that have the comparison the one with the most comparisons counts: it is the most cautious.
    """
    found = []
    for (variant, reference), question in QUESTIONS.items():
        able = [table for table in tables if _compared(table, variant, reference)]
        if able:
            table = max(able, key=lambda one: int(one.facts["family"]["comparisons"]))
            compared = _compared(table, variant, reference)
            found.append(f"{question.format(table=_name(table))} {_answer(table, compared, reference)}")
    return found


def _compared(table: Table, variant: str, reference: str) -> list[tuple[str, Line, Value]]:
    """Who is compared with the reference: a name, the line, the difference."""
    indices = [index for index, column in enumerate(table.main.columns) if column.name == f"vs {reference}"]
    return [
        (line.section if line.label == variant else f"{line.section}, {line.label}", line, value)
        for line in table.main.lines
        for index in indices
        if line.facts.get("variant") == variant and (value := line.values[index]) is not None
    ]


def _answer(table: Table, compared: Sequence[tuple[str, Line, Value]], reference: str) -> str:
    gains = "; ".join(f"{who} {_difference(value)}" for who, _, value in compared)
    better = [who for who, _, value in compared if value.marked and (value.value or 0) > 0]
    worse = [who for who, _, value in compared if value.marked and (value.value or 0) < 0]
    parts = [f"Gain in {column_title(table.facts['headline'])}, in points: {gains}."]
    if better:
        parts.append(f"More than chance: a gain for {_people(better)}.")
    if worse:
        parts.append(f"More than chance: a loss for {_people(worse)}.")
    if len(better) + len(worse) < len(compared):
        which = "The rest" if better or worse else "That"
        family = counted(int(table.facts["family"]["comparisons"]), "comparison")
        parts.append(f"{which} is no more than chance could bring in {family}, so nothing is claimed.")
        parts += _detectable(table, reference)
    if all("training" in line.facts and len(line.facts["seeds"]) == 1 for _, line, _ in compared):
        parts.append("With one seed all this is about these very models, not about training others in the same way.")
    return " ".join(parts)


def _people(names: Sequence[str]) -> str:
    return listed(names) if not any(", " in name for name in names) else "; ".join(names)


def _detectable(table: Table, reference: str) -> list[str]:
    wanted = (table.facts["headline"], reference)
    sizes: list[dict[str, Any]] = [
        item for item in table.facts["detectable"] if (item["column"], item["reference"]) == wanted
    ]
    size = sizes[0]["family"] if sizes else None
    if size is None:
        return []
    if size >= 1:
        return ["With so few questions and runs no difference whatever was sure to be found."]
    return [
        f"Nor does it show that there is no difference: one of {100 * size:.1f} points would have been found in four "
        "cases of five, a smaller one less often."
    ]


def _difference(value: Value) -> str:
    half = 50 * (value.facts["high"] - value.facts["low"])
    return f"{100 * (value.value or 0):+.1f} ±{half:.1f} ({pvalue_text(value.facts['pvalue_corrected'])})"


def _name(table: Table) -> str:
    short = table.title.partition(". ")[0]
    return short if short.startswith("Table") else f'The table "{short}"'
