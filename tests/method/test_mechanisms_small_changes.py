"""Under which names, settings and entry points the method's mechanisms are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.method.advantages import ESTIMATORS, agent_advantages
from ilr_bench.method.calibration import CALIBRATIONS, Calibrated, calibrate_group
from ilr_bench.method.interaction import RULES, Coin, ItemResponse, Situation, cooperation
from ilr_bench.method.rewards import REWARDS, Graded, Score, Verified, accuracy_by_question
from ilr_bench.method.stages import STAGES
from ilr_bench.storage.records import Verdict


@pytest.mark.parametrize(
    ("registry", "kind", "setting", "group"),
    [
        (CALIBRATIONS, "calibration", "calibration.kind", "ilr_bench.calibrations"),
        (RULES, "interaction rule", "interaction.rule", "ilr_bench.rules"),
        (ESTIMATORS, "advantage estimator", "advantages.kind", "ilr_bench.advantages"),
        (REWARDS, "reward", "reward.kind", "ilr_bench.rewards"),
        (STAGES, "stage", "discussion.stages", "ilr_bench.stages"),
    ],
)
def test_mechanisms_are_found_by_setting_and_by_entry_point(registry: Any, kind: str, setting: str, group: str) -> None:
    assert (registry.setting, registry._group) == (setting, group)
    with pytest.raises(ConfigurationError, match=f"^unknown {kind} 'nobody'"):
        registry.get("nobody")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.ones((2, 3)), r"float64 of shape \(2, 3\) came back"),
        (np.ones((3, 2), dtype=bool), r"bool of shape \(3, 2\) came back"),
        (np.ones((2, 1)), r"float64 of shape \(2, 1\) came back"),
    ],
)
def test_a_rule_returns_true_or_false_for_every_agent_and_question(found: Any, said: str) -> None:
    situation = Situation(np.zeros(2), np.zeros(3), np.zeros(3), np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match=said):
        cooperation(lambda _: found, situation)
    assert cooperation(lambda _: np.ones((2, 3), dtype=bool), situation).all()


def test_rules_without_settings_are_the_papers_and_a_fair_coin() -> None:
    assert ItemResponse().disagreement == "own"
    situation = Situation(np.zeros(2), np.zeros(900), np.zeros(900), np.random.default_rng(0))
    found = cooperation(Coin(), situation)
    assert 400 < found[0].sum() < 500
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("bad", [[1.0], [1.0, 2.0, 3.0], [1.0, np.nan], [np.inf, 1.0], [[1.0, 2.0]]])
def test_a_calibration_returns_as_many_finite_numbers(bad: Any) -> None:
    own = np.array([0.0, 1.0])
    with pytest.raises(ConfigurationError, match=r"calibration\.kind: .* came back for 2 rewards"):
        calibrate_group(lambda own, peers: np.array(bad), own, [own])
    found = calibrate_group(lambda own, peers: [3, 4], own, [own])  # type: ignore[arg-type, return-value]
    assert found.rewards.tolist() == [3.0, 4.0]
    assert (found.clipped.shape, found.flat_peers.shape) == ((0, 0), (0,))


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan], [3.0, 4.0]]])
def test_an_estimator_returns_a_finite_advantage_for_every_reward(bad: Any) -> None:
    rewards = [np.array([[1.0, 2.0], [3.0, 4.0]])]
    with pytest.raises(ConfigurationError, match=r"advantages\.kind: shapes"):
        agent_advantages(rewards, lambda given: [np.array(bad)])
    assert agent_advantages(rewards, lambda given: [[[1, 2], [3, 4]]])[0].tolist() == rewards[0].tolist()  # type: ignore[list-item, return-value]


def test_no_agent_may_be_given_an_advantage_that_is_not_finite() -> None:
    rewards = [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]
    for broken in (0, 1):
        made = [np.full((1, 2), np.nan) if agent == broken else rewards[agent] for agent in (0, 1)]
        with pytest.raises(ConfigurationError, match="numbers that are not finite"):
            agent_advantages(rewards, lambda given, made=made: made)  # type: ignore[misc]


def test_a_calibration_is_given_own_rewards_first_and_may_tell_more_than_rewards() -> None:
    own, peers = np.array([0.0, 1.0]), [np.array([5.0, 6.0, 7.0])]
    told = Calibrated(own + 1, np.ones((1, 2), dtype=bool), np.ones(1, dtype=bool))

    def calibration(mine: Any, others: Any) -> Calibrated:
        assert mine is own
        assert others is peers
        return told

    assert calibrate_group(calibration, own, peers) is told


def test_accuracy_is_the_fraction_of_right_answers_by_agent_and_question() -> None:
    right, wrong, missing = (Score(verdict, 0.3) for verdict in (Verdict.CORRECT, Verdict.WRONG, Verdict.MISSING))
    found = accuracy_by_question([[[right, wrong, wrong, missing], [right]], [[wrong], [right, right, missing]]])
    np.testing.assert_allclose(found, [[0.25, 1.0], [0.0, 2 / 3]])


def test_rewards_without_settings() -> None:
    assert (Verified().format_weight, Graded().format_weight, Graded().step_weight) == (0.1, 0.1, 0.5)
