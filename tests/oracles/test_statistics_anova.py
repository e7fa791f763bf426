"""The variance of a mean against statsmodels' analysis of variance; max-T's draws against tables made in the open."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from reports.statistics import estimates
from reports.statistics.permutation import Section, max_t

QUESTIONS, RUNS = 30, 3
NAMES = {"clusters": np.repeat(np.arange(QUESTIONS), RUNS), "seeds": np.tile(np.arange(RUNS), QUESTIONS)}


def _answers(rng: np.random.Generator, chance: np.ndarray) -> np.ndarray:
    level = np.clip(chance[:, None] + 0.15 * rng.standard_normal(RUNS), 0, 1)
    return (rng.random((QUESTIONS, RUNS)) < level).astype(float)


def _mean_squares(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of questions, runs and the rest, over the number of answers: their shares of the mean's variance; and df."""
    found = anova_lm(ols("y ~ C(clusters) + C(seeds)", pd.DataFrame({"y": table.ravel(), **NAMES})).fit())
    return (found["sum_sq"] / found["df"]).to_numpy() / table.size, found["df"].to_numpy()


def _satterthwaite(total: float, parts: np.ndarray, df: np.ndarray) -> float:
    return total**2 / float((parts**2 / df).sum())


@pytest.mark.parametrize("seed", range(4))
def test_error_of_a_mean_is_that_of_a_two_way_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = _answers(rng, 0.2 + 0.6 * rng.random(QUESTIONS))
    parts, df = _mean_squares(table)
    total = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    found = estimates.interval(table.ravel(), **NAMES)
    assert found.standard_error == pytest.approx(math.sqrt(total))
    assert found.df == pytest.approx(_satterthwaite(total, parts, df))


@pytest.mark.parametrize("seed", range(4))
def test_error_of_a_difference_takes_its_questions_from_the_pairs_and_its_runs_from_both_sides(seed: int) -> None:
    rng = np.random.default_rng(10 + seed)
    chance = 0.2 + 0.6 * rng.random(QUESTIONS)
    one, other = _answers(rng, chance), _answers(rng, chance)
    parts, df = _mean_squares(one - other)
    sides = [_mean_squares(table)[0][1] for table in (one, other)]
    total = max(parts[0] + sum(sides) - parts[2], parts[0], sum(sides))
    found = estimates.paired_difference(one.ravel(), other.ravel(), **NAMES)
    assert found.standard_error == pytest.approx(math.sqrt(total))
    every, freedom = np.array([parts[0], parts[2], *sides]), np.array([df[0], df[2], RUNS - 1, RUNS - 1])
    expected = _satterthwaite(total, every, freedom)
    assert found.df == pytest.approx(expected)
    assert found.pvalue == pytest.approx(2 * stats.t.sf(abs(found.difference) / math.sqrt(total), expected))


def _statistic(runs: np.ndarray, base: np.ndarray) -> float:
    """One trained row (runs, questions) against an untrained one: difference over its error, from sums of squares."""
    change = (runs - base).T
    parts = [
        change.mean(axis=1).var(ddof=1) / QUESTIONS,
        change.mean(axis=0).var(ddof=1) / RUNS,
        (change - change.mean(axis=1, keepdims=True) - change.mean(axis=0) + change.mean()).var()
        / ((QUESTIONS - 1) * (RUNS - 1)),
    ]
    return float(change.mean()) / math.sqrt(max(parts[0] + parts[1] - parts[2], parts[0], parts[1]))


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_pvalue_against_an_untrained_row_is_that_of_null_tables_made_in_the_open(spread: float) -> None:
    rng = np.random.default_rng(20)
    chance = 0.2 + 0.6 * rng.random(QUESTIONS)
    base = (rng.random(QUESTIONS) < chance).astype(float)
    level = np.clip(chance + 0.25 + spread * np.array([[-0.5], [0.0], [0.5]]), 0, 1)
    runs = (rng.random((RUNS, QUESTIONS)) < level).astype(float)
    middle, means = runs.mean(axis=0), runs.mean(axis=1) - runs.mean()
    rest = (runs - middle - means[:, None]).var() * RUNS / ((QUESTIONS - 1) * (RUNS - 1))
    of_runs = math.sqrt(max(1 - rest / means.var(ddof=1), 0))
    # Equal tables reach the statistic seen up to rounding.
    seen, hits, draws = abs(_statistic(runs, base)) * (1 - 1e-9), 0, 2_000
    for _ in range(draws):
        questions, trainings = rng.choice([-1, 1], QUESTIONS), rng.choice([-1, 1], RUNS)
        shift = of_runs * float(trainings @ means) / math.sqrt(RUNS * (RUNS - 1))
        hits += abs(_statistic(runs + shift, middle + questions * (base - middle))) >= seen
    section = Section({"v0": runs, "base": np.tile(base, (RUNS, 1))}, np.zeros(QUESTIONS), (("v0", "base"),))
    found = max_t([section], draws=3_000)
    assert found.statistics[0][0] == pytest.approx(_statistic(runs, base))
    assert 0.02 < hits / draws < 0.9
    assert found.single[0][0] == pytest.approx(hits / draws, abs=0.04)
