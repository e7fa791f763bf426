"""Parts of the max-T permutation test for themselves: its variances, its critical value, and ties."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reports.statistics import estimates, permutation
from reports.statistics.permutation import Section, max_t


def section(
    seed: int, pairs: tuple[tuple[str, str], ...], spread: float = 0.2, sizes: tuple[int, ...] = (9, 5)
) -> Section:
    """An untrained row and three trained ones of three, two and four runs; columns of these sizes."""
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    chance = 0.2 + 0.6 * rng.random(total)
    answers = {"base": np.tile((rng.random(total) < chance).astype(float), (2, 1))}
    for name, runs in (("v0", 3), ("v1", 2), ("v2", 4)):
        answers[name] = (rng.random((runs, total)) < chance + rng.normal(0, spread, (runs, 1))).astype(float)
    return Section(answers, np.repeat(np.arange(len(sizes)), sizes), pairs)


@pytest.mark.parametrize(("sizes", "seed"), [((2, 30), 1), ((1, 2, 9), 2), ((3, 2), 3)])
def test_columns_of_two_questions_and_of_one_vary_as_in_the_t_test(sizes: tuple[int, ...], seed: int) -> None:
    made = section(seed, (("v0", "base"),), sizes=sizes)
    made = replace(made, answers={name: made.answers[name] for name in ("base", "v0")})
    runs = [np.asarray(made.answers[name])[[0, 0, 0] if name == "base" else [0, 1, 2]] for name in ("v0", "base")]
    mine = [row.T.ravel() for row in runs]
    names = {"clusters": np.repeat(np.arange(sum(sizes)), 3), "seeds": np.tile(np.arange(3), sum(sizes))}
    (statistic,) = max_t([made], draws=1).statistics[0]
    table = [estimates.arrange(values, **names, strata=np.repeat(made.strata, 3)) for values in mine]
    both = replace(table[0], means=table[0].means - table[1].means)
    question, rest, variance = 0.0, 0.0, float(both.runs.var(ddof=1)) / 3
    for column, size in enumerate(sizes):
        part = both.means[both.strata == column]
        if size > 1:
            question += part.mean(axis=1).var(ddof=1) / size / len(sizes) ** 2
            left = part - part.mean(axis=0) - part.mean(axis=1, keepdims=True) + part.mean()
            rest += (left**2).sum() / ((size - 1) * 2) / size / 3 / len(sizes) ** 2
    error = math.sqrt(max(variance + question - rest, variance, question))
    assert statistic == pytest.approx(float(both.runs.mean()) / error)


@pytest.mark.parametrize(("seed", "spread"), [(1, 0.3), (2, 0.25), (5, 0.0), (11, 0.0)])
def test_the_mean_of_all_runs_is_as_uncertain_as_runs_differ_beyond_their_single_answers(
    seed: int, spread: float
) -> None:
    made = section(seed, (("v0", "base"),), spread)
    trained = [np.asarray(made.answers[name]) for name in ("v0", "v1", "v2")]
    columns = [np.asarray(made.strata) == column for column in (0, 1)]
    means = np.concatenate([sum(row[:, mine].mean(axis=1) for mine in columns) / 2 for row in trained])
    rest = 0.0
    for row in trained:
        for mine in columns:
            apart = row[:, mine] - row[:, mine].mean(axis=0)
            apart = apart - apart.mean(axis=1, keepdims=True)
            rest += (apart**2).sum() / (mine.sum() * (mine.sum() - 1)) / 4 / (2 + 1 + 3)
    fraction = 1 - rest / means.var(ddof=1)
    assert permutation._Dealer(made)._of_runs == pytest.approx(math.sqrt(max(fraction, 0)))
    assert (fraction > 0) == (spread > 0)


def by_hand(sections: list[Section], draws: int, seed: int) -> tuple[float, tuple[int, int]]:
    """The critical value in two rounds, and which comparison (of which section) it is settled on."""
    rng = np.random.default_rng(seed)
    dealers = [permutation._Dealer(item) for item in sections]
    found = upper(np.concatenate([dealer.draw(draws, rng) for dealer in dealers], axis=1))
    where = [(number, index) for number, item in enumerate(sections) for index in range(len(item.pairs))]
    errors = [float(error) for dealer in dealers for error in dealer.errors]
    number, index = where[sorted(range(len(where)), key=lambda place: errors[place])[len(where) // 2]]
    row, error = sections[number].pairs[index][0], dealers[number].errors[index]
    for _ in ("once", "again"):
        lifted = np.asarray(sections[number].answers[row]) + (found + permutation.POWER_QUANTILE) * error
        other = replace(sections[number], answers={**sections[number].answers, row: lifted})
        changed = [permutation._Dealer(other) if place == number else one for place, one in enumerate(dealers)]
        found = upper(np.concatenate([dealer.draw(max(draws // 5, 1), rng) for dealer in changed], axis=1))
    return found, (number, index)


def upper(null: np.ndarray) -> float:
    """The smallest of the largest statistics that at most 5 % of the others exceed."""
    largest = sorted(null.max(axis=1).tolist())
    return float(largest[math.ceil(0.95 * (len(largest) - 1))])


@pytest.mark.parametrize("draws", [3, 9, 30, 505])
@pytest.mark.parametrize(("seed", "middle"), [(24, (1, 1)), (2, (1, 2)), (6, (2, 0))])
def test_the_critical_value_is_settled_in_two_rounds_on_the_comparison_of_middle_error(
    draws: int, seed: int, middle: tuple[int, int]
) -> None:
    sections = three_sections(seed)
    expected, place = by_hand(sections, draws, 5)
    assert place == middle
    assert max_t(sections, np.random.default_rng(5), draws).critical == expected


def three_sections(seed: int) -> list[Section]:
    return [
        section(seed, (("v0", "base"), ("v2", "v1"))),
        section(seed + 100, (("v1", "base"), ("v0", "v2"), ("v2", "base")), 0.1),
        section(seed + 200, (("v2", "base"),), 0.3),
    ]


def test_of_equal_errors_the_first_comparisons_stand_first() -> None:
    made = section(1, (("v0", "base"), ("again", "base"), ("v2", "v1")) * 4)
    sections = [replace(made, answers={**made.answers, "again": made.answers["v0"]})]
    assert len(set(permutation._Dealer(sections[0]).errors)) == 2
    assert max_t(sections, np.random.default_rng(5), 60).critical == by_hand(sections, 60, 5)[0]


def test_the_power_that_is_asked_for_is_eighty_percent() -> None:
    assert pytest.approx(stats.norm.ppf(0.8), abs=5e-5) == permutation.POWER_QUANTILE


def test_a_row_against_itself_has_no_error() -> None:
    made = section(2, (("again", "v0"), ("v0", "base"), ("v0", "v0")))
    made = replace(made, answers={**made.answers, "again": made.answers["v0"]})
    dealer = permutation._Dealer(made)
    assert dealer.errors[[0, 2]].tolist() == [0, 0]
    assert dealer.errors[1] > 0
    found = max_t([made], draws=40)
    assert found.single[0][[0, 2]].tolist() == found.adjusted[0][[0, 2]].tolist() == [1, 1]


def test_without_a_generator_the_seed_is_0() -> None:
    made = [section(3, (("v0", "base"), ("v2", "v1")))]
    first, second, other = (max_t(made, rng, 200) for rng in (None, *map(np.random.default_rng, (0, 1))))
    assert (first.single[0].tolist(), first.critical) == (second.single[0].tolist(), second.critical)
    assert first.critical != other.critical


def test_no_difference_and_no_error_make_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = permutation._ratio(np.array([0.0, 1e-13, 1.0, -3.0]), np.array([0.0, 0.0, 0.0, 4.0]))
    assert found.tolist() == [0.0, 0.0, math.inf, -1.5]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_answer_that_is_no_number_is_refused(value: float) -> None:
    answers = {"v0": [[1, value], [0, 1]], "v1": [[1, 0], [0, 1]]}
    with pytest.raises(ValueError, match="v0: answers must be numbers"):
        max_t([Section(answers, [0, 0], (("v1", "v0"),))], draws=3)


def test_runs_with_equal_means_make_no_warning() -> None:
    answers = {"base": np.tile([1.0, 1, 0, 0], (2, 1)), "v0": np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert permutation._Dealer(Section(answers, np.zeros(4), (("v0", "base"),)))._of_runs == 0
