"""Tables whose truth is known: an untrained model, trained variants, and noise of questions and of training runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.statistics import estimates
from reports.statistics.estimates import Answers
from reports.statistics.permutation import MaxT, Section, max_t

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableModel:
    """How tables come about."""

    seeds: int
    questions: int = 300
    columns: int = 3
    variants: int = 5
    spread: float = 0.02
    """Standard deviation of a training run's accuracy."""
    unequal: float = 1.0
    """That of the last variant is this many times the others'."""
    habit: float = 0.0
    """Standard deviation of what a variant adds to a question's chance in all of its runs; zero on average."""
    effects: tuple[float, ...] = ()
    """What training adds to the accuracy of variants 1, 2, ..."""

    def table(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Row -> (seeds, questions) answers; `base` answers alike in every run, `v0` is the trained reference."""
        chance = 0.1 + 0.7 * rng.random(self.questions)
        base = np.repeat((rng.random(self.questions) < chance).astype(np.float64)[None], self.seeds, axis=0)
        spread = np.where(np.arange(self.variants) == self.variants - 1, self.unequal, 1.0) * self.spread
        level = chance + spread[:, None, None] * rng.standard_normal((self.variants, self.seeds, 1))
        level = level + self.habit * rng.standard_normal((self.variants, 1, self.questions))
        for variant, effect in enumerate(self.effects, start=1):
            level[variant] += effect
        answers = (rng.random(level.shape) < level).astype(np.float64)
        return {"base": base} | {f"v{number}": row for number, row in enumerate(answers)}

    @property
    def strata(self) -> NDArray[np.intp]:
        """Column of each question."""
        return np.arange(self.questions) * self.columns // self.questions

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """As in Table 2: every variant against base, and against the reference."""
        names = [f"v{number}" for number in range(self.variants)]
        return (*((name, "base") for name in names), *((name, names[0]) for name in names[1:]))

    @property
    def null(self) -> NDArray[np.bool_]:
        """Which of the pairs have no true difference."""
        added = dict(zip((f"v{number}" for number in range(1, self.variants)), self.effects, strict=False))
        return np.array([added.get(one, 0.0) == added.get(other, 0.0) for one, other in self.pairs])

    def arranged(self, table: dict[str, Floats]) -> dict[str, Answers]:
        """The table as the tests take it."""
        weights = 1 / (self.columns * np.bincount(self.strata))[self.strata]
        return {name: Answers(rows.T, self.strata, weights, rows.size) for name, rows in table.items()}


def differences(
    world: TableModel, table: dict[str, Floats], pooled: bool = True, pairs: tuple[tuple[str, str], ...] = ()
) -> list[estimates.PairedDifference]:
    """The t tests of a table (all its pairs, or these), as a report makes them."""
    sides = world.arranged(table)
    trained = [side.between for name, side in sides.items() if name != "base"]
    runs = estimates.pooled(trained) if pooled else None
    return [estimates.compare(sides[one], sides[other], runs=runs) for one, other in pairs or world.pairs]


def permuted(world: TableModel, table: dict[str, Floats], rng: np.random.Generator, draws: int) -> MaxT:
    """The permutation test of a table."""
    return max_t([Section(table, world.strata, world.pairs)], rng, draws)
