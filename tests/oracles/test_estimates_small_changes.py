"""Corners of intervals and corrections: means that are equal up to rounding, and families corrected by rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates
from reports.statistics.estimates import SeedVariance


@pytest.mark.parametrize("apart", [1e-10, 1e-12])
def test_means_that_are_closer_than_a_billionth_are_equal(apart: float) -> None:
    nearly = np.array([0.5, 0.5 + apart, 0.5 - apart])
    assert estimates.interval(nearly).standard_error == pytest.approx(
        estimates.interval(np.full(3, 0.5)).standard_error
    )
    found = estimates.paired_difference(nearly, np.full(3, 0.25), np.arange(3))
    even = estimates.paired_difference(np.full(3, 0.5), np.full(3, 0.25), np.arange(3))
    assert found.standard_error == pytest.approx(even.standard_error)


def test_runs_that_are_closer_than_a_billionth_are_equal() -> None:
    names = {"clusters": np.repeat(np.arange(3), 2), "seeds": np.tile([0, 1], 3)}
    found = estimates.interval(0.5 + 1e-10 * np.array([1, -1, -1, 1, 1, -1]), **names)
    assert found.standard_error == pytest.approx(estimates.interval(np.full(6, 0.5), **names).standard_error)


def test_a_column_that_is_half_right_everywhere_adds_nothing_beside_one_that_varies() -> None:
    mixed = np.array([1, 0, 0, 1, 1.0])
    found = estimates.interval(np.append(np.full(6, 0.5), mixed), strata=np.repeat([0, 1], [6, 5]))
    assert found.standard_error == pytest.approx(stats.sem(mixed) / 2)
    assert found.df == pytest.approx(4)


def test_a_false_discovery_rate_is_scipys() -> None:
    pvalues = np.random.default_rng(1).random(9) ** 2
    assert estimates.benjamini_hochberg(pvalues) == pytest.approx(stats.false_discovery_control(pvalues))
    assert (estimates.benjamini_hochberg([]).tolist(), estimates.holm([]).tolist()) == ([], [])


def test_holms_correction_multiplies_by_what_is_left() -> None:
    assert estimates.holm([0.04, 0.01, 0.015]).tolist() == pytest.approx([0.04, 0.03, 0.03])


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_an_interval_of_runs_takes_its_own_level_and_variance(level: float) -> None:
    table = np.random.default_rng(2).random((20, 3))
    names = {"clusters": np.repeat(np.arange(20), 3), "seeds": np.tile(np.arange(3), 20)}
    wide = estimates.interval(table.ravel(), **names, level=level, runs=SeedVariance(0.3, 200))
    assert wide.standard_error > np.sqrt(0.1)
    assert wide.low < estimates.interval(table.ravel(), **names, level=level).low
    assert (wide.low == estimates.interval(table.ravel(), **names, runs=SeedVariance(0.3, 200)).low) == (level == 0.95)


def test_an_interval_of_a_table_is_that_of_its_answers() -> None:
    shares = np.random.default_rng(3).random(12)
    assert estimates.interval_of(estimates.arrange(shares, None, None, None)) == estimates.interval(shares)


@pytest.mark.parametrize("value", [-0.5, -1e-9, 1.5])
def test_an_answer_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="values must lie between 0 and 1"):
        estimates.interval([value, 1, 0, 0.5])
