"""Smallest detectable differences against enumeration and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from reports import statistics


def test_benjamini_hochberg_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 18):
        pvalues = np.round(rng.random(size) ** 3, 2)
        expected = multipletests(pvalues, method="fdr_bh")[1]
        np.testing.assert_allclose(statistics.benjamini_hochberg(pvalues), expected, atol=1e-12)


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
    effect = statistics.mcnemar_detectable_effect(n, discordant, alpha)
    assert 0 < effect < discordant / n
    assert _power_of_mcnemar(n, discordant / n, effect, alpha) == pytest.approx(0.8, abs=1e-6)


def test_too_few_questions_detect_nothing() -> None:
    assert statistics.mcnemar_detectable_effect(5, 3) == 1.0


def test_a_critical_value_takes_the_place_of_alpha() -> None:
    by_alpha = statistics.minimum_detectable_effect(2.0, 12, alpha=0.01)
    by_limit = statistics.minimum_detectable_effect(2.0, 12, critical=float(stats.t.ppf(0.995, 12)))
    assert by_limit == pytest.approx(by_alpha)
    power = TTestPower().power(by_limit / 2 / np.sqrt(13), nobs=13, alpha=0.01, df=12)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_a_comparison_knows_how_to_price_its_own_test() -> None:
    a, b = np.repeat([1, 0, 1], [30, 20, 50]), np.repeat([0, 1, 1], [30, 20, 50])
    single = statistics.paired_difference(a, b, np.arange(100))
    assert single.discordant == 50
    assert statistics.detectable_difference(single) == statistics.mcnemar_detectable_effect(100, 50)
    shares = statistics.paired_difference(a / 2, b, np.arange(100))
    expected = statistics.minimum_detectable_effect(shares.standard_error, shares.df)
    assert statistics.detectable_difference(shares) == expected


def test_no_statistic_touches_the_global_generator() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random(60), rng.random(60)
    before = np.random.get_state()[1].tolist()
    for seeds in (None, np.tile([0, 1, 2], 20)):
        clusters = np.repeat(np.arange(20), 3)
        statistics.interval(a, clusters, seeds)
        found = statistics.paired_difference(a, b, clusters, seeds)
        statistics.detectable_difference(found)
    assert np.random.get_state()[1].tolist() == before
