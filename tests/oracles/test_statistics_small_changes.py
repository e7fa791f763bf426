"""Corners of the tests' power, and a table's permutation test with the draws of one seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates, permutation
from reports.statistics.permutation import Section, deals, max_t
from reports.statistics.power import _most_lost, mcnemar_detectable_effect, minimum_detectable_effect


@pytest.mark.parametrize(("df", "alpha", "power"), [(3, 0.05, 0.06), (4, 0.2, 0.22), (9, 0.3, 0.31)])
def test_little_power_counts_differences_found_on_the_wrong_side_too(df: int, alpha: float, power: float) -> None:
    effect, limit = minimum_detectable_effect(2.0, df, alpha, power) / 2, stats.t.ppf(1 - alpha / 2, df)
    assert stats.nct.sf(limit, df, effect) + stats.nct.cdf(-limit, df, effect) == pytest.approx(power, abs=2e-5)


def test_without_an_error_every_difference_is_found() -> None:
    assert (minimum_detectable_effect(0.0, 7), minimum_detectable_effect(0.0)) == (0.0, 0.0)


@pytest.mark.parametrize("alpha", [0.05, 0.0625, 0.01, 0.5])
def test_a_side_may_be_as_small_as_half_the_level_allows(alpha: float) -> None:
    counts = np.array([0, 1, 2, 4, 5, 6, 9, 40, 2_000, 3_001])
    expected = [int((stats.binom.cdf(np.arange(count + 1), count, 0.5) <= alpha / 2).sum()) - 1 for count in counts]
    assert _most_lost(counts, alpha).tolist() == expected


@pytest.mark.parametrize(("n", "discordant", "power"), [(30, 20, 0.07), (20, 12, 0.12), (12, 2, 0.6), (12, 0, 0.6)])
def test_mcnemars_power_counts_both_sides_and_no_table_without_a_limit(n: int, discordant: int, power: float) -> None:
    effect, alpha = mcnemar_detectable_effect(n, discordant, 0.1, power), 0.1
    differ = max(discordant / n, 1 / n, effect)
    rate = (1 + effect / differ) / 2
    found = sum(
        stats.binom.pmf(count, n, differ) * stats.binom.pmf(won, count, rate)
        for count in range(1, n + 1)
        for won in range(count + 1)
        if stats.binomtest(won, count).pvalue <= alpha
    )
    assert 0 < effect < 1
    assert found == pytest.approx(power, abs=1e-6)


def test_no_question_that_differs_counts_as_one() -> None:
    few = [mcnemar_detectable_effect(6, discordant, 0.5, 0.6) for discordant in (0, 1, 2)]
    assert few[0] == few[1]
    assert few[1] != pytest.approx(few[2], abs=1e-4)


# --- max-T ------------------------------------------------------------------------------------------------------------


def sections() -> list[Section]:
    """Two models with two columns; rows of unequal runs, one of them under two names, and two untrained rows."""
    made = []
    for seed, pairs in (
        (1, (("v0", "base"), ("v1", "base"), ("v2", "v0"), ("other", "base"), ("again", "v1"))),
        (2, (("v1", "v0"), ("v2", "other"))),
        (3, (("v0", "other"),)),
    ):
        rng = np.random.default_rng(seed)
        chance = 0.2 + 0.6 * rng.random(14)
        answers = {name: np.tile((rng.random(14) < chance).astype(float), (2, 1)) for name in ("base", "other")}
        for index, runs in enumerate((3, 2, 4)):
            level = chance + 0.12 * index + rng.normal(0, 0.2, (runs, 1))
            answers[f"v{index}"] = (rng.random((runs, 14)) < level).astype(float)
        answers["again"] = answers["v1"]
        made.append(Section(answers, np.repeat(["x", "y", "z"], [4, 9, 1]), pairs))
    return made


def test_the_numbers_of_a_seed() -> None:
    """As first computed: each draw, and how draws become p-values, is part of what a table can be repeated from."""
    found = max_t(sections(), np.random.default_rng(3), draws=1_203)
    statistics, single, adjusted = (
        [round(float(value), 6) for part in parts for value in part]
        for parts in (found.statistics, found.single, found.adjusted)
    )
    assert [len(part) for part in found.adjusted] == [len(part) for part in found.single] == [5, 2, 1]
    assert statistics == [-4.340473, -1.13658, 3.193134, -3.674235, 0.0, 1.749235, 4.657942, 0.794115]
    assert single == [0.013289, 0.433555, 0.02907, 0.185216, 1.0, 0.124585, 0.005814, 0.73505]
    assert adjusted == [0.057309, 0.774917, 0.245847, 0.245847, 1.0, 0.588040, 0.053987, 0.774917]
    assert found.critical == pytest.approx(4.392469054952509, rel=1e-9)


@pytest.mark.parametrize(
    ("order", "critical"),
    [((0,), 3.6110237111649104), ((1, 0), 4.372367631508034), ((0, 2), 5.360572379232089), ((2, 1), 4.20728821754323)],
)
def test_the_critical_value_of_a_seed(order: tuple[int, ...], critical: float) -> None:
    """It depends on what the row in the middle, wherever it stands, would have to differ by."""
    made = sections()
    chosen = [replace(made[index], strata=np.repeat(["x", "y", "z"], [2, 11, 1])) for index in order]
    found = max_t(chosen, np.random.default_rng(1), draws=400)
    assert found.critical == pytest.approx(critical, rel=1e-9)


def test_fewer_than_a_thousand_deals_are_too_few_for_a_table() -> None:
    assert permutation.FEWEST_DEALS == 1_000


def test_a_row_under_two_names_counts_once_among_the_deals() -> None:
    assert [deals(section) for section in sections()] == [math.factorial(9) // (6 * 2 * 24)] * 3
    names = [names for names, _, _ in permutation._distinct(sections()[0])]
    assert names == [["base"], ["other"], ["v0"], ["v1", "again"], ["v2"]]


def test_rows_of_one_run_each_have_no_variance_and_rows_of_other_questions_are_refused() -> None:
    single = {"v0": np.array([[1.0, 0.0]]), "v1": np.array([[0.0, 0.0]])}
    for answers in (single, {}):
        with pytest.raises(ValueError, match="no row has two different training runs"):
            max_t([Section(answers, np.zeros(2), (("v0", "v1"),) if answers else ())], draws=3)
    for missing in ([[1.0, math.nan], [0.0, 1.0]], [[math.nan] * 2] * 2):
        with pytest.raises(ValueError, match="v1: answers must be numbers; keep the questions that every run"):
            max_t([Section({"v0": np.eye(2), "v1": missing}, np.zeros(2), (("v0", "v1"),))], draws=3)
    for wrong in (np.zeros((2, 3)), np.zeros(2)):
        with pytest.raises(ValueError, match=r"v1: answers must have the shape \(runs, questions\)"):
            max_t([Section({"v0": np.eye(2), "v1": wrong}, np.zeros(2), (("v0", "v1"),))], draws=3)


def test_runs_that_are_alike_in_their_means_widen_nothing() -> None:
    answers = {"base": np.tile([1.0, 1.0, 0.0, 0.0], (2, 1)), "v0": np.array([[1.0, 0, 1, 0], [0, 1, 0, 1.0]])}
    assert permutation._Dealer(Section(answers, np.zeros(4), (("v0", "base"),)))._of_runs == 0.0
    hardly = {"v0": np.array([[1.0, 0, 1, 0, 1], [0, 1.0, 0, 1, 0]])}
    assert permutation._Dealer(Section(hardly, np.zeros(5), (("v0", "v0"),)))._of_runs == 0.0


def test_without_a_generator_the_seed_is_zero() -> None:
    made = sections()[:1]
    assert max_t(made, draws=90).critical == max_t(made, np.random.default_rng(0), 90).critical


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_only_one_answer_each_in_one_column_is_mcnemars_test() -> None:
    a, b = np.repeat([1, 0, 1], [8, 3, 9]), np.repeat([0, 1, 1], [8, 3, 9])
    questions = np.arange(20)
    assert estimates.paired_difference(a, b, questions).test == estimates.MCNEMAR
    columns = estimates.paired_difference(a, b, questions, strata=np.repeat([0, 1], 10))
    twice = estimates.paired_difference(np.repeat(a, 2), np.repeat(b, 2), np.repeat(questions, 2))
    assert columns.test == twice.test == "sign-flip permutation"


def test_a_lead_of_one_side_everywhere_ends_at_one() -> None:
    won = estimates.paired_difference(np.ones(4), np.zeros(4), np.arange(4))
    lost = estimates.paired_difference(np.zeros(4), np.ones(4), np.arange(4))
    assert (won.high, lost.low) == (1.0, -1.0)
    assert won.low == pytest.approx(-lost.high)


def test_what_could_be_seen_is_at_five_and_eighty_percent() -> None:
    rng = np.random.default_rng(1)
    found = estimates.paired_difference(rng.random(30), rng.random(30), np.arange(30))
    assert estimates.detectable_difference(found) == estimates.detectable_difference(found, 0.05, 0.8)
    single = estimates.paired_difference(np.repeat([1, 0], [30, 20]), np.repeat([0, 1], [30, 20]), np.arange(50))
    assert estimates.detectable_difference(single) == estimates.detectable_difference(single, 0.05, 0.8)


def test_questions_that_differ_by_a_little_vary_by_that_little() -> None:
    values = np.array([0.5, 0.5 + 4e-5, 0.5 - 1e-5])
    assert estimates.interval(values, np.arange(3)).standard_error == pytest.approx(stats.sem(values))
