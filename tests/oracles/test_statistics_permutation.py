"""The max-T permutation test against scipy's on runs alone, the t test's statistic, and null tables."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates
from reports.statistics.permutation import Section, deals, max_t


def _runs_only(*rates: list[float]) -> dict[str, np.ndarray]:
    """Rows whose runs answer every question alike, so that nothing but the runs varies."""
    return {f"v{index}": np.tile(np.array(row)[:, None], (1, 400)) for index, row in enumerate(rates)}


def _table(rng: np.random.Generator, rows: int, runs: int, questions: int, spread: float) -> dict[str, np.ndarray]:
    chance = 0.1 + 0.8 * rng.random(questions)
    base = np.repeat((rng.random(questions) < chance).astype(float)[None], runs, axis=0)
    level = chance + rng.normal(0, spread, (rows, runs, 1))
    trained = (rng.random((rows, runs, questions)) < level).astype(float)
    return {"base": base} | {f"v{index}": row for index, row in enumerate(trained)}


def _pairs(rows: int) -> tuple[tuple[str, str], ...]:
    """Every row against base and against the first one, as in a table."""
    return (*((f"v{k}", "base") for k in range(rows)), *((f"v{k}", "v0") for k in range(1, rows)))


def test_two_rows_that_vary_between_runs_only_get_scipys_exact_permutation_test() -> None:
    left, right = [0.62, 0.70, 0.66, 0.71, 0.60], [0.50, 0.61, 0.58, 0.64, 0.57]
    expected = stats.permutation_test(
        (left, right), lambda a, b: stats.ttest_ind(a, b).statistic, permutation_type="independent", n_resamples=np.inf
    ).pvalue
    section = Section(_runs_only(left, right), np.zeros(400), (("v0", "v1"),))
    found = max_t([section], draws=20_000)
    assert deals(section) == 252
    assert found.single[0][0] == pytest.approx(expected, abs=0.004)
    assert found.statistics[0][0] == pytest.approx(stats.ttest_ind(left, right).statistic)


def test_statistic_is_that_of_the_t_test() -> None:
    answers = _table(np.random.default_rng(1), 1, 4, 150, 0.03)
    strata = np.repeat([0, 1, 2], [100, 20, 30])
    found = max_t([Section(answers, strata, (("v0", "base"),))], draws=10).statistics[0][0]
    flat = [answers[name].T.ravel() for name in ("v0", "base")]
    names = (np.repeat(np.arange(150), 4), np.tile(np.arange(4), 150))
    result = estimates.paired_difference(*flat, *names, strata=np.repeat(strata, 4))
    assert found == pytest.approx(result.difference / result.standard_error)


def test_several_rows_have_almost_the_statistics_of_the_t_test_with_pooled_runs() -> None:
    answers = _table(np.random.default_rng(2), 4, 3, 300, 0.02)
    names = {"clusters": np.repeat(np.arange(300), 3), "seeds": np.tile(np.arange(3), 300)}
    runs = estimates.pooled([estimates.seed_variance(answers[f"v{k}"].T.ravel(), **names) for k in range(4)])
    found = max_t([Section(answers, np.zeros(300), _pairs(4))], draws=10).statistics[0]
    for value, (one, other) in zip(found, _pairs(4), strict=True):
        expected = estimates.paired_difference(answers[one].T.ravel(), answers[other].T.ravel(), **names, runs=runs)
        assert value == pytest.approx(expected.difference / expected.standard_error, rel=0.1, abs=1e-9)


def test_a_correction_is_never_below_the_single_pvalue_and_one_comparison_needs_none() -> None:
    rng = np.random.default_rng(3)
    sections = [Section(_table(rng, 3, 3, 60, 0.05), np.zeros(60), _pairs(3)) for _ in range(2)]
    found = max_t(sections, draws=400)
    for adjusted, single in zip(found.adjusted, found.single, strict=True):
        assert (adjusted >= single).all()
    alone = max_t([Section(sections[0].answers, np.zeros(60), (("v1", "v0"),))], draws=400)
    assert alone.adjusted[0] == alone.single[0]


def test_equal_calls_give_equal_numbers_and_leave_the_global_generator_alone() -> None:
    section = Section(_table(np.random.default_rng(4), 3, 3, 60, 0.05), np.zeros(60), _pairs(3))
    before = pickle.dumps(np.random.get_state())
    first, second = max_t([section], draws=300), max_t([section], draws=300)
    assert first.adjusted[0].tolist() == second.adjusted[0].tolist()
    assert pickle.dumps(np.random.get_state()) == before


def test_a_row_that_repeats_another_one_changes_nothing() -> None:
    answers = _table(np.random.default_rng(5), 3, 3, 60, 0.05)
    plain = max_t([Section(answers, np.zeros(60), _pairs(3))], draws=300)
    repeated = Section(answers | {"twin": answers["v1"]}, np.zeros(60), (*_pairs(3), ("twin", "v0"), ("twin", "v1")))
    found = max_t([repeated], draws=300)
    assert found.adjusted[0][:5].tolist() == plain.adjusted[0].tolist()
    assert found.adjusted[0][5] == found.adjusted[0][3]
    assert found.adjusted[0][6] == 1
    assert deals(repeated) == deals(Section(answers, np.zeros(60), ())) == 1680


def test_rows_may_have_different_numbers_of_runs() -> None:
    answers = _table(np.random.default_rng(6), 3, 4, 80, 0.0)
    answers["v2"] = np.clip(answers["v2"][:3] + (np.arange(80) % 3 == 0), 0, 1)
    found = max_t([Section(answers, np.zeros(80), (("v1", "v0"), ("v2", "v0"), ("v2", "base")))], draws=2_000)
    assert found.adjusted[0][0] > 0.05
    assert found.adjusted[0][1:].max() < 0.02


def test_a_section_without_two_different_runs_is_refused() -> None:
    answers = {"base": np.tile(np.eye(8)[0], (3, 1)), "v0": np.ones((1, 8))}
    with pytest.raises(ValueError, match="question by question"):
        max_t([Section(answers, np.zeros(8), (("v0", "base"),))])
    with pytest.raises(ValueError, match="shape"):
        max_t([Section({"v0": np.ones((2, 7)), "v1": np.zeros((2, 8))}, np.zeros(8), (("v0", "v1"),))])


def test_family_wise_error_of_null_tables_is_near_five_percent() -> None:
    # 300 tables have a standard error of 1.3 points; `nox -s statistics` takes 2,000 of each kind.
    rng, errors = np.random.default_rng(7), 0
    strata = np.repeat(np.arange(3), 40)
    for _ in range(300):
        section = Section(_table(rng, 4, 3, 120, 0.03), strata, _pairs(4))
        errors += max_t([section], rng, draws=199).adjusted[0].min() < 0.05
    assert 0.015 <= errors / 300 <= 0.085
