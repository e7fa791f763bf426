"""Who cooperates and who competes (method, section 1)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from ilr_bench.core.config import change
from ilr_bench.core.profiles import MICRO
from ilr_bench.method.interaction import (
    RULES,
    Mode,
    Situation,
    cooperates,
    cooperation,
    select_mode,
    success_probability,
)

unit = st.floats(0, 1)


@given(unit, unit)
def test_the_probability_is_the_logistic_function_of_the_margin(ability: float, difficulty: float) -> None:
    assert success_probability(ability, difficulty) == pytest.approx(expit(1.7 * (ability - difficulty)), abs=1e-15)


@given(unit, unit)
def test_the_rule_is_exactly_ability_below_difficulty(ability: float, difficulty: float) -> None:
    """Neither the sigmoid nor the constant touches the decision, but for margins that rounding swallows."""
    if ability == difficulty or abs(ability - difficulty) > 1e-12:
        assert bool(cooperates(ability, difficulty)) == (ability < difficulty)


def test_an_agent_as_able_as_the_question_is_hard_competes() -> None:
    assert select_mode(0.5, 0.5) is Mode.COMPETE
    assert select_mode(0.4, 0.5) is Mode.COOPERATE


def test_probability_and_mode_broadcast() -> None:
    ability, difficulty = np.array([[0.2], [0.9]]), np.array([0.1, 0.5, 1.0])
    assert success_probability(ability, difficulty).shape == (2, 3)
    assert select_mode(ability, difficulty).tolist() == [
        [Mode.COMPETE, Mode.COOPERATE, Mode.COOPERATE],
        [Mode.COMPETE, Mode.COMPETE, Mode.COOPERATE],
    ]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_extreme_margins_stay_probabilities(ability: float, difficulty: float) -> None:
    assert 0 <= success_probability(ability, difficulty) <= 1


ABILITY = np.array([0.2, 0.8])
DIFFICULTY = np.array([0.1, 0.4, 0.6, 0.9])
SHARES = np.array([0.75, 0.25])
"""Fractions of `DIFFICULTY` on which the rule has each agent cooperate."""


def choose(seed: int = 0, questions: np.ndarray = DIFFICULTY, **settings: object) -> np.ndarray:
    config = change(MICRO, {f"interaction.{key}": value for key, value in settings.items()})
    return cooperation(RULES.of(config), Situation(ABILITY, questions, DIFFICULTY, np.random.default_rng(seed)))


def test_each_agent_follows_its_own_verdict_unless_told_otherwise() -> None:
    assert choose().tolist() == [[False, True, True, True], [False, False, False, True]]
    assert choose(disagreement="any").tolist() == [[False, True, True, True]] * 2
    assert choose(disagreement="mean").tolist() == [[False, False, True, True]] * 2


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, False), (1.0, True)])
def test_the_ends_of_the_ratio_are_pure(ratio: float, expected: bool) -> None:
    assert (choose(rule="coin", cooperation_ratio=ratio) == expected).all()


def test_the_coin_falls_once_per_question_with_its_ratio() -> None:
    many = np.full(20_000, 0.5)
    verdicts = choose(rule="coin", cooperation_ratio=0.3, questions=many)
    assert (verdicts[0] == verdicts[1]).all()
    assert verdicts[0].mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / many.size))


def test_the_matched_coin_gives_each_agent_its_own_share_independently() -> None:
    many = np.full(20_000, 0.5)
    verdicts = choose(rule="matched_coin", questions=many)
    assert verdicts.mean(axis=1) == pytest.approx(SHARES, abs=4 * np.sqrt(0.1875 / many.size))
    assert np.corrcoef(verdicts)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(many.size))


def test_equal_seeds_give_equal_coins() -> None:
    first, again, other = (choose(seed, rule="matched_coin", questions=np.zeros(100)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_coin_without_a_ratio_is_fair() -> None:
    many = np.full(2_000, 0.5)
    fair = choose(rule="coin", questions=many)
    assert (fair == choose(rule="coin", cooperation_ratio=0.5, questions=many)).all()
    assert (fair == (np.random.default_rng(0).random(2_000) < 0.5)).all()


def test_modes_are_recorded_under_the_names_that_records_have_always_had() -> None:
    assert [mode.value for mode in Mode] == ["cooperate", "compete"]


def test_no_questions_have_no_modes() -> None:
    assert select_mode(np.zeros((2, 0)), np.zeros(0)).shape == (2, 0)


def test_the_verdicts_may_be_written_to() -> None:
    for settings in ({}, {"disagreement": "any"}, {"rule": "coin", "cooperation_ratio": 0.5}):
        choose(**settings)[:] = True
