"""A permutation test for a whole table: training runs are the unit, and the largest statistic corrects the family.

If no variant matters, a model's training runs are alike whatever variant they belong to: they may be dealt anew. The
untrained model is no run. Against it, what all runs have in common may change its sign: question by question (would
the question have gone the other way?) and run by run (would another training have been as much worse as this one was
better?). Every draw makes such a null table, computes all comparisons on it as on the true one, and keeps the largest
(Westfall and Young 1993). `docs/statistics.md` tells what is exact about it, `docs/statistics-simulation.md` what
simulation shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DRAWS = 9_999
POWER_QUANTILE = 0.8416
"""Of the normal distribution at 80 %."""
SIGNS: Floats = np.array([-1.0, 1.0])
CHUNK = 500
"""Draws at a time: bounds the memory."""
FEWEST_DEALS = 1_000
"""Below this many ways to deal a section's runs, p-values come in steps too coarse for a corrected 5 %."""


@dataclass(frozen=True)
class Section:
    """The rows of one model in a table: who answered what, and which rows are compared."""

    answers: Mapping[str, ArrayLike]
    """Row -> (runs, questions): mean over the answers of one run to one question. All rows have the same questions;
    their numbers of runs may differ. A row that is the same in all of its several runs is an untrained model."""
    strata: ArrayLike
    """(questions,): the column each question belongs to; the estimate is the plain mean of the columns' means."""
    pairs: tuple[tuple[str, str], ...]
    """(row, row it is compared with)."""


@dataclass(frozen=True)
class MaxT:
    """P-values of all comparisons of a table, section by section in the order of `pairs`."""

    adjusted: tuple[Floats, ...]
    """Corrected for all comparisons of all sections, step by step (Westfall and Young's step-down)."""
    single: tuple[Floats, ...]
    """Of each comparison for itself."""
    statistics: tuple[Floats, ...]
    """Difference over its standard error (runs pooled)."""
    critical: float
    """What the largest |statistic| exceeds in 5 % of the null tables, if one row truly differs by as much as is found
    in 80 % of cases: dealt among the others, its runs widen the null tables. For `minimum_detectable_effect`."""


def max_t(sections: Sequence[Section], rng: np.random.Generator | None = None, draws: int = DRAWS) -> MaxT:
    """The max-T permutation test of a table's comparisons; `rng` defaults to seed 0.

    Models are dealt independently, which is safe however their answers go together (Royen 2014). Rows with the
    same answers count once, and a comparison of two such rows has p = 1. Raises ValueError for a section without
    a variance between runs, or with rows that answered different numbers of questions.
    """
    generator = rng or np.random.default_rng(0)
    tables = [_Dealer(section) for section in sections]
    seen = [abs(table.observed) for table in tables]
    drawn = [table.draw(draws, generator) for table in tables]
    every, null = np.concatenate(seen), np.concatenate(drawn, axis=1)
    # Equal deals reach the observed value up to rounding.
    reached = every * (1 - 1e-9)
    order = np.argsort(-every, kind="stable")
    # Step-down: a comparison competes with those that are not larger than it.
    largest = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
    steps = ((largest >= reached[order]).sum(axis=0) + 1) / (draws + 1)
    adjusted = np.empty_like(every)
    adjusted[order] = np.maximum.accumulate(steps)
    single = ((null >= reached).sum(axis=0) + 1) / (draws + 1)
    cuts = np.cumsum([len(item) for item in seen])[:-1]
    return MaxT(
        adjusted=tuple(np.split(adjusted, cuts)),
        single=tuple(np.split(single, cuts)),
        statistics=tuple(table.observed for table in tables),
        critical=_critical(sections, tables, null, max(draws // 5, 1), generator),
    )


def deals(section: Section) -> int:
    """In how many ways the section's training runs can be dealt to its rows; 1 where there is only one trained row."""
    counts = [len(rows) for _, rows, trained in _distinct(section) if trained]
    return math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))


def _critical(
    sections: Sequence[Section], tables: Sequence[_Dealer], null: Floats, draws: int, rng: np.random.Generator
) -> float:
    """Adds what the present value would find to one row, and looks again; two rounds settle it."""
    errors = np.concatenate([table.errors for table in tables])
    middle = int(np.argsort(errors, kind="stable")[len(errors) // 2])
    number, index = [(number, index) for number, item in enumerate(sections) for index in range(len(item.pairs))][
        middle
    ]
    section, row = sections[number], sections[number].pairs[index][0]
    critical = _upper(null)
    for _ in range(2):
        effect = (critical + POWER_QUANTILE) * errors[middle]
        changed = dict(section.answers) | {row: np.asarray(section.answers[row], dtype=np.float64) + effect}
        dealers = [*tables[:number], _Dealer(replace(section, answers=changed)), *tables[number + 1 :]]
        critical = _upper(np.concatenate([table.draw(draws, rng) for table in dealers], axis=1))
    return critical


def _upper(null: Floats) -> float:
    return float(np.quantile(null.max(axis=1), 0.95, method="higher"))


class _Dealer:
    """One section, reduced to what its statistics need: means of the runs, and products between them."""

    def __init__(self, section: Section) -> None:
        rows = _distinct(section)
        trained, fixed = [item for item in rows if item[2]], [item for item in rows if not item[2]]
        self._counts = np.array([len(item[1]) for item in trained])
        if not len(self._counts) or self._counts.max() < 2:
            raise ValueError("no row has two different training runs; compare question by question instead")
        index = {name: number for number, (names, _, _) in enumerate([*trained, *fixed]) for name in names}
        self._pairs = np.array([(index[a], index[b]) for a, b in section.pairs], dtype=np.intp).reshape(-1, 2)
        runs = np.concatenate([item[1] for item in trained])
        middle = runs.mean(axis=0)
        self._runs = runs - middle
        self._fixed = np.array([item[1][0] - middle for item in fixed]).reshape(len(fixed), len(middle))
        _, self._column = np.unique(np.asarray(section.strata), return_inverse=True)
        sizes = np.bincount(self._column)
        self._weights = (1 / (len(sizes) * sizes))[self._column]
        # Variance of a mean over questions: squared deviations from the column's mean times this.
        self._scale = (1 / (len(sizes) ** 2 * sizes * np.maximum(sizes - 1, 1)))[self._column]
        self._membership = np.eye(len(sizes))[self._column]
        self._share = np.repeat(np.eye(len(trained)) / self._counts[:, None], self._counts, axis=1)
        centred = self._runs - self._runs @ self._membership / sizes @ self._membership.T
        self._gram = (centred * self._scale) @ centred.T
        self._means = self._runs @ self._weights
        # Everything about the untrained rows is linear in the questions' signs (questions, ...), or a square of that.
        self._level = (self._fixed * self._weights).T
        self._cross = self._scale[:, None, None] * self._fixed.T[:, :, None] * centred.T[:, None, :]
        columns = self._membership * np.sqrt(self._scale / sizes[self._column])[:, None]
        self._sums = self._fixed.T[:, :, None] * columns[:, None, :]
        self._products = (self._fixed * self._scale) @ self._fixed.T
        df = (self._counts - 1).sum()
        inside = self._share @ self._gram @ self._share.T
        rest = float(self._gram.trace() - self._counts @ np.diagonal(inside)) / df
        # What runs differ by, less what their answers to single questions explain, as a fraction.
        spread = float(self._means @ self._means) / max(len(runs) - 1, 1)
        self._of_runs = math.sqrt(max(1 - rest / spread, 0.0)) if spread else 0.0
        change, variance = self._moments(self._share[None], np.ones((1, len(middle))), np.zeros(1))
        self.observed = _ratio(change, variance)[0]
        self.errors = np.sqrt(variance[0])

    def draw(self, draws: int, rng: np.random.Generator) -> Floats:
        """|statistics| of `draws` null tables: shape (draws, pairs)."""
        blocks = [self._block(min(CHUNK, draws - start), rng) for start in range(0, draws, CHUNK)]
        return abs(np.concatenate(blocks))

    def _block(self, draws: int, rng: np.random.Generator) -> Floats:
        total = len(self._runs)
        order = rng.permuted(np.tile(np.arange(total), (draws, 1)), axis=1)
        questions, runs = (rng.choice(SIGNS, (draws, size)) for size in (self._runs.shape[1], total))
        # The mean of all runs, as uncertain as it is: centring took one part in `total` of it away.
        shift = self._of_runs * (runs @ self._means) / math.sqrt(total * (total - 1))
        return _ratio(*self._moments(self._share[:, order].swapaxes(0, 1), questions, shift))

    def _moments(self, share: Floats, signs: Floats, shift: Floats) -> tuple[Floats, Floats]:
        """Differences and their variances, (draws, pairs) each, of tables whose rows are `share` @ runs."""
        rows, count = share.swapaxes(1, 2), len(self._counts)
        cross = np.tensordot(signs, self._cross, axes=1) @ rows
        sums = np.tensordot(signs, self._sums, axes=1)
        fixed = self._products - sums @ sums.swapaxes(1, 2)
        products = np.block([[share @ self._gram @ rows, cross.swapaxes(1, 2)], [cross, fixed]])
        diagonal = np.diagonal(products, axis1=1, axis2=2)
        inside = share @ self._means
        levels = np.concatenate([inside + shift[:, None], signs @ self._level], axis=1)

        df = (self._counts - 1).sum()
        between = np.maximum(self._means @ self._means - (inside**2) @ self._counts, 0) / df
        rest = (self._gram.trace() - diagonal[:, :count] @ self._counts) / df

        one, other = self._pairs.T
        parts = np.concatenate([1 / self._counts, np.zeros(len(self._fixed))])
        parted = np.where(one == other, 0.0, parts[one] + parts[other])
        question = diagonal[:, one] + diagonal[:, other] - 2 * products[:, one, other]
        run = between[:, None] * parted
        variance = np.maximum.reduce([run + question - rest[:, None] * parted, run, question])
        return levels[:, one] - levels[:, other], variance


def _ratio(change: Floats, variance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(abs(change) < 1e-12, 0.0, change / np.sqrt(variance))


def _distinct(section: Section) -> list[tuple[list[str], Floats, bool]]:
    """(names, runs, whether trained) of the section's rows; rows with the same answers are one."""
    found: list[tuple[list[str], Floats, bool]] = []
    for name, values in section.answers.items():
        runs = np.asarray(values, dtype=np.float64)
        if runs.ndim != 2 or runs.shape[1] != len(np.asarray(section.strata)):
            raise ValueError(f"{name}: answers must have the shape (runs, questions), with all rows' questions")
        if not np.isfinite(runs).all():
            raise ValueError(f"{name}: answers must be numbers; keep the questions that every run has answered")
        twin = next((item for item in found if np.array_equal(item[1], runs)), None)
        if twin is not None:
            twin[0].append(name)
        else:
            found.append(([name], runs, len(runs) == 1 or not (runs == runs[0]).all()))
    return found
