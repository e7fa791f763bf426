"""Advantages against their closed forms, for every scale and baseline, and what calibration changes in them."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ilr_bench.method.advantages import CHANGE_THRESHOLD, Standardised, changed, compute_advantages, group_advantages
from ilr_bench.method.calibration import perception_calibration, uncalibrated

REWARDS = [
    np.array([[1.1, 0.1, 0.35, 0.6], [0.1, 0.1, 0.1, 0.1]]),
    np.array([[0.6, 0.5, 0.5, 0.6], [1.1, 0.1, 0.1, 1.1]]),
]
batches = arrays(np.float64, (3, 2, 4), elements=st.sampled_from([0.0, 0.1, 0.35, 0.6, 1.1]))


@given(batches)
def test_the_group_scale_is_the_sample_z_score(rewards):
    advantages = group_advantages(rewards)
    for index in np.ndindex(3, 2):
        group = rewards[index]
        expected = np.zeros(4) if np.ptp(group) == 0 else scipy.stats.zscore(group, ddof=1)
        np.testing.assert_allclose(advantages[index], expected, atol=1e-9)


@given(batches)
def test_a_baseline_over_agents_standardises_their_pooled_answers(rewards):
    advantages = group_advantages(rewards, baseline="agents")
    for question in range(3):
        pool = rewards[question].ravel()
        expected = np.zeros(8) if np.ptp(pool) == 0 else scipy.stats.zscore(pool, ddof=1)
        np.testing.assert_allclose(advantages[question].ravel(), expected, atol=1e-9)


@given(batches)
def test_without_a_scale_advantages_are_centred_rewards(rewards):
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(group_advantages(rewards, scale="none"), centred, atol=1e-12)


@given(batches)
def test_the_batch_scale_divides_centred_groups_by_one_deviation(rewards):
    advantages = group_advantages(rewards, scale="batch")
    deviation = rewards.std(ddof=1)
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    expected = centred / deviation if np.ptp(rewards) else centred * 0
    np.testing.assert_allclose(advantages, expected, atol=1e-9)


@given(batches)
def test_a_baseline_over_the_batch_centres_the_whole_batch(rewards):
    advantages = group_advantages(rewards, scale="none", baseline="batch")
    np.testing.assert_allclose(advantages, rewards - rewards.mean(), atol=1e-12)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_flat_group_teaches_nothing(scale):
    rewards = np.array([[0.1, 0.1, 0.1], [0.0, 1.0, 0.3]])
    assert (group_advantages(rewards, scale)[0] == 0).all()


def test_a_flat_group_learns_from_its_peers_under_a_baseline_over_agents():
    rewards = np.array([[[1.0, 1.0], [0.0, 0.0]]])
    assert (group_advantages(rewards, baseline="agents")[0, 0] > 0).all()


def test_a_single_answer_has_no_advantage():
    assert group_advantages([[1.0]]).tolist() == [[0.0]]


def test_a_group_counts_as_changed_above_the_threshold_only():
    before = np.zeros((2, 3))
    after = np.array([[0.0, 0.0009, 0.0], [0.0, 0.0011, 0.0]])
    assert changed(before, after).tolist() == [False, True]


def test_without_a_baseline_rewards_stay_as_they_are_in_an_array_of_their_own():
    rewards = np.array([[0.1, 0.1], [0.0, 1.0]])
    for scale in ("group", "batch", "none"):
        left = group_advantages(rewards, scale, "none")
        np.testing.assert_array_equal(left, rewards)
        assert not np.shares_memory(left, rewards)


def test_a_baseline_over_agents_needs_their_axis():
    with pytest.raises(ValueError, match="agents"):
        group_advantages([1.0, 0.0], baseline="agents")
    assert group_advantages([[1.0, 0.0]], "none", "agents").tolist() == [[0.5, -0.5]]


def test_a_baseline_over_the_batch_with_the_scale_of_the_batch_is_the_z_score_of_all():
    rewards = np.array([[0.1, 0.1, 0.4], [0.0, 1.0, 0.3]])
    expected = scipy.stats.zscore(rewards, ddof=1, axis=None)
    for scale in ("group", "batch"):
        np.testing.assert_allclose(group_advantages(rewards, scale, "batch"), expected)


def test_two_answers_are_enough_for_a_deviation_and_one_in_a_batch_is_none():
    np.testing.assert_allclose(group_advantages([[1.0, 0.0]]), [[0.5**0.5, -(0.5**0.5)]])
    assert group_advantages([[1.0]], "batch", "batch").tolist() == [[0.0]]


def test_a_group_moved_exactly_by_the_threshold_counts_as_unchanged():
    assert changed(np.zeros(2), np.array([CHANGE_THRESHOLD, 0.0])).tolist() is False
    assert changed(np.zeros((2, 2)), np.array([[0.0, -0.002], [0.0009, 0.0009]])).tolist() == [True, False]


def test_where_nothing_can_be_learnt_nothing_is_divided_by():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert group_advantages([[1.0], [0.0]]).tolist() == [[0.0], [0.0]]
        assert group_advantages([[0.5, 0.5], [0.5, 0.5]]).tolist() == [[0.0, 0.0], [0.0, 0.0]]
        assert group_advantages([[0.5, 0.5]], "batch").tolist() == [[0.0, 0.0]]


def test_a_single_group_needs_no_further_axis():
    np.testing.assert_allclose(group_advantages([1.0, 0.0]), [0.5**0.5, -(0.5**0.5)])


def test_advantages_that_stay_are_unchanged_however_large():
    assert changed(np.array([[1.0, -1.0]]), np.array([[1.0, -1.0]])).tolist() == [False]
    assert changed(np.array([[1.0, -1.0]]), np.array([[-1.0, 1.0]])).tolist() == [True]


def test_every_group_is_calibrated_with_its_peers_rewards_on_the_same_question():
    advantage_batches = compute_advantages(REWARDS, perception_calibration, Standardised())
    for question in range(2):
        expected = perception_calibration(REWARDS[0][question], [REWARDS[1][question]])
        np.testing.assert_allclose(advantage_batches[0].calibrated[question], expected.rewards)
        np.testing.assert_allclose(advantage_batches[0].advantages[question], group_advantages(expected.rewards))


def test_the_effect_of_calibration_is_what_it_did_to_the_advantages():
    first, second = compute_advantages(REWARDS, perception_calibration, Standardised())
    assert first.changed.tolist() == [True, False]
    assert first.clipped.mean() > 0
    assert second.flat_peers.tolist() == [False, True]


def test_without_calibration_nothing_changes_and_nothing_is_clipped():
    for advantage_batch in compute_advantages(REWARDS, uncalibrated, Standardised()):
        assert advantage_batch.clipped.size == 0
        assert not advantage_batch.changed.any()
        np.testing.assert_array_equal(advantage_batch.rewards, advantage_batch.calibrated)


def test_two_reward_levels_are_equal_by_theorem_with_and_without_calibration():
    rng = np.random.default_rng(0)
    rewards = [rng.integers(0, 2, (50, 8)).astype(float) for _ in range(3)]
    for advantage_batch in compute_advantages(rewards, perception_calibration, Standardised()):
        assert not advantage_batch.changed.any()


def test_agents_may_have_groups_of_different_size_under_their_own_baseline():
    rewards = [REWARDS[0], REWARDS[1][:, :2]]
    advantage_batches = compute_advantages(rewards, perception_calibration, Standardised())
    assert [advantage_batch.advantages.shape for advantage_batch in advantage_batches] == [(2, 4), (2, 2)]


def test_a_baseline_over_agents_pools_both_groups_of_a_question():
    advantage_batches = compute_advantages(REWARDS, uncalibrated, Standardised(baseline="agents"))
    pooled = np.concatenate([advantage_batch.advantages[1] for advantage_batch in advantage_batches])
    assert pooled.sum() == pytest.approx(0, abs=1e-9)
    assert (advantage_batches[0].advantages[1] < 0).all()


def test_each_of_three_agents_is_calibrated_by_the_two_others():
    rewards = [REWARDS[0], REWARDS[1], np.array([[0.0, 1.0, 0.2, 0.7], [0.3, 0.1, 0.6, 0.6]])]
    advantage_batches = compute_advantages(rewards, perception_calibration, Standardised())
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
    advantage_batches = compute_advantages(REWARDS, uncalibrated, Standardised(scale=scale, baseline=baseline))
    for agent, advantage_batch in enumerate(advantage_batches):
        if baseline == "agents":
            expected = group_advantages(np.stack(REWARDS, axis=1), scale, baseline)[:, agent]
        else:
            expected = group_advantages(REWARDS[agent], scale, baseline)
        np.testing.assert_allclose(advantage_batch.advantages, expected)
