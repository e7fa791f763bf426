"""From verdicts to lessons: what calibration changes, and what each stage is paid."""

import numpy as np
import pytest

from ilr_bench.core.config import AdvantageSettings, CalibrationSettings
from ilr_bench.method.advantages import group_advantages
from ilr_bench.method.calibration import perception_calibration
from ilr_bench.method.outcomes import analysis_rewards, compute_advantages

REWARDS = [
    np.array([[1.1, 0.1, 0.35, 0.6], [0.1, 0.1, 0.1, 0.1]]),
    np.array([[0.6, 0.5, 0.5, 0.6], [1.1, 0.1, 0.1, 1.1]]),
]


def test_every_group_is_calibrated_with_its_peers_rewards_on_the_same_question():
    advantage_batches = compute_advantages(REWARDS, CalibrationSettings(), AdvantageSettings())
    for question in range(2):
        expected = perception_calibration(REWARDS[0][question], [REWARDS[1][question]])
        np.testing.assert_allclose(advantage_batches[0].calibrated[question], expected.rewards)
        np.testing.assert_allclose(advantage_batches[0].advantages[question], group_advantages(expected.rewards))


def test_the_effect_of_calibration_is_what_it_did_to_the_advantages():
    first, second = compute_advantages(REWARDS, CalibrationSettings(), AdvantageSettings())
    assert first.changed.tolist() == [True, False]
    assert first.clipped.mean() > 0
    assert second.flat_peers.tolist() == [False, True]


def test_without_calibration_nothing_changes_and_nothing_is_clipped():
    for advantage_batch in compute_advantages(REWARDS, CalibrationSettings(kind="none"), AdvantageSettings()):
        assert advantage_batch.clipped.size == 0
        assert not advantage_batch.changed.any()
        np.testing.assert_array_equal(advantage_batch.rewards, advantage_batch.calibrated)


def test_two_reward_levels_are_equal_by_theorem_with_and_without_calibration():
    rng = np.random.default_rng(0)
    rewards = [rng.integers(0, 2, (50, 8)).astype(float) for _ in range(3)]
    for advantage_batch in compute_advantages(rewards, CalibrationSettings(), AdvantageSettings()):
        assert not advantage_batch.changed.any()


def test_agents_may_have_groups_of_different_size_under_their_own_baseline():
    rewards = [REWARDS[0], REWARDS[1][:, :2]]
    advantage_batches = compute_advantages(rewards, CalibrationSettings(), AdvantageSettings())
    assert [advantage_batch.advantages.shape for advantage_batch in advantage_batches] == [(2, 4), (2, 2)]


def test_a_baseline_over_agents_pools_both_groups_of_a_question():
    advantage_batches = compute_advantages(
        REWARDS, CalibrationSettings(kind="none"), AdvantageSettings(baseline="agents")
    )
    pooled = np.concatenate([advantage_batch.advantages[1] for advantage_batch in advantage_batches])
    assert pooled.sum() == pytest.approx(0, abs=1e-9)
    assert (advantage_batches[0].advantages[1] < 0).all()


def test_an_analysis_earns_the_mean_of_the_fusions_in_its_dialogue():
    fusion = [np.array([[1.0, 0.0, 0.5, 0.5]])]
    assert analysis_rewards(fusion, dialogues=2)[0].tolist() == [[0.5, 0.5]]
    assert analysis_rewards(fusion, dialogues=4)[0].tolist() == [[1.0, 0.0, 0.5, 0.5]]


def test_each_of_three_agents_is_calibrated_by_the_two_others():
    rewards = [REWARDS[0], REWARDS[1], np.array([[0.0, 1.0, 0.2, 0.7], [0.3, 0.1, 0.6, 0.6]])]
    advantage_batches = compute_advantages(rewards, CalibrationSettings(), AdvantageSettings())
    for agent in range(3):
        clips, flats = [], []
        for question in range(2):
            peers = [rewards[peer][question] for peer in range(3) if peer != agent]
            expected = perception_calibration(rewards[agent][question], peers)
            np.testing.assert_allclose(advantage_batches[agent].calibrated[question], expected.rewards)
            before, after = (group_advantages(values) for values in (rewards[agent][question], expected.rewards))
            np.testing.assert_allclose(advantage_batches[agent].advantage_change[question], after - before, atol=1e-12)
            clips += expected.clipped[~expected.flat_peers].ravel().tolist()
            flats += expected.flat_peers.tolist()
        assert advantage_batches[agent].clipped.tolist() == clips
        assert advantage_batches[agent].flat_peers.tolist() == flats
        np.testing.assert_array_equal(advantage_batches[agent].rewards, rewards[agent])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["group", "agents", "batch", "none"])
def test_advantages_have_the_scale_and_baseline_of_the_settings(scale, baseline):
    advantage_batches = compute_advantages(
        REWARDS, CalibrationSettings(kind="none"), AdvantageSettings(scale=scale, baseline=baseline)
    )
    for agent, advantage_batch in enumerate(advantage_batches):
        if baseline == "agents":
            expected = group_advantages(np.stack(REWARDS, axis=1), scale, baseline)[:, agent]
        else:
            expected = group_advantages(REWARDS[agent], scale, baseline)
        np.testing.assert_allclose(advantage_batch.advantages, expected)


def test_analyses_of_several_questions_are_paid_one_by_one():
    fusion = [np.array([[1.0, 0.0, 0.5, 0.7], [0.2, 0.4, 0.0, 1.0]]), np.array([[0.0, 0.0, 1.0, 1.0]] * 2)]
    first, second = analysis_rewards(fusion, dialogues=2)
    np.testing.assert_allclose(first, [[0.5, 0.6], [0.3, 0.5]])
    assert second.tolist() == [[0.0, 1.0]] * 2
