"""Smallest detectable differences against enumeration and statsmodels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from reports.statistics import estimates


def test_benjamini_hochberg_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 18):
        pvalues = np.round(rng.random(size) ** 3, 2)
        expected = multipletests(pvalues, method="fdr_bh")[1]
        np.testing.assert_allclose(estimates.benjamini_hochberg(pvalues), expected, atol=1e-12)


def _power_of_mcnemar(n: int, differ: float, effect: float, alpha: float) -> float:
    """Over all tables of n questions: chance of a p-value of at most alpha."""
    rate = (1 + effect / differ) / 2
    return sum(
        stats.binom.pmf(count, n, differ) * stats.binom.pmf(won, count, rate)
        for count in range(n + 1)
        for won in range(count + 1)
        if count and stats.binomtest(won, count).pvalue <= alpha
    )


@pytest.mark.parametrize(("n", "discordant", "alpha"), [(40, 20, 0.05), (40, 35, 0.01)])
def test_detectable_effect_of_mcnemar_has_its_power(n: int, discordant: int, alpha: float) -> None:
    effect = estimates.mcnemar_detectable_effect(n, discordant, alpha)
    assert 0 < effect < discordant / n
    assert _power_of_mcnemar(n, discordant / n, effect, alpha) == pytest.approx(0.8, abs=1e-6)


def test_too_few_questions_detect_nothing() -> None:
    assert estimates.mcnemar_detectable_effect(5, 3) == 1.0


def test_an_estimated_error_is_freed_of_its_bias() -> None:
    draws = np.sqrt(np.random.default_rng(1).chisquare(10, 200_000) / 10)
    assert np.mean([estimates.without_bias(value, 10) for value in draws[:20_000]]) == pytest.approx(1, abs=0.005)
    assert estimates.without_bias(2.0, np.inf) == 2.0


def test_a_comparison_knows_how_to_price_its_own_test() -> None:
    a, b = np.repeat([1, 0, 1], [30, 20, 50]), np.repeat([0, 1, 1], [30, 20, 50])
    single = estimates.paired_difference(a, b, np.arange(100))
    assert single.discordant == 50
    assert estimates.detectable_difference(single) == estimates.mcnemar_detectable_effect(100, 50)
    shares = estimates.paired_difference(a / 2, b, np.arange(100))
    error = estimates.without_bias(shares.standard_error, shares.df)
    expected = estimates.minimum_detectable_effect(error, shares.df)
    assert estimates.detectable_difference(shares) == expected


def test_no_statistic_touches_the_global_generator() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random(60), rng.random(60)
    # The whole state: a few draws move its position and leave the rest as it is.
    before = pickle.dumps(np.random.get_state())
    for seeds in (None, np.tile([0, 1, 2], 20)):
        clusters = np.repeat(np.arange(20), 3)
        estimates.interval(a, clusters, seeds)
        found = estimates.paired_difference(a, b, clusters, seeds)
        estimates.detectable_difference(found)
        estimates.seed_variance(a, clusters, np.tile([0, 1, 2], 20))
    estimates.paired_difference(a > 0.5, b > 0.5, np.arange(60))
    estimates.interval(a > 0.5)
    assert pickle.dumps(np.random.get_state()) == before
