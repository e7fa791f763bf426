"""From numbers to what is printed: one function per kind of cell, and the table that they make up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..rows import TableRow, column_title
from . import paper_numbers
from .accuracy import Cell, Comparison
from .comparison import LEVEL, Numbers
from .footnotes import cut_answers, footnotes
from .training_effects import Effects, effects, equal_by_theorem, of_row
from .writer import MARK, Column, Grid, Line, Table, Value

REFERENCE_TITLES = {"grpo_matched": "matched GRPO", "infer_single": "single"}
EFFECT_COLUMNS = (
    Column("clipped", "Clipped terms"),
    Column("changed", "Changed groups"),
    Column("advantage_change", "Mean change"),
    Column("flat", "Flat groups"),
    Column("cooperation", "Cooperation"),
    Column("rule_cooperation", "By rule"),
)
EFFECTS_TITLE = (
    "What training saw: terms of equation (5) that were clipped, groups whose advantages calibration changed by more "
    "than 0.001, mean absolute change of an advantage; groups with nothing to learn from; questions on which the agent "
    "cooperated, and on which the item-response rule alone would have it"
)
PUBLISHED = ", the paper †"
"""After the label of a row whose numbers are the paper's."""
TRAINING_COST = (Column("tokens", "Tokens (k)"),)
INFERENCE_COST = (Column("rounds", "Rounds"), Column("tokens_per_answer", "Tokens per answer"))


def printed(numbers: Numbers, with_effects: bool = False) -> Table:
    """The table as its formats need it; `with_effects` adds what training saw."""
    frames, rows = numbers.frames, numbers.rows
    seen = {} if numbers.spec.inference else {row: effects(frames, row) for row in rows}
    equal = () if numbers.spec.inference else equal_by_theorem(frames, rows)
    cut = cut_answers(numbers)
    lines: list[Line] = []
    for row in rows:
        mark = " =" if any(item.row == row for item in equal) else ""
        lines.append(Line(row.section, row.label, _values(numbers, row, seen), mark, _facts(row, seen.get(row))))
        lines += _published_line(numbers, row)
    trained = [
        Line(row.section, row.label, _effect_values(item)) for row, item in seen.items() if item.flat is not None
    ]
    return Table(
        name=numbers.spec.name,
        title=numbers.spec.title,
        about=about(numbers),
        command=numbers.frames.study.command,
        main=Grid(numbers.spec.title, columns(numbers), tuple(lines)),
        notes=(*footnotes(numbers, seen, equal), _paper_note(lines)),
        details=(Grid(EFFECTS_TITLE, EFFECT_COLUMNS, tuple(trained)),) if with_effects and trained else (),
        facts=table_facts(numbers)
        | {
            "equal_by_theorem": [(item.row.section, item.row.label, item.other.label) for item in equal],
            **({"cut": [(row.section, row.label, name, share) for row, name, share in cut]} if cut else {}),
        },
    )


def table_facts(numbers: Numbers) -> dict[str, object]:
    """What was run and how it was tested, for the JSON."""
    return {
        "profile": numbers.frames.study.profile,
        "command": numbers.frames.study.command,
        "headline": numbers.headline,
        "average_of": numbers.columns.maths,
        "family": {
            "comparisons": len(numbers.family.counted),
            "correction": numbers.family.method,
            "tests": sorted({item.result.test for item in numbers.family.counted}),
        },
        "detectable": [dataclasses.asdict(item) for item in numbers.detectable],
    }


def columns(numbers: Numbers) -> tuple[Column, ...]:
    """The columns of the table proper."""
    return (
        *([Column("rank", "Rank")] if numbers.spec.ranked else []),
        *(Column(name, column_title(name)) for name in numbers.shown),
        *(INFERENCE_COST if numbers.spec.inference else TRAINING_COST),
        *(Column(f"vs {name}", f"vs {REFERENCE_TITLES.get(name, name)}") for name in numbers.references),
    )


def accuracy(cell: Cell) -> Value:
    """An accuracy in % with half of its interval's length."""
    it = cell.interval
    facts = {**dataclasses.asdict(it), "run_seeds": cell.seeds, "per_run": cell.per_run, "files": cell.files}
    return Value(f"{100 * it.mean:.1f} ±{50 * (it.high - it.low):.1f}", "accuracy", it.mean, facts)


def difference(item: Comparison) -> Value:
    """A paired difference in points with half of its interval's length, and the corrected p-value if it has one."""
    it, p = item.result, item.adjusted
    marked = p is not None and p < LEVEL
    facts = {
        **dataclasses.asdict(it), "column": item.column, "against": item.against.label, "pvalue_corrected": p,
        "pvalue_permutation": item.permuted, "pvalue_own_run_variance": item.own_runs_pvalue,
    }  # fmt: skip
    text = f"{100 * it.difference:+.1f} ±{50 * (it.high - it.low):.1f}"
    text += "" if p is None else f" {pvalue_text(p)}{MARK if marked else ''}"
    return Value(text, "difference", it.difference, facts, marked)


def pvalue_text(p: float) -> str:
    """Short: `p<.001`, `p=.034`, `p=.56`, `p=1`."""
    shown = "p<.001" if p < 0.001 else "p=1" if p > 0.995 else f"p={p:.3f}" if p < 0.1 else f"p={p:.2f}"
    return shown.replace("=0.", "=.")


def thousands(tokens: float) -> Value:
    """A number of tokens in thousands."""
    return Value(f"{tokens / 1000:,.0f}", "amount", tokens)


def amount(number: float, digits: int = 1) -> Value:
    """A plain number."""
    return Value(f"{number:,.{digits}f}", "amount", number)


def share(part: float | None) -> Value | None:
    """A fraction in %."""
    return None if part is None else Value(f"{100 * part:.1f} %", "share", part)


def _effect_values(item: Effects) -> tuple[Value | None, ...]:
    """The cells under `EFFECT_COLUMNS`."""
    change = None if item.advantage_change is None else amount(item.advantage_change, 4)
    rule = item.rule_cooperation if item.cooperation is not None else None
    return share(item.clipped), share(item.changed), change, share(item.flat), share(item.cooperation), share(rule)


def _values(numbers: Numbers, row: TableRow, seen: Mapping[TableRow, Effects]) -> tuple[Value | None, ...]:
    values: list[Value | None] = []
    if numbers.spec.ranked:
        section = [other for other in numbers.rows if other.section == row.section]
        values.append(amount(section.index(row) + 1, 0))
    cells = [numbers.cells.get((row, name)) for name in numbers.shown]
    values += [None if cell is None else accuracy(cell) for cell in cells]
    if numbers.spec.inference:
        mine = of_row(numbers.frames.inference, row)
        values += [amount(float(mine[name].mean())) for name in ("rounds", "tokens")]
    else:
        values.append(thousands(seen[row].sampled_tokens))
    compared = [numbers.comparison(row, name) for name in numbers.references]
    return (*values, *(None if item is None else difference(item) for item in compared))


def _facts(row: TableRow, seen: Effects | None) -> dict[str, object]:
    facts: dict[str, object] = {
        "group": row.models, "also_groups": row.also, "agent": row.agent, "variant": row.variant, "seeds": row.seeds,
        "trials": row.folders, "same_trials_as": row.same_as,
    }  # fmt: skip
    return facts | ({} if seen is None else {"training": dataclasses.asdict(seen)})


def _published_line(numbers: Numbers, row: TableRow) -> list[Line]:
    found = paper_numbers.published(row, numbers.columns)
    if not found or row.agent != row.section:
        return []
    values = tuple(
        Value(f"{found[column.name]:.2f} †", "published", found[column.name] / 100) if column.name in found else None
        for column in columns(numbers)
    )
    return [Line(row.section, row.label + PUBLISHED, values)]


def _paper_note(lines: list[Line]) -> str:
    if any("†" in line.label for line in lines):
        return f"† The paper's own numbers ({paper_numbers.SOURCE}); they are in no test."
    return "The paper has no row for these models and benchmarks, so none of its numbers stands here."


def about(numbers: Numbers) -> str:
    """What was run, in one line."""
    groups = ", ".join(dict.fromkeys(group for row in numbers.rows for group in (row.models, *row.also)))
    return f"Profile {numbers.frames.study.profile}, models together: {groups}."
