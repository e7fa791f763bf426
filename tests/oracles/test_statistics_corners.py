"""Tables too small, too even or too large for the usual formulas: a finite and honest answer, or a plain refusal."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates
from reports.statistics.permutation import Section, max_t

NORMAL, HALF = stats.norm.ppf(0.975), 0.5


def _names(questions: int, runs: int, samples: int = 1) -> dict[str, np.ndarray]:
    return {
        "clusters": np.repeat(np.arange(questions), runs * samples),
        "seeds": np.tile(np.repeat(np.arange(runs), samples), questions),
    }


SHAPES = [(1, 1, 1), (1, 1, 3), (1, 3, 1), (2, 1, 2), (3, 2, 1), (2, 3, 1), (2, 2, 2)]


@pytest.mark.parametrize(("questions", "runs", "samples"), SHAPES)
def test_every_small_table_has_an_interval_of_some_length(questions: int, runs: int, samples: int) -> None:
    names = _names(questions, runs, samples)
    columns = np.repeat(np.arange(questions) % 2, runs * samples)
    for values in itertools.product((0, 1), repeat=questions * runs * samples):
        for strata in (None, columns):
            found = estimates.interval(values, **names, strata=strata)
            assert 0 <= found.low <= found.mean <= found.high <= 1
            assert found.high - found.low > 0.2
            assert found.df >= 1


@pytest.mark.parametrize(("questions", "runs", "samples"), SHAPES)
def test_no_small_comparison_is_certain(questions: int, runs: int, samples: int) -> None:
    names, rng = _names(questions, runs, samples), np.random.default_rng(1)
    size = questions * runs * samples
    pairs = [(np.ones(size), np.zeros(size)), *(rng.integers(0, 2, (2, size)) for _ in range(100))]
    for a, b in pairs:
        found = estimates.paired_difference(a, b, **names)
        assert 0.05 < found.pvalue <= 1
        assert found.low <= found.difference <= found.high
        assert found.low < found.high or found.test == "identical"


def test_questions_that_are_all_half_right_count_as_if_one_more_were_right_or_wrong() -> None:
    found = estimates.interval(np.tile([1, 0], 30), **_names(30, 1, 2))
    more, weights = np.append(np.full(30, 0.5), [0, 1]), np.append(np.ones(30), [HALF, HALF])
    variance = np.average((more - 0.5) ** 2, weights=weights)
    assert found.standard_error == pytest.approx(math.sqrt(variance / 30))
    assert found.low < 0.5 < found.high


def test_runs_that_make_up_for_each_other_have_the_error_of_the_rest() -> None:
    answers = np.tile([[1.0, 0.0], [0.0, 1.0]], (20, 1))
    names = _names(40, 2)
    found = estimates.paired_difference(answers.ravel(), (1 - answers).ravel(), **names)
    rest = (2 * answers - 1).var() * 2 * 40 / 39
    assert (found.difference, found.pvalue) == (0, 1)
    assert found.standard_error == pytest.approx(math.sqrt(rest / 80))


def test_a_lead_on_every_question_needs_some_questions() -> None:
    pvalues = [estimates.paired_difference(np.ones(2 * n), np.zeros(2 * n), **_names(n, 2)).pvalue for n in (1, 2, 6)]
    assert pvalues[0] > pvalues[1] > 0.2
    assert 0 < pvalues[2] < 0.05


def test_an_average_that_is_all_right_is_as_sure_as_its_smallest_column() -> None:
    found = estimates.interval(np.ones(1020), strata=np.repeat([0, 1], [20, 1000]))
    # Were only the small column less than right, this is how much the average could be missing.
    small = estimates.interval(np.ones(20))
    assert 1 - found.low == pytest.approx((1 - small.low) / 2, rel=0.05)
    assert estimates.interval(np.ones(1000), strata=np.repeat([0, 1], 500)).low == estimates.interval(np.ones(1000)).low


def test_answers_count_once_per_question_however_many_there_are() -> None:
    values, clusters = [1, 1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 2, 2]
    found = estimates.interval(values, clusters)
    assert found.mean == pytest.approx(np.mean([1, 0, 0.5]))
    assert found.standard_error == pytest.approx(stats.sem([1, 0, 0.5]))


def test_what_is_no_number_or_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="must be numbers"):
        estimates.interval([1, math.nan, 0])
    with pytest.raises(ValueError, match="must be numbers"):
        estimates.paired_difference([1, 0], [1, math.nan], [0, 1])
    with pytest.raises(ValueError, match="v0: answers must be numbers"):
        max_t([Section({"v0": [[1, math.nan], [0, 1]], "v1": [[1, 0], [0, 1]]}, [0, 0], (("v1", "v0"),))])
    with pytest.raises(ValueError, match="every question needs an answer in every run"):
        estimates.interval([1, 0, 1], [0, 0, 1], [0, 1, 0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimates.interval([1, 2])


def test_mcnemar_of_many_questions_detects_what_the_normal_approximation_says() -> None:
    n, differ = 20_000, 0.2
    found = estimates.mcnemar_detectable_effect(n, int(differ * n))
    # Connor (1987): the effect at which these many questions are needed.
    power = stats.norm.ppf(0.8)
    needed = (NORMAL * math.sqrt(differ) + power * math.sqrt(differ - found**2)) ** 2 / found**2
    assert needed == pytest.approx(n, rel=0.02)
