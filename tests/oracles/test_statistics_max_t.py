"""Max-T's statistic from sums of squares, with rows of unequal runs; sign flips that all draws reach."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.statistics import estimates
from reports.statistics.permutation import Section, max_t

QUESTIONS = 40


def rows(seed: int) -> dict[str, np.ndarray]:
    """An untrained model and three trained rows of two, three and one run."""
    rng = np.random.default_rng(seed)
    chance = 0.2 + 0.6 * rng.random(QUESTIONS)
    made = {"base": np.tile((rng.random(QUESTIONS) < chance).astype(float), (3, 1))}
    for name, runs in (("v0", 2), ("v1", 3), ("v2", 1)):
        level = chance + rng.normal(0, 0.15, (runs, 1))
        made[name] = (rng.random((runs, QUESTIONS)) < level).astype(float)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_the_statistic_pools_runs_over_trained_rows_and_takes_questions_from_the_pair(seed: int) -> None:
    made = rows(seed)
    pairs = (("v0", "base"), ("v1", "v0"), ("v2", "v1"), ("v2", "base"))
    found = max_t([Section(made, np.zeros(QUESTIONS), pairs)], draws=1).statistics[0]
    trained = [made[name] for name in ("v0", "v1", "v2")]
    df = sum(len(row) - 1 for row in trained)
    between = sum(((row.mean(axis=1) - row.mean()) ** 2).sum() for row in trained) / df
    rest = 0.0
    for row in trained:
        apart = row - row.mean(axis=0)
        rest += ((apart - apart.mean(axis=1, keepdims=True)) ** 2).sum() / (QUESTIONS * (QUESTIONS - 1)) / df
    for value, (one, other) in zip(found, pairs, strict=True):
        change = made[one].mean(axis=0) - made[other].mean(axis=0)
        question = change.var(ddof=1) / QUESTIONS
        parts = sum(1 / len(made[name]) for name in (one, other) if name != "base")
        variance = max(between * parts + question - rest * parts, between * parts, question)
        assert value == pytest.approx(change.mean() / math.sqrt(variance))


def test_a_row_of_one_run_stands_beside_rows_of_several() -> None:
    made = rows(1)
    found = max_t([Section(made, np.zeros(QUESTIONS), (("v2", "v1"),))], draws=99)
    assert np.isfinite(found.statistics[0]).all()
    assert 0 < found.single[0][0] <= 1


def test_columns_weigh_alike_in_the_statistic() -> None:
    made, strata = rows(2), np.repeat([0, 1], [10, 30])
    made = {name: made[name] for name in ("base", "v1")}
    found = max_t([Section(made, strata, (("v1", "base"),))], draws=1).statistics[0][0]
    flat = [np.tile(made["base"][:1].T, (1, 3)).ravel(), made["v1"].T.ravel()]
    names = (np.repeat(np.arange(QUESTIONS), 3), np.tile(np.arange(3), QUESTIONS))
    result = estimates.paired_difference(flat[1], flat[0], *names, strata=np.repeat(strata, 3))
    assert found == pytest.approx(result.difference / result.standard_error)


def test_every_draw_of_signs_counts() -> None:
    sides = np.tile([0.5, 0.0], 7), np.tile([0.0, 0.5], 7)
    assert estimates.paired_difference(*sides, np.arange(14)).pvalue == 1
