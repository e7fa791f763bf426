"""The arithmetic behind each kind of cell, done anew from the record files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ilr_bench.errors import StoreError
from ilr_bench.records import read_result
from reports import paper_numbers, statistics
from reports.accuracy import Cell, Comparison
from reports.comparison import Numbers
from reports.families import describe
from reports.printing import accuracy, amount, difference, share, thousands
from reports.rows import Row, column_title
from reports.statistics import Interval
from reports.statistics_permutation import DRAWS
from reports.tables import NOTHING, Value
from reports.why_records import answers_of, balanced, mean_steps, names, record_lines, steps_of, values


@dataclass(frozen=True)
class Account:
    """What there is to say of one cell."""

    text: str
    """The cell as the records give it."""
    meaning: tuple[str, ...]
    records: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def account(numbers: Numbers, row: Row, column: str, value: Value | None) -> Account:
    """Says how the cell of `row` under `column` comes about; `value` is the cell as the table has it."""
    if value is None:
        return Account(NOTHING, (_absent(numbers, row, column),))
    if value.kind == "published":
        return Account(value.text, (f"Printed in the paper ({paper_numbers.SOURCE}); nothing here was computed.",))
    if column in numbers.columns.all:
        return _accuracy(numbers, row, column)
    item = numbers.comparison(row, column.removeprefix("vs "))
    if item is not None:
        return _difference(numbers, item)
    if column == "rank":
        return _rank(numbers, row)
    if column in ("rounds", "tokens_per_answer"):
        return _cost(numbers, row, column)
    if column == "tokens":
        return _tokens(numbers, row)
    return _effect(numbers, row, column)


def _absent(numbers: Numbers, row: Row, column: str) -> str:
    if column in numbers.columns.all:
        return "No run of this row has answered every benchmark of this column."
    if column.startswith("vs "):
        reference = column.removeprefix("vs ")
        if row.stem == reference:
            return "This row is the reference itself."
        if row.stem == numbers.spec.references[0]:
            return f"The two are compared once, in the row {reference} under vs {row.stem}."
        return "The study has no reference for this row, or the two have no answers in common."
    return "This quantity does not exist for this row: nothing of the kind happened in its training."


def _accuracy(numbers: Numbers, row: Row, column: str) -> Account:
    cell = numbers.cells[row, column]
    answers = answers_of(numbers, row, column)
    steps, _ = mean_steps(numbers, answers, column)
    interval = statistics.interval(values(answers), **names(answers), runs=cell.runs)
    text = accuracy(replace(cell, interval=interval)).text
    how = "reached with the others" if numbers.spec.inference else "answering alone"
    meaning = f"Accuracy of {row.agent}, {how}, in % ± half of its 95 % interval."
    return Account(text, (meaning,), record_lines(row, answers), (*steps, *_interval_steps(interval, cell)))


def _interval_steps(it: Interval, cell: Cell) -> list[str]:
    steps = [f"95 % interval: {it.method}, {it.n} answers to {it.questions} questions in {it.seeds} runs"]
    if cell.runs is not None and it.seeds > 1:
        steps.append(
            f"  variance between runs, pooled over the model's variants: {cell.runs.value:.3g} "
            f"({cell.runs.df} degrees of freedom)"
        )
    freedom = f", {it.df:.1f} degrees of freedom" if math.isfinite(it.df) else ""
    steps.append(f"  standard error of the mean: {100 * it.standard_error:.3f} points{freedom}")
    steps.append(f"  from {100 * it.low:.3f} to {100 * it.high:.3f} %, half of which is {50 * (it.high - it.low):.3f}")
    return steps


def _difference(numbers: Numbers, item: Comparison) -> Account:
    row, against = item.row, item.against
    own, other = answers_of(numbers, row, item.column), answers_of(numbers, against, item.column)
    common = balanced(own.keys() & other.keys())
    own, other = {key: own[key] for key in common}, {key: other[key] for key in common}
    steps: list[str] = []
    means: list[float] = []
    for side, answers in ((row, own), (against, other)):
        part, mean = mean_steps(numbers, answers, item.column)
        steps += [f"{side.section}/{side.label}", *(f"  {line}" for line in part)]
        means.append(mean)
    result = statistics.paired_difference(values(own), values(other), **names(own), runs=item.runs)
    freedom = f", {result.df:.1f} degrees of freedom" if math.isfinite(result.df) else ""
    adjusted, correction = _corrected(numbers, replace(item, result=result))
    questions, runs = len({key[:2] for key in own}), len({key[2] for key in own})
    steps += [
        f"difference: {100 * means[0]:.3f} - {100 * means[1]:.3f} = {100 * (means[0] - means[1]):+.3f} points, paired "
        f"on {questions} questions in {runs} run{'s' if runs > 1 else ''}",
        f"standard error: {100 * result.standard_error:.3f} points{freedom}; 95 % interval {100 * result.low:+.3f} to "
        f"{100 * result.high:+.3f}, half of which is {50 * (result.high - result.low):.3f}",
        f"p-value of the single test ({result.test}): {result.pvalue:.4g}",
        *correction,
    ]
    text = difference(replace(item, result=result, adjusted=adjusted)).text
    meaning = (
        f"Difference of {column_title(item.column)}, {row.label} minus {against.label}, in points ± half of its 95 % "
        "interval, and its corrected p-value."
    )
    records = (*record_lines(row, own), f"and of {against.label}", *record_lines(against, other))
    return Account(text, (meaning,), records, tuple(steps))


def _corrected(numbers: Numbers, item: Comparison) -> tuple[float, list[str]]:
    """The corrected p-value of a comparison, and how it comes about."""
    family = numbers.family
    if item.adjusted is not None and item.permuted is not None:
        alone, largest = (round(p * (DRAWS + 1)) - 1 for p in (item.permuted, item.adjusted))
        return item.adjusted, [
            describe(family),
            f"  null tables in which this difference, over its standard error, is as large: {alone:,} of {DRAWS:,}; "
            f"({alone:,} + 1) / {DRAWS + 1:,} = {item.permuted:.4f}",
            f"  and in which the largest of those that it competes with is: {largest:,} of {DRAWS:,}; "
            f"({largest:,} + 1) / {DRAWS + 1:,} = {item.adjusted:.4f}",
        ]
    raw = sorted(other.result.pvalue for other in family.counted)
    adjust = statistics.holm if family.method == "holm" else statistics.benjamini_hochberg
    if item.result.pvalue not in raw:
        raise StoreError(
            f"{numbers.spec.name}: the records of {item.row.label} or {item.against.label} have changed since the "
            "table was made"
        )
    place = raw.index(item.result.pvalue)
    adjusted = float(adjust(raw)[place])
    count = len(raw)
    factor = count - place if family.method == "holm" else count / (place + 1)
    bound = "largest such product up to here" if family.method == "holm" else "smallest such product from here on"
    return adjusted, [
        describe(family),
        f"  number {place + 1} of {count} in ascending order: {item.result.pvalue:.4g} x {factor:.4g} = "
        f"{item.result.pvalue * factor:.4g}; {bound}, at most 1: {adjusted:.4g}",
    ]


def _rank(numbers: Numbers, row: Row) -> Account:
    section = [other for other in numbers.rows if other.section == row.section]
    steps = []
    for place, other in enumerate(section, start=1):
        cell = numbers.cells.get((other, numbers.headline))
        known = NOTHING if cell is None else f"{100 * cell.interval.mean:.3f} %"
        steps.append(f"{place}. {other.label}: {known}{'  <-' if other == row else ''}")
    meaning = f"Place of the row among the {len(section)} of {row.section} by {column_title(numbers.headline)}."
    records = record_lines(row, answers_of(numbers, row, numbers.headline))
    return Account(amount(section.index(row) + 1, 0).text, (meaning,), records, tuple(steps))


def _tokens(numbers: Numbers, row: Row) -> Account:
    folder, spent, steps, records = numbers.frames.folder, [], [], []
    for seed, place in zip(row.seeds, row.folders, strict=True):
        path = folder / place / "train.jsonl"
        counted = [record.sampled_tokens for record in steps_of(path, row.agent)]
        said = read_result(folder / place).sampled_tokens.get(row.agent, 0)
        records.append(f"  {place}/result.json" + (f" and train.jsonl, {len(counted)} steps" if counted else ""))
        total = sum(counted)
        agrees = "" if total == said else f" (result.json says {said:,})"
        steps.append(f"seed {seed}: {total:,} tokens in {len(counted)} steps{agrees}")
        spent.append(said)
    mean = float(np.mean(spent))
    steps.append(f"mean over {len(spent)} runs: {mean:,.1f}")
    meaning = f"Completion tokens sampled for {row.agent} while training, in thousands; validation is not counted."
    return Account(thousands(mean).text, (meaning,), tuple(records), tuple(steps))


def _cost(numbers: Numbers, row: Row, column: str) -> Account:
    answers = answers_of(numbers, row, None)
    field = "rounds" if column == "rounds" else "tokens"
    counted = [getattr(record, field) for record in answers.values()]
    mean = float(np.mean(counted))
    steps = (f"sum of `{field}` {sum(counted):,} / {len(counted):,} answers = {mean:,.3f}",)
    meaning = "Mean over all answers of the row, whatever their benchmark."
    return Account(amount(mean).text, (meaning,), record_lines(row, answers), steps)


EFFECTS = {
    "clipped": "Share of the terms of equation (5) that were clipped",
    "changed": "Share of groups in which calibration changed an advantage by more than 0.001",
    "advantage_change": "Mean absolute change of an advantage by calibration",
    "flat": "Share of groups whose advantages are all zero, so with nothing to learn from",
    "cooperation": "Share of the questions met in training on which the agent cooperated",
}
"""What is counted in each column."""


def _effect(numbers: Numbers, row: Row, column: str) -> Account:
    folder = numbers.frames.folder
    if column == "rule_cooperation":
        shares = [read_result(folder / place).cooperation_share[row.agent] for place in row.folders]
        known = [value for value in shares if value is not None]
        mean = float(np.mean(known))
        steps = [f"seed {seed}: {value}" for seed, value in zip(row.seeds, shares, strict=True)]
        text = share(mean)
        return Account(
            NOTHING if text is None else text.text,
            ("Share of all training questions on which the item-response rule has the agent cooperate.",),
            tuple(f"  {place}/result.json" for place in row.folders),
            (*steps, f"mean over runs: {mean:.6g}"),
        )
    found = [record for place in row.folders for record in steps_of(folder / place / "train.jsonl", row.agent)]
    groups = sum(record.groups for record in found)
    if column == "flat":
        flat = sum(record.flat_groups for record in found)
        steps = [f"{flat:,} flat groups of {groups:,} groups = {flat / groups:.6g}"]
        text = share(flat / groups)
    else:
        name = {
            "clipped": "clipped_share", "changed": "changed_group_share", "advantage_change": "mean_advantage_change",
            "cooperation": "cooperation_share",
        }[column]  # fmt: skip
        pairs = [(getattr(record, name), record.groups) for record in found if getattr(record, name) is not None]
        mean = float(np.average([value for value, _ in pairs], weights=[weight for _, weight in pairs]))
        steps = [f"mean of `{name}` over {len(pairs)} steps, weighted by their groups ({groups:,}): {mean:.6g}"]
        text = amount(mean, 4) if column == "advantage_change" else share(mean)
    records = tuple(f"  {place}/train.jsonl" for place in row.folders)
    meaning = f"{EFFECTS[column]}, over all steps of all runs."
    return Account(NOTHING if text is None else text.text, (meaning,), records, tuple(steps))
