"""Every part of an interval and of a comparison for itself, against closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates, permutation
from reports.statistics.estimates import SeedVariance
from reports.statistics.permutation import Section, deals, max_t


def names(questions: int, runs: int) -> dict[str, np.ndarray]:
    return {"clusters": np.repeat(np.arange(questions), runs), "seeds": np.tile(np.arange(runs), questions)}


def mid_p(rate: float, hits: float, size: float) -> float:
    """P(X > hits) + P(X = hits) / 2 of a binomial variable, continued to sizes that are not whole."""
    return float(stats.beta.cdf(rate, hits, size - hits + 1) + stats.beta.cdf(rate, hits + 1, size - hits)) / 2


# --- one mean ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_binomial_interval_has_the_level_that_is_asked_for(level: float) -> None:
    found = estimates.interval(np.repeat([1, 0], [13, 7]), level=level)
    assert mid_p(found.low, 13, 20) == pytest.approx((1 - level) / 2)
    assert mid_p(found.high, 13, 20) == pytest.approx(1 - (1 - level) / 2)
    assert (found.method, found.df, found.n, found.questions, found.seeds) == ("mid-P binomial", math.inf, 20, 20, 1)
    assert found.standard_error == pytest.approx(math.sqrt(0.65 * 0.35 / 20))


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_any_other_interval_is_the_binomial_one_at_the_effective_number_of_answers(level: float) -> None:
    rng = np.random.default_rng(0)
    shares = rng.integers(0, 5, 25) / 4
    found = estimates.interval(shares, level=level)
    mean, error = shares.mean(), stats.sem(shares)
    ratio = stats.norm.ppf(0.5 + level / 2) / stats.t.ppf(0.5 + level / 2, 24)
    size = mean * (1 - mean) / error**2 * ratio**2
    assert (found.mean, found.standard_error, found.df) == pytest.approx((mean, error, 24))
    assert mid_p(found.low, mean * size, size) == pytest.approx((1 - level) / 2)
    assert mid_p(found.high, mean * size, size) == pytest.approx(1 - (1 - level) / 2)
    assert found.method == "mid-P at the effective number of answers"


def test_answers_that_repeat_each_other_are_no_binomial() -> None:
    found = estimates.interval(np.repeat([1, 0, 1, 1, 0, 1], 2), np.repeat(np.arange(6), 2))
    assert (found.n, found.questions, found.seeds) == (12, 6, 1)
    assert found.method == "mid-P at the effective number of answers"
    assert (found.standard_error, found.df) == pytest.approx((stats.sem([1, 0, 1, 1, 0, 1]), 5))


def test_answers_that_hardly_differ_vary_by_as_much_as_they_do() -> None:
    values = 0.5 + 1e-5 * np.arange(10)
    assert estimates.interval(values).standard_error == pytest.approx(stats.sem(values))


def test_degrees_of_freedom_are_at_least_one() -> None:
    # Runs, questions and what both contain have equal shares and one degree each: the formula would give a third.
    found = estimates.interval([1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1])
    assert found.standard_error == pytest.approx(0.25)
    assert found.df == 1


def test_two_columns_are_no_single_binomial() -> None:
    one, other = np.repeat([1, 0], [8, 4]), np.repeat([1, 0], [5, 25])
    found = estimates.interval(np.concatenate([one, other]), strata=np.repeat([0, 1], [12, 30]))
    welch = stats.ttest_ind(one, other, equal_var=False)
    # The mean of two means has the degrees of freedom of their difference, and half its error.
    assert found.df == pytest.approx(welch.df)
    assert found.standard_error == pytest.approx(math.sqrt(one.var(ddof=1) / 12 + other.var(ddof=1) / 30) / 2)


@pytest.mark.parametrize("value", [1, 0.25])
def test_a_column_of_one_question_varies_as_if_there_were_one_more(value: float) -> None:
    many = np.array([1, 0, 0, 1, 1])
    found = estimates.interval(np.append(many, value), strata=[0, 0, 0, 0, 0, 1])
    more, weights = np.array([value, 1, 0]), np.array([1, 0.5, 0.5])
    alone = np.average((more - np.average(more, weights=weights)) ** 2, weights=weights)
    parts = np.array([many.var(ddof=1) / 5, alone]) / 4
    assert found.standard_error == pytest.approx(math.sqrt(parts.sum()))
    assert found.df == pytest.approx(parts.sum() ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_column_all_right_or_all_wrong_varies_as_if_there_were_one_more(value: float) -> None:
    mixed = np.array([1, 0, 0, 1, 1])
    found = estimates.interval(np.append(np.full(7, value), mixed), strata=np.repeat([0, 1], [7, 5]))
    more, weights = np.append(np.full(7, value), [1, 0]), np.append(np.ones(7), [0.5, 0.5])
    spread = np.average((more - np.average(more, weights=weights)) ** 2, weights=weights)
    assert found.standard_error == pytest.approx(math.sqrt(spread / 7 + mixed.var(ddof=1) / 5) / 2)


def layout(table: np.ndarray) -> tuple[float, float]:
    """Shares of the variance of a column's mean that come from questions and from the rest."""
    questions, runs = table.shape
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return (
        table.mean(axis=1).var(ddof=1) / questions,
        float((rest**2).sum()) / ((questions - 1) * (runs - 1)) / table.size,
    )


def test_columns_share_their_runs_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    shift = np.array([-0.25, 0.0, 0.3])
    ease = np.array([-0.3, 0.3])
    one, other = (
        (rng.random((size, 3)) < 0.5 + shift + np.resize(ease, size)[:, None]).astype(float) for size in (24, 40)
    )
    both = np.concatenate([one, other])
    found = estimates.interval(both.ravel(), **names(64, 3), strata=np.repeat([0, 1], [72, 120]))
    means = (one.mean(axis=0) + other.mean(axis=0)) / 2
    runs = means.var(ddof=1) / 3
    (first, rest), (second, other_rest) = layout(one), layout(other)
    questions, rests = (first + second) / 4, (rest + other_rest) / 4
    assert questions > rests  # so that no floor acts
    total = runs + questions - rests
    assert found.standard_error == pytest.approx(math.sqrt(total))
    parts = [
        (runs, 2), *((part / 4, df) for part, df in ((first, 23), (second, 39))),
    ]  # fmt: skip
    question_df = questions**2 / sum(value**2 / df for value, df in parts[1:])
    rest_df = rests**2 / ((rest / 4) ** 2 / 46 + (other_rest / 4) ** 2 / 78)
    assert found.df == pytest.approx(total**2 / (runs**2 / 2 + questions**2 / question_df + rests**2 / rest_df))


def test_a_variance_is_never_below_that_of_its_runs_or_its_questions() -> None:
    # Runs that repeat each other's answers the other way round: the rest is larger than what questions explain.
    rng = np.random.default_rng(5)
    one = (rng.random(40) < 0.5).astype(float)
    table = np.stack([one, 1 - one, (rng.random(40) < 0.8).astype(float)], axis=1)
    question, rest = layout(table)
    runs = table.mean(axis=0).var(ddof=1) / 3
    assert rest > question
    found = estimates.interval(table.ravel(), **names(40, 3))
    assert found.standard_error == pytest.approx(math.sqrt(max(runs, question)))


def test_a_pooled_variance_takes_the_place_of_the_runs_own() -> None:
    table = (np.random.default_rng(6).random((50, 3)) < [0.3, 0.5, 0.7]).astype(float)
    question, rest = layout(table)
    found = estimates.interval(table.ravel(), **names(50, 3), runs=SeedVariance(0.12, 10))
    total = max(0.12 / 3 + question - rest, 0.12 / 3, question)
    assert found.standard_error == pytest.approx(math.sqrt(total))


def test_variances_are_pooled_by_their_degrees_of_freedom() -> None:
    assert estimates.pooled([SeedVariance(1.0, 2), SeedVariance(4.0, 6)]) == SeedVariance(26 / 8, 8)
    assert estimates.pooled([SeedVariance(0.0, 0), SeedVariance(4.0, 6)]) == SeedVariance(4.0, 6)
    assert estimates.pooled([SeedVariance(0.0, 0)]) is None
    assert estimates.pooled([]) is None


def test_the_variance_between_runs_is_that_of_their_means_over_columns() -> None:
    table = np.random.default_rng(7).random((9, 4))
    found = estimates.seed_variance(table.ravel(), **names(9, 4), strata=np.repeat([0, 1], [8, 28]))
    means = (table[:2].mean(axis=0) + table[2:].mean(axis=0)) / 2
    assert found.value == pytest.approx(means.var(ddof=1))
    assert found.df == 3


# --- two means --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("won", "lost", "ties"), [(12, 3, 40), (3, 12, 40), (0, 6, 5)])
def test_the_interval_of_mcnemars_test_is_bonett_and_prices(won: int, lost: int, ties: int, level: float) -> None:
    a, b = np.repeat([1, 0, 1], [won, lost, ties]), np.repeat([0, 1, 1], [won, lost, ties])
    found = estimates.paired_difference(a, b, np.arange(len(a)), level=level)
    # Wald's interval once one more pair is discordant in each direction.
    change = np.repeat([1, -1, 0], [won + 1, lost + 1, ties])
    error = change.std() / math.sqrt(len(change))
    half = stats.norm.ppf(0.5 + level / 2) * error
    low, high = max(change.mean() - half, -1), min(change.mean() + half, 1)
    assert (found.low, found.high, found.standard_error) == pytest.approx((low, high, error))
    assert (found.n, found.discordant, found.df) == (len(a), won + lost, math.inf)


def test_an_interval_of_mcnemars_test_ends_at_one() -> None:
    ahead = estimates.paired_difference(np.ones(2), np.zeros(2), np.arange(2), level=0.999)
    behind = estimates.paired_difference(np.zeros(2), np.ones(2), np.arange(2), level=0.999)
    assert (ahead.high, behind.low) == (1, -1)
    assert (ahead.difference, behind.difference) == (1, -1)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_difference_of_shares_has_the_t_interval_of_its_questions(level: float) -> None:
    rng = np.random.default_rng(8)
    a, b = rng.integers(0, 5, 30) / 4, rng.integers(0, 5, 30) / 4
    found = estimates.paired_difference(a, b, np.arange(30), level=level)
    interval = stats.ttest_1samp(a - b, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.n, found.df, found.discordant) == (30, 29, int((a != b).sum()))
    assert found.test == "sign-flip permutation"


@pytest.mark.parametrize(("change", "runs"), [(0.5, 1), (-0.25, 1), (1.0, 2)])
def test_a_lead_that_is_the_same_everywhere_varies_as_if_one_more_question_were_won_or_lost(
    change: float, runs: int
) -> None:
    a, b = np.full(6 * runs, max(change, 0)), np.full(6 * runs, max(-change, 0))
    found = estimates.paired_difference(a, b, **names(6, runs))
    more, weights = np.append(np.full(6, change), [1, -1]), np.append(np.ones(6), [0.5, 0.5])
    spread = np.average((more - np.average(more, weights=weights)) ** 2, weights=weights)
    assert found.standard_error == pytest.approx(math.sqrt(spread / 6))
    assert found.difference == pytest.approx(change)
    assert found.discordant == 6


def test_sign_flips_weigh_columns_alike() -> None:
    a, b = np.array([1, 0, 1, 1, 0.5, 1, 0]), np.array([0, 0.5, 0, 0, 1, 0.25, 0])
    strata = np.array([0, 0, 1, 1, 1, 1, 1])
    weights = np.where(strata == 0, 1 / 4, 1 / 10)
    terms = weights * (a - b)
    seen = abs(terms.sum()) - 1e-12
    flips = [abs(np.dot(signs, terms)) >= seen for signs in itertools.product([1, -1], repeat=7)]
    found = estimates.paired_difference(a, b, np.arange(7), strata=strata)
    assert found.difference == pytest.approx(a[:2].mean() / 2 + a[2:].mean() / 2 - b[:2].mean() / 2 - b[2:].mean() / 2)
    assert found.pvalue == pytest.approx(np.mean(flips))
    assert found.discordant == 6


@pytest.mark.parametrize(("differing", "patterns"), [(12, 2**12), (13, 10_000)])
def test_sign_patterns_are_listed_up_to_twelve_and_drawn_beyond(differing: int, patterns: int) -> None:
    a = np.append(np.random.default_rng(9).integers(1, 8, differing) / 8, np.zeros(4))
    b = np.append(np.full(differing, 0.4), np.zeros(4))
    found = estimates.paired_difference(a, b, np.arange(len(a)))
    signs = np.array(list(itertools.product([1, -1], repeat=differing)))
    exact = (abs(signs @ (a - b)[:differing]) >= abs((a - b).sum()) - 1e-12).mean()
    assert found.pvalue == pytest.approx(exact, abs=1e-12 if differing == 12 else 0.015)
    assert found.pvalue * patterns == pytest.approx(round(found.pvalue * patterns))
    again = estimates.paired_difference(a, b, np.arange(len(a)), rng=np.random.default_rng(0))
    other = estimates.paired_difference(a, b, np.arange(len(a)), rng=np.random.default_rng(1))
    assert again.pvalue == found.pvalue
    assert (other.pvalue == found.pvalue) == (differing == 12)


def test_a_lead_that_no_draw_reaches_counts_itself() -> None:
    found = estimates.paired_difference(np.full(40, 0.5), np.zeros(40), np.arange(40))
    assert found.pvalue == 1 / 10_000


def test_of_a_trained_and_an_untrained_side_one_has_runs() -> None:
    rng = np.random.default_rng(10)
    trained = (rng.random((60, 3)) < [0.5, 0.6, 0.7]).astype(float)
    base = np.repeat((rng.random(60) < 0.4).astype(float)[:, None], 3, axis=1)
    question, rest = layout(trained - base)
    pool = SeedVariance(0.03, 8)
    found = estimates.paired_difference(trained.ravel(), base.ravel(), **names(60, 3), runs=pool)
    total = max(0.01 + question - rest, 0.01, question)
    assert found.standard_error == pytest.approx(math.sqrt(total))
    assert found.df == pytest.approx(total**2 / (0.01**2 / 8 + question**2 / 59 + rest**2 / (59 * 2)))
    assert found.test == "t, question and run variance (runs pooled)"
    both = estimates.paired_difference(trained.ravel(), 1 - trained.ravel(), **names(60, 3), runs=pool)
    question, rest = layout(2 * trained - 1)
    total = max(0.02 + question - rest, 0.02, question)
    # Twice the same estimate: its parts are not independent, so it keeps its degrees of freedom.
    assert both.df == pytest.approx(total**2 / (0.02**2 / 8 + question**2 / 59 + rest**2 / (59 * 2)))
    half = stats.t.ppf(0.975, both.df) * both.standard_error
    assert (both.low, both.high) == pytest.approx((both.difference - half, both.difference + half))
    assert both.discordant == 60


def test_identical_sides_say_so() -> None:
    found = estimates.paired_difference(np.tile([1, 0], 6), np.tile([1, 0], 6), **names(6, 2))
    assert found == estimates.PairedDifference(0.0, 0.0, 0.0, 1.0, "identical", 12, 0.0, math.inf, 0)


# --- power ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("df", "alpha", "power"), [(4, 0.05, 0.8), (20, 0.01, 0.9), (60, 0.05, 0.5)])
def test_a_detectable_effect_has_its_power_under_the_noncentral_t(df: int, alpha: float, power: float) -> None:
    effect = estimates.minimum_detectable_effect(0.5, df, alpha, power)
    limit = stats.t.ppf(1 - alpha / 2, df)
    found = stats.nct.sf(limit, df, effect / 0.5) + stats.nct.cdf(-limit, df, effect / 0.5)
    assert found == pytest.approx(power, abs=2e-5)


def test_a_critical_value_takes_the_place_of_alpha() -> None:
    assert estimates.minimum_detectable_effect(2.0, critical=3.0) == pytest.approx(
        2 * (3 + stats.norm.ppf(0.8)), rel=1e-6
    )
    limit = float(stats.t.ppf(0.995, 7))
    assert estimates.minimum_detectable_effect(1.0, 7, 0.3, critical=limit) == pytest.approx(
        estimates.minimum_detectable_effect(1.0, 7, 0.01)
    )
    assert estimates.minimum_detectable_effect(0.0, 7) == 0


@pytest.mark.parametrize("df", [1, 2, 10, 45])
def test_the_bias_of_a_standard_error_is_the_mean_of_a_chi_variable(df: int) -> None:
    assert estimates.without_bias(3.0, df) == pytest.approx(3 / (stats.chi.mean(df) / math.sqrt(df)))


def test_mcnemars_power_grows_with_the_share_that_must_differ() -> None:
    n, alpha, power = 25, 0.05, 0.9
    effect = estimates.mcnemar_detectable_effect(n, 0, alpha, power)
    # Nobody differed so far: as many as the effect needs do, all in one direction.
    reject = [count for count in range(n + 1) if count and stats.binomtest(count, count).pvalue <= alpha]
    assert stats.binom.pmf(reject, n, effect).sum() == pytest.approx(power, abs=1e-6)
    assert estimates.mcnemar_detectable_effect(n, 1, alpha, power) == effect
    assert estimates.mcnemar_detectable_effect(n, 0, 0.01, power) > effect
    assert estimates.mcnemar_detectable_effect(n, 0, alpha, 0.5) < effect


def test_a_comparison_prices_its_test_at_the_level_that_is_asked_for() -> None:
    a, b = np.repeat([1, 0, 1], [30, 20, 50]), np.repeat([0, 1, 1], [30, 20, 50])
    single = estimates.paired_difference(a, b, np.arange(100))
    assert estimates.detectable_difference(single, 0.01, 0.6) == estimates.mcnemar_detectable_effect(100, 50, 0.01, 0.6)
    shares = estimates.paired_difference(a / 2, b, np.arange(100))
    error = estimates.without_bias(shares.standard_error, shares.df)
    for critical in (None, 4.0):
        assert estimates.detectable_difference(shares, 0.01, 0.6, critical) == (
            estimates.minimum_detectable_effect(error, shares.df, 0.01, 0.6, critical)
        )


# --- max-T ------------------------------------------------------------------------------------------------------------


def answers(seed: int, rows: int, runs: int, questions: int, gain: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    chance = 0.2 + 0.5 * rng.random(questions)
    made = {"base": np.tile((rng.random(questions) < chance).astype(float), (runs, 1))}
    for row in range(rows):
        level = chance + gain * row + rng.normal(0, 0.05, (runs, 1))
        made[f"v{row}"] = (rng.random((runs, questions)) < level).astype(float)
    return made


def test_steps_down_from_the_largest_statistic_each_among_those_not_larger() -> None:
    pairs = (("v0", "base"), ("v1", "base"), ("v2", "v0"), ("v1", "v1"))
    sections = [Section(answers(seed, 3, 3, 40, 0.1), np.zeros(40), pairs) for seed in (1, 2)]
    found = max_t(sections, np.random.default_rng(4), draws=199)
    rng = np.random.default_rng(4)
    null = np.concatenate([permutation._Dealer(item).draw(199, rng) for item in sections], axis=1)
    seen = abs(np.concatenate(found.statistics))
    single = [(1 + sum(line[k] >= seen[k] * (1 - 1e-9) for line in null)) / 200 for k in range(8)]
    adjusted, floor = np.ones(8), 0.0
    for k in sorted(range(8), key=lambda k: -seen[k]):
        rivals = [j for j in range(8) if seen[j] <= seen[k]]
        hits = sum(max(line[j] for j in rivals) >= seen[k] * (1 - 1e-9) for line in null)
        floor = max(floor, (1 + hits) / 200)
        adjusted[k] = floor if seen[k] else 1.0
    assert [len(part) for part in found.adjusted] == [4, 4]
    assert np.concatenate(found.adjusted) == pytest.approx(adjusted)
    assert np.concatenate(found.single) == pytest.approx(single)
    assert found.adjusted[0][3] == found.single[0][3] == 1


def test_null_tables_of_one_model_shuffle_runs_between_its_rows() -> None:
    made = answers(3, 2, 2, 30)
    section = Section({name: made[name] for name in ("v0", "v1")}, np.zeros(30), (("v0", "v1"),))
    drawn = permutation._Dealer(section).draw(400, np.random.default_rng(0))
    runs, possible = np.concatenate([made["v0"], made["v1"]]), set()
    for chosen in itertools.combinations(range(4), 2):
        others = [index for index in range(4) if index not in chosen]
        dealt = {"v0": runs[list(chosen)], "v1": runs[others]}
        value = max_t([Section(dealt, np.zeros(30), (("v0", "v1"),))], draws=1).statistics[0][0]
        possible.add(round(abs(float(value)), 9))
    assert set(np.round(drawn[:, 0], 9)) == possible
    assert deals(section) == 6


def test_the_critical_value_is_that_of_a_table_in_which_one_row_differs_by_what_is_found() -> None:
    section = Section(answers(5, 3, 3, 60), np.zeros(60), (("v0", "base"), ("v1", "base"), ("v2", "v0")))
    found = max_t([section], draws=4_000)
    dealer = permutation._Dealer(section)
    index = int(np.argsort(dealer.errors)[1])
    row, effect = section.pairs[index][0], (found.critical + stats.norm.ppf(0.8)) * dealer.errors[index]
    changed = Section(dict(section.answers) | {row: section.answers[row] + effect}, section.strata, section.pairs)
    null = permutation._Dealer(changed).draw(4_000, np.random.default_rng(1)).max(axis=1)
    assert (null > found.critical).mean() == pytest.approx(0.05, abs=0.02)
    unchanged = dealer.draw(4_000, np.random.default_rng(1)).max(axis=1)
    assert found.critical > np.quantile(unchanged, 0.95)


def test_p_values_come_in_ten_thousandths() -> None:
    found = max_t([Section(answers(6, 2, 3, 20), np.zeros(20), (("v0", "v1"),))])
    assert found.single[0][0] * 10_000 == pytest.approx(round(found.single[0][0] * 10_000))
    assert 0 < found.single[0][0] <= 1


def test_deals_count_trained_rows_of_any_number_of_runs() -> None:
    made = answers(7, 3, 4, 20)
    made["v2"] = made["v2"][:2]
    assert deals(Section(made, np.zeros(20), ())) == math.factorial(10) // (24 * 24 * 2)
    assert deals(Section({"base": made["base"], "v0": made["v0"]}, np.zeros(20), ())) == 1
