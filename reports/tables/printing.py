"""From numbers to what is printed: one function per kind of cell, and the table that they make up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from reports.rows import TableRow, column_title
from reports.tables import paper_numbers
from reports.tables.accuracy import Cell, Comparison
from reports.tables.comparison import LEVEL, Numbers
from reports.tables.footnotes import footnotes
from reports.tables.training_effects import Effects, effects, equal_by_theorem, of_row
from reports.tables.writer import MARK, Column, Grid, Line, Table, Value

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
RANK = Column("rank", "Rank")
TOKENS = Column("tokens", "Tokens (k)")
ROUNDS = Column("rounds", "Rounds")
TOKENS_PER_ANSWER = Column("tokens_per_answer", "Tokens per answer")


def printed(numbers: Numbers, with_effects: bool = False) -> Table:
    """The table as its formats need it; `with_effects` adds what training saw."""
    frames, rows = numbers.frames, numbers.rows
    seen = {} if numbers.spec.inference else {row: effects(frames, row) for row in rows}
    equal = () if numbers.spec.inference else equal_by_theorem(frames, rows)
    lines: list[Line] = []
    for row in rows:
        mark = " =" if any(item.row == row for item in equal) else ""
        lines.append(Line(row.section, row.label, _values(numbers, row, seen), mark, _facts(row, seen.get(row))))
        lines += _published_line(numbers, row)
    details = (effects_grid(seen),) if with_effects and any(item.flat is not None for item in seen.values()) else ()
    return Table(
        name=numbers.spec.name,
        title=numbers.spec.title,
        about=_about(numbers),
        main=Grid(numbers.spec.title, columns(numbers), tuple(lines)),
        notes=(*footnotes(numbers, seen, equal), _paper_note(lines)),
        details=details,
        facts=_table_facts(numbers, equal_rows=[(item.row.section, item.row.label, item.twin.label) for item in equal]),
    )


def columns(numbers: Numbers) -> tuple[Column, ...]:
    """The columns of the table proper."""
    cost = (ROUNDS, TOKENS_PER_ANSWER) if numbers.spec.inference else (TOKENS,)
    return (
        *([RANK] if numbers.spec.ranked else []),
        *(Column(name, column_title(name)) for name in numbers.shown),
        *cost,
        *(Column(f"vs {name}", f"vs {REFERENCE_TITLES.get(name, name)}") for name in numbers.references),
    )


def accuracy(cell: Cell) -> Value:
    """An accuracy in % with half of its interval's length."""
    it = cell.interval
    facts = {**dataclasses.asdict(it), "run_seeds": cell.seeds, "per_run": cell.per_run, "files": cell.files}
    return Value(f"{100 * it.mean:.1f} ±{50 * (it.high - it.low):.1f}", "accuracy", it.mean, facts)


def difference(item: Comparison) -> Value:
    """A paired difference in points with half of its interval's length and the corrected p-value."""
    it, p = item.result, 1.0 if item.adjusted is None else item.adjusted
    marked = p < LEVEL
    facts = {
        **dataclasses.asdict(it),
        "column": item.column,
        "against": item.against.label,
        "pvalue_corrected": p,
        "pvalue_permutation": item.permuted,
        "pvalue_own_run_variance": item.own_runs_pvalue,
    }
    text = f"{100 * it.difference:+.1f} ±{50 * (it.high - it.low):.1f} {pvalue_text(p)}{MARK if marked else ''}"
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
    """A share in %."""
    return None if part is None else Value(f"{100 * part:.1f} %", "share", part)


def effects_grid(seen: Mapping[TableRow, Effects]) -> Grid:
    """What training saw, of the rows that were trained."""
    lines = [Line(row.section, row.label, effect_values(item)) for row, item in seen.items() if item.flat is not None]
    return Grid(EFFECTS_TITLE, EFFECT_COLUMNS, tuple(lines))


def effect_values(item: Effects) -> tuple[Value | None, ...]:
    """The cells under `EFFECT_COLUMNS`."""
    change = None if item.advantage_change is None else amount(item.advantage_change, 4)
    rule = item.rule_cooperation if item.cooperation is not None else None
    return share(item.clipped), share(item.changed), change, share(item.flat), share(item.cooperation), share(rule)


def _values(numbers: Numbers, row: TableRow, seen: Mapping[TableRow, Effects]) -> tuple[Value | None, ...]:
    values: list[Value | None] = []
    if numbers.spec.ranked:
        section = [other for other in numbers.rows if other.section == row.section]
        values.append(amount(section.index(row) + 1, 0))
    for name in numbers.shown:
        cell = numbers.cells.get((row, name))
        values.append(None if cell is None else accuracy(cell))
    if numbers.spec.inference:
        mine = of_row(numbers.frames.inference, row)
        values += [amount(float(mine[name].mean())) for name in ("rounds", "tokens")]
    else:
        values.append(thousands(seen[row].sampled_tokens))
    for name in numbers.references:
        item = numbers.comparison(row, name)
        values.append(None if item is None else difference(item))
    return tuple(values)


def _facts(row: TableRow, seen: Effects | None) -> dict[str, object]:
    facts: dict[str, object] = {
        "group": row.models,
        "also_groups": row.also,
        "agent": row.agent,
        "variant": row.variant,
        "seeds": row.seeds,
        "trials": row.folders,
        "same_trials_as": row.same_as,
    }
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


def _about(numbers: Numbers) -> str:
    groups = ", ".join(dict.fromkeys(group for row in numbers.rows for group in (row.models, *row.also)))
    study = numbers.frames.study
    return f"Profile {study.profile}, models together: {groups}. `{study.command}`"


def _table_facts(numbers: Numbers, equal_rows: list[tuple[str, str, str]]) -> dict[str, object]:
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
        "equal_by_theorem": equal_rows,
    }
