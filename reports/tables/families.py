"""One family of comparisons per table, and how its p-values are corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from ..registry import Correction
from ..rows import TableRow
from ..statistics import estimates
from ..statistics.permutation import DRAWS, FEWEST_DEALS, Section, deals, max_t
from .accuracy import Accuracies, Comparison

Method = Literal["max_t", "holm", "bh"]


@dataclass(frozen=True)
class Family:
    """The comparisons of a table's headline column, corrected."""

    comparisons: tuple[Comparison, ...]
    method: Method
    critical: float | None = None
    """What a t statistic must reach in the permutation test, all comparisons taken together; None for the others."""

    @property
    def counted(self) -> tuple[Comparison, ...]:
        """Without those of a row that repeats another one's trials."""
        return tuple(item for item in self.comparisons if item.row.same_as is None)


def correct(comparisons: Sequence[Comparison], correction: Correction, accuracies: Accuracies) -> Family:
    """Corrects all comparisons of one column together.

    `auto`: by the max-T permutation test over training runs, where every model has enough runs for it and all its
    rows answered the same questions; else by Holm's method on the p-values of the single tests.
    """
    if correction == "auto":
        sections = _sections(comparisons, accuracies)
        if sections is not None:
            return _max_t(comparisons, sections)
    method: Method = "bh" if correction == "bh" else "holm"
    counted = [item for item in comparisons if item.row.same_as is None]
    adjust = estimates.benjamini_hochberg if method == "bh" else estimates.holm
    adjusted = adjust([item.result.pvalue for item in counted])
    known = {_trials(item): float(value) for item, value in zip(counted, adjusted, strict=True)}
    return Family(tuple(replace(item, adjusted=known[_trials(item)]) for item in comparisons), method)


def describe(family: Family) -> str:
    """How the corrected p-values came about, for the footnotes of a table."""
    if family.method == "max_t":
        return (
            "p-values: max-T permutation test over training runs, which corrects for the whole family "
            f"({DRAWS:,} draws, seed 0; step-down)"
        )
    tests = list(dict.fromkeys(item.result.test for item in family.counted if item.result.test != "identical"))
    name = (
        "Holm's (family-wise error)" if family.method == "holm" else "Benjamini and Hochberg's (false discovery rate)"
    )
    return f"Test: {' or '.join(tests) or 'none needed'}; p-values corrected over the family by {name} method"


def _max_t(comparisons: Sequence[Comparison], sections: dict[str, Section]) -> Family:
    found = max_t(list(sections.values()))
    # A comparison of every pair, in the order of the sections.
    order = [(name, *pair) for name, section in sections.items() for pair in section.pairs]
    adjusted = dict(zip(order, np.concatenate(found.adjusted).tolist(), strict=True))
    single = dict(zip(order, np.concatenate(found.single).tolist(), strict=True))
    done = []
    for item in comparisons:
        key = (item.row.section, item.row.label, item.against.label)
        done.append(replace(item, adjusted=adjusted[key], permuted=single[key]))
    return Family(tuple(done), "max_t", found.critical)


def _sections(comparisons: Sequence[Comparison], accuracies: Accuracies) -> dict[str, Section] | None:
    """What the permutation test needs, model by model; None where it cannot be used."""
    found: dict[str, Section] = {}
    for section in dict.fromkeys(item.row.section for item in comparisons):
        mine = [item for item in comparisons if item.row.section == section]
        rows = list(dict.fromkeys(row for item in mine for row in (item.row, item.against)))
        tables = [accuracies.by_run(row, item.column) for item in mine[:1] for row in rows]
        known = [table for table in tables if table is not None]
        if len(known) < len(rows) or any(not table.columns.equals(known[0].columns) for table in known):
            return None
        made = Section(
            answers={row.label: _by_run(row, table) for row, table in zip(rows, known, strict=True)},
            strata=known[0].columns.get_level_values("benchmark").to_numpy(),
            pairs=tuple((item.row.label, item.against.label) for item in mine),
        )
        several = any(np.ptp(table.to_numpy(), axis=0).any() for table in known if len(table) > 1)
        if not several or deals(made) < FEWEST_DEALS:
            return None
        found[section] = made
    return found or None


def _by_run(row: TableRow, table: pd.DataFrame) -> estimates.Floats:
    """Answers as the permutation test takes them: an untrained model is known by more than one run, all alike."""
    runs = table.to_numpy(dtype=np.float64)
    return np.repeat(runs, 2, axis=0) if row.stem == "base" and len(runs) == 1 else runs


def _trials(item: Comparison) -> tuple[str, str, tuple[str, ...], str]:
    return item.row.section, item.row.agent, item.row.folders, item.against.label
