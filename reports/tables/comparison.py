"""A table of accuracies with paired comparisons: what Tables 1, 2 and 4 and the ranking of variants have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ..frames import StudyFrames
from ..registry import Correction
from ..rows import Columns, TableRow, find_columns, find_rows, stem
from ..statistics import estimates
from .accuracy import Accuracies, Cell, Comparison
from .families import Family, correct

LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Spec:
    """Which rows and comparisons make a table."""

    name: str
    title: str
    references: tuple[str, ...]
    """Variants that the others are compared with, where the study has them."""
    variants: tuple[str, ...] | None = None
    """The rows, in this order; None: every variant of the study."""
    ranked: bool = False
    """Rows of a model stand by the headline column, best first, and the other maths columns are left out."""
    inference: bool = False
    """The table is about answers reached together, not about agents alone."""
    with_costs: bool = True
    """It has a column of sampled tokens."""
    differences: str = "vs columns"
    """Where its comparisons stand, for the footnote on them."""


@dataclass(frozen=True)
class Detectable:
    """Smallest difference that comparisons of this column with this reference find with a power of 80 %."""

    column: str
    reference: str
    questions: int
    single: float | None
    """At 5 % for one comparison; None where there is nothing to compare."""
    family: float | None
    """In the family, for the column that it is about: at the permutation test's critical value, or at 5 % divided by
    the number of comparisons (Holm's first step)."""


@dataclass(frozen=True)
class Numbers:
    """All numbers of a table."""

    spec: Spec
    frames: StudyFrames
    accuracies: Accuracies
    """The answers that the numbers are made from."""
    columns: Columns
    rows: tuple[TableRow, ...]
    cells: Mapping[tuple[TableRow, str], Cell]
    """Missing where the answers are."""
    family: Family
    """All comparisons in the headline column."""
    detectable: tuple[Detectable, ...]

    @property
    def headline(self) -> str:
        """The column of the paired comparisons."""
        return self.columns.headline

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns with accuracies."""
        if not self.spec.ranked:
            return self.columns.all
        return tuple(dict.fromkeys((self.headline, *self.columns.code, *self.columns.other)))

    @property
    def references(self) -> tuple[str, ...]:
        """Those of the table's references that a row is compared with."""
        found = {item.against.stem for item in self.family.comparisons}
        return tuple(name for name in self.spec.references if name in found)

    def comparison(self, row: TableRow, reference: str) -> Comparison | None:
        """The row against the reference of its section."""
        found = (item for item in self.family.comparisons if item.row == row and item.against.stem == reference)
        return next(found, None)


def build(frames: StudyFrames, spec: Spec, correction: Correction = "auto") -> Numbers:
    """Computes the table.

    The variance between training runs is pooled over all trained variants that the study has of a model, so that a
    row has the same interval in every table.
    """
    answers = frames.inference if spec.inference else frames.samples
    columns, rows = find_columns(frames, answers), find_rows(frames, spec.variants, answers)
    accuracies = Accuracies(frames, columns, answers)
    everything = find_rows(frames, None, answers)
    runs = {
        (section, column): accuracies.run_variance([row for row in everything if row.section == section], column)
        for section in dict.fromkeys(row.section for row in everything)
        for column in columns.all
    }
    cells = {
        (row, column): cell
        for row in rows
        for column in columns.all
        if (cell := accuracies.cell(row, column, runs[row.section, column]))
    }
    if spec.ranked:
        rows = _best_first(rows, cells, columns.headline)
    pairs = _pairs(rows, spec.references)
    by_column: dict[str, list[Comparison]] = {}
    for column in columns.all:
        own = column == columns.headline
        found = [accuracies.compare(row, against, column, runs[row.section, column], own) for row, against in pairs]
        by_column[column] = [item for item in found if item]
    family = correct(by_column[columns.headline], correction, accuracies)
    detectable = tuple(
        _detectable(column, reference, by_column[column], cells, family if column == columns.headline else None)
        for column in columns.all
        for reference in spec.references
    )
    return Numbers(spec, frames, accuracies, columns, rows, cells, family, detectable)


def missing(frames: StudyFrames, spec: Spec, needed: Sequence[str] | None) -> str | None:
    """Why a study cannot have the table: it takes one of the `needed` variants (None: any) and another row."""
    answers = frames.inference if spec.inference else frames.samples
    names = sorted(set(answers["variant"]))
    found = set(map(stem, names))
    rows = [name for name in names if spec.variants is None or stem(name) in spec.variants]
    if not rows or (needed is not None and not found & set(needed)):
        return f"none of the variants {', '.join(needed or spec.variants or ('that are evaluated alone',))}"
    return None if len(rows) > 1 else f"one variant only ({', '.join(rows)}): nothing to compare"


def _best_first(
    rows: Sequence[TableRow], cells: Mapping[tuple[TableRow, str], Cell], column: str
) -> tuple[TableRow, ...]:
    sections = list(dict.fromkeys(row.section for row in rows))
    means = {row: cell.interval.mean for (row, name), cell in cells.items() if name == column}
    return tuple(sorted(rows, key=lambda row: (sections.index(row.section), -means.get(row, -1.0))))


def _pairs(rows: Sequence[TableRow], references: Sequence[str]) -> list[tuple[TableRow, TableRow]]:
    pairs: list[tuple[TableRow, TableRow]] = []
    for row in rows:
        for reference in references:
            against = _reference(row, reference, rows)
            # Two references are compared once; the untrained model is what the other one is compared with.
            if against is None or row == against or row.stem == references[0] or (against, row) in pairs:
                continue
            pairs.append((row, against))
    return pairs


def _reference(row: TableRow, reference: str, rows: Sequence[TableRow]) -> TableRow | None:
    """The reference of the same model: with the same settings, group and agent, where there is one."""
    found = [other for other in rows if other.section == row.section and other.stem == reference]
    settings = row.variant.removeprefix(row.stem)
    ranks = [
        (
            other.variant.removeprefix(reference) != settings,
            row.models not in (other.models, *other.also),
            # Two copies of one model are trained apart: each is compared with the one that has its name.
            row.agent != other.agent,
        )
        for other in found
    ]
    usable = [pair for pair in zip(ranks, found, strict=True) if not pair[0][0] or pair[1].variant == reference]
    return min(usable, key=lambda pair: pair[0])[1] if usable else None


def _detectable(
    column: str,
    reference: str,
    comparisons: Sequence[Comparison],
    cells: Mapping[tuple[TableRow, str], Cell],
    family: Family | None,
) -> Detectable:
    questions = max((cell.interval.questions for (_, name), cell in cells.items() if name == column), default=0)
    mine = [item.result for item in comparisons if item.against.stem == reference]
    # A pair of identical rows has no error of its own, so what it could find is unknown.
    spread = [result for result in mine if result.standard_error > 0]
    if not spread:
        return Detectable(column, reference, questions, None, None)
    single = median(estimates.detectable_difference(result, LEVEL, POWER) for result in spread)
    if family is None:
        return Detectable(column, reference, questions, single, None)
    alpha = LEVEL / len(family.counted)
    within = median(estimates.detectable_difference(result, alpha, POWER, family.critical) for result in spread)
    return Detectable(column, reference, questions, single, within)
