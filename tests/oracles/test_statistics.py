"""Statistics against scipy, statsmodels and closed forms where they have the same test; else by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from reports.statistics import estimates


@pytest.mark.parametrize(("won", "lost", "ties"), [(12, 3, 40), (0, 6, 5), (1, 0, 30), (25, 25, 3), (40, 17, 200)])
def test_one_answer_each_is_the_exact_mcnemar_test(won: int, lost: int, ties: int) -> None:
    a = np.repeat([1, 0, 1], [won, lost, ties])
    b = np.repeat([0, 1, 1], [won, lost, ties])
    found = estimates.paired_difference(a, b, clusters=np.arange(len(a)))
    table = [[ties, won], [lost, 0]]
    assert found.test == "exact McNemar"
    assert found.pvalue == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert found.difference == pytest.approx((won - lost) / len(a))
    assert found.low <= found.difference <= found.high


def test_holm_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 18):
        pvalues = rng.random(size) ** 3
        expected = multipletests(pvalues, method="holm")[1]
        np.testing.assert_allclose(estimates.holm(pvalues), expected, atol=1e-12)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 20), (13, 20), (20, 20), (150, 272), (1200, 1319)])
def test_one_answer_per_question_is_the_mid_p_binomial_interval(right: int, n: int) -> None:
    found = estimates.interval(np.repeat([1, 0], [right, n - right]))
    if right > 0:
        above = stats.binom.sf(right, n, found.low) + 0.5 * stats.binom.pmf(right, n, found.low)
        assert above == pytest.approx(0.025, abs=1e-9)
    if right < n:
        below = stats.binom.cdf(right - 1, n, found.high) + 0.5 * stats.binom.pmf(right, n, found.high)
        assert below == pytest.approx(0.025, abs=1e-9)
    exact_low, exact_high = proportion_confint(right, n, method="beta")
    assert exact_low <= found.low <= found.mean <= found.high <= exact_high


@pytest.mark.parametrize(("right", "n"), [(60, 272), (136, 272), (700, 1319)])
def test_away_from_the_edges_the_interval_is_wilsons(right: int, n: int) -> None:
    found = estimates.interval(np.repeat([1, 0], [right, n - right]))
    wilson = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.002)


def test_run_variance_alone_gives_the_t_interval_over_runs() -> None:
    # Every question is answered alike within a run, so only the runs carry information.
    rates = np.array([0.4, 0.5, 0.6])
    values = np.tile(rates, 1000)
    found = estimates.interval(values, np.repeat(np.arange(1000), 3), np.tile(np.arange(3), 1000))
    assert found.standard_error == pytest.approx(stats.sem(rates), rel=1e-3)
    assert found.df == pytest.approx(2, rel=1e-2)


def test_comparison_of_runs_alone_is_welchs_t_test() -> None:
    left, right = np.array([0.62, 0.70, 0.66]), np.array([0.50, 0.51, 0.58])
    clusters, seeds = np.repeat(np.arange(500), 3), np.tile(np.arange(3), 500)
    found = estimates.paired_difference(np.tile(left, 500), np.tile(right, 500), clusters, seeds)
    welch = stats.ttest_ind(left, right, equal_var=False)
    assert found.pvalue == pytest.approx(welch.pvalue, rel=1e-6)
    interval = welch.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


def test_pooled_variance_of_equal_rows_is_students_t_test() -> None:
    left, right = np.array([0.62, 0.70, 0.66]), np.array([0.50, 0.51, 0.58])
    clusters, seeds = np.repeat(np.arange(500), 3), np.tile(np.arange(3), 500)
    sides = [np.tile(side, 500) for side in (left, right)]
    runs = estimates.pooled([estimates.seed_variance(side, clusters, seeds) for side in sides])
    found = estimates.paired_difference(*sides, clusters, seeds, runs=runs)
    assert found.pvalue == pytest.approx(stats.ttest_ind(left, right).pvalue, rel=1e-6)


def test_runs_that_agree_by_luck_still_get_the_pooled_variance() -> None:
    a = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]] * 10).ravel()
    names = {"clusters": np.repeat(np.arange(40), 2), "seeds": np.tile([0, 1], 40)}
    runs = estimates.SeedVariance(0.04, 10)
    assert estimates.seed_variance(a, **names) == estimates.SeedVariance(0.0, 1)
    assert estimates.interval(a, **names, runs=runs).standard_error > 0.1
    untrained = np.repeat([1.0, 0.0], 40)
    assert estimates.seed_variance(untrained, **names).df == 0
    assert estimates.interval(untrained, **names, runs=runs).standard_error < 0.1


def test_several_answers_per_question_in_one_run_cluster_on_the_question() -> None:
    rng = np.random.default_rng(3)
    means = rng.integers(0, 5, 60) / 4
    values = np.concatenate([np.repeat([1.0, 0.0], [int(4 * mean), 4 - int(4 * mean)]) for mean in means])
    found = estimates.interval(values, clusters=np.repeat(np.arange(60), 4))
    assert found.standard_error == pytest.approx(stats.sem(means), rel=1e-9)
    assert (found.n, found.questions, found.seeds) == (240, 60, 1)


def test_an_average_weighs_columns_alike_whatever_their_sizes() -> None:
    values = np.concatenate([np.repeat([1, 0], [8, 2]), np.repeat([1, 0], [100, 300])])
    strata = np.repeat(["small", "large"], [10, 400])
    found = estimates.interval(values, strata=strata)
    small, large = np.repeat([1, 0], [8, 2]), np.repeat([1, 0], [100, 300])
    assert found.mean == pytest.approx((0.8 + 0.25) / 2)
    assert found.standard_error == pytest.approx(math.hypot(stats.sem(small), stats.sem(large)) / 2)


def test_same_question_names_in_two_columns_are_two_questions() -> None:
    values, clusters, strata = np.array([1, 0, 1, 1, 0, 1]), [0, 1, 2, 0, 1, 2], np.repeat(["a", "b"], 3)
    assert estimates.interval(values, clusters=clusters, strata=strata).questions == 6


def test_sign_flips_of_few_differences_are_exact() -> None:
    a, b = np.array([1, 1, 1, 1, 0.5, 1]), np.array([0, 0, 0, 0, 0, 1.0])
    found = estimates.paired_difference(a, b, clusters=np.arange(6))
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert found.test == "sign-flip permutation"
    assert found.pvalue == pytest.approx(expected)


def test_sign_flips_of_many_differences_agree_with_scipy() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 5, 120) / 4, rng.integers(0, 5, 120) / 4 - 0.1
    found = estimates.paired_difference(a, b, clusters=np.arange(120), rng=np.random.default_rng(1))
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2)
    ).pvalue
    assert found.pvalue == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("n", "alpha", "power"), [(10, 0.05, 0.8), (272, 0.05, 0.8), (30, 0.0028, 0.9)])
def test_detectable_effect_inverts_the_power_of_the_t_test(n: int, alpha: float, power: float) -> None:
    effect = estimates.minimum_detectable_effect(1 / math.sqrt(n), n - 1, alpha, power)
    assert TTestPower().power(effect, n, alpha, df=n - 1) == pytest.approx(power, abs=2e-3)


def test_detectable_effect_of_a_known_error_is_the_normal_formula() -> None:
    expected = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert estimates.minimum_detectable_effect(1.0) == pytest.approx(expected, abs=1e-4)
    assert estimates.minimum_detectable_effect(1.0, df=2, alpha=0.05 / 18) > 20


def _null_table(
    rng: np.random.Generator, variants: int, questions: int, seeds: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """An untrained model and variants with the same expected accuracy; (questions, seeds) answers of each."""
    chance = 0.1 + 0.8 * rng.beta(1, 1, questions)
    base = np.repeat((rng.random(questions) < chance).astype(float)[:, None], seeds, axis=1)
    runs = rng.normal(0, spread, (variants, 1, seeds))
    return base, (rng.random((variants, questions, seeds)) < chance[:, None] + runs).astype(float)


def _family(base: np.ndarray, trained: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """P-values of every variant against base and against the first one, as in Table 2."""
    questions, seeds = base.shape
    names = {
        "clusters": np.repeat(np.arange(questions), seeds),
        "seeds": np.tile(np.arange(seeds), questions),
        "strata": np.repeat(strata, seeds),
    }
    runs = estimates.pooled([estimates.seed_variance(item.ravel(), **names) for item in trained])
    pairs = [(item, base) for item in trained] + [(item, trained[0]) for item in trained[1:]]
    return np.array([estimates.paired_difference(a.ravel(), b.ravel(), **names, runs=runs).pvalue for a, b in pairs])


def _family_wise_error(tables: int, seeds: int, spread: float) -> float:
    rng = np.random.default_rng([23, seeds, int(1000 * spread)])
    strata = np.repeat(np.arange(3), 100)
    errors = 0
    for _ in range(tables):
        base, trained = _null_table(rng, 5, 300, seeds, spread)
        errors += estimates.holm(_family(base, trained, strata)).min() < 0.05
    return errors / tables


def test_family_wise_error_of_null_tables_with_run_effects() -> None:
    # 150 tables: a true 5 % stays below 10 % with a probability above 0.99.
    assert _family_wise_error(150, seeds=3, spread=0.02) <= 0.1


@pytest.mark.parametrize("questions", [30, 272])
def test_binomial_coverage_over_a_grid_of_accuracies(questions: int) -> None:
    rates = np.linspace(0.005, 0.995, 199)
    ends = [estimates.interval(np.repeat([1, 0], [x, questions - x])) for x in range(questions + 1)]
    low, high = np.array([item.low for item in ends]), np.array([item.high for item in ends])
    mass = stats.binom.pmf(np.arange(questions + 1), questions, rates[:, None])
    coverage = (mass * ((low <= rates[:, None]) & (rates[:, None] <= high))).sum(axis=1)
    assert coverage.mean() >= 0.94
    assert coverage.min() >= 0.90


def _coverage(tables: int, seeds: int, questions: int, spread: float, level: float) -> float:
    rng = np.random.default_rng([29, seeds, questions])
    names = {"clusters": np.repeat(np.arange(questions), seeds), "seeds": np.tile(np.arange(seeds), questions)}
    hits = 0
    for _ in range(tables):
        chance = rng.beta(3 * level, 3 * (1 - level), questions)
        runs = rng.normal(0, spread, seeds)
        answers = (rng.random((questions, seeds)) < np.clip(chance[:, None] + runs, 0, 1)).astype(float)
        found = estimates.interval(answers.ravel(), **names)
        hits += found.low <= level <= found.high
    return hits / tables


def test_interval_covers_new_questions_and_new_runs() -> None:
    assert _coverage(300, seeds=3, questions=100, spread=0.02, level=0.6) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "least"), [(2, 0.87), (3, 0.92), (5, 0.92)])
@pytest.mark.parametrize("questions", [30, 220, 1319])
@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
def test_coverage_with_few_runs(seeds: int, least: float, questions: int, level: float) -> None:
    # A variance between two runs has one degree of freedom; docs/statistics-simulation.md says what that costs.
    assert _coverage(1000, seeds, questions, spread=0.02, level=level) >= least
