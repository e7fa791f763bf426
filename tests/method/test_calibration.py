"""Equation (5): the published form's test vectors, and when it can change an advantage at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.method.advantages import group_advantages
from ilr_bench.method.calibration import CALIBRATIONS, perception_calibration, uncalibrated

VECTORS = [
    ([1, 0, 0, 1], [[1, 1, 0, 0]], [1.5, -0.5, -0.5, 1.5]),
    ([1, 0], [[1, 1]], [1, 0]),
    ([3, 0], [[1, 0]], [4, -0.5]),
    ([1, 0, 0.5, 0], [[1, 0, 0, 0], [0, 0, 0, 1]], [2, -0.5, 1, -0.5]),
    ([1, 0], [], [1, 0]),
]
rewards = st.lists(st.floats(0, 2).map(lambda value: round(value, 2)), min_size=2, max_size=8)


@pytest.mark.parametrize(("own", "peers", "expected"), VECTORS)
def test_calibration_gives_the_rewards_of_the_test_vectors(own, peers, expected):
    np.testing.assert_allclose(perception_calibration(own, peers).rewards, expected, atol=1e-12)


def test_a_term_outside_its_bounds_is_reported_as_clipped():
    calibrated = perception_calibration([3, 0], [[1, 0]])
    assert calibrated.clipped.tolist() == [[True, False]]


def test_a_flat_peer_contributes_nothing_and_is_counted():
    calibrated = perception_calibration([1, 0], [[1, 1], [1, 0]])
    assert calibrated.flat_peers.tolist() == [True, False]
    np.testing.assert_allclose(calibrated.rewards, [1.5, -0.5])


def test_a_reward_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        perception_calibration([1, float("nan")], [[1, 0]])


@given(own=rewards, peers=st.lists(rewards, min_size=1, max_size=3))
def test_without_an_active_clip_group_advantages_do_not_change(own, peers):
    calibrated = perception_calibration(own, peers)
    if not calibrated.clipped.any():
        np.testing.assert_allclose(group_advantages(calibrated.rewards), group_advantages(own), atol=1e-6)


@given(
    own=st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=8),
    peers=st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=8), min_size=1, max_size=3),
)
def test_two_reward_levels_leave_group_advantages_alone_even_when_clipped(own, peers):
    calibrated = perception_calibration(own, peers)
    np.testing.assert_allclose(group_advantages(calibrated.rewards), group_advantages(own), atol=1e-9)


@given(own=rewards, peers=st.lists(rewards, min_size=1, max_size=3))
def test_calibration_keeps_the_order_of_a_group(own, peers):
    calibrated = perception_calibration(own, peers).rewards
    order = np.argsort(own, kind="stable")
    assert (np.diff(calibrated[order]) >= -1e-12).all()


def test_three_reward_levels_and_a_clip_change_advantages():
    own, peer = [1.1, 0.6, 0.1], [0.6, 0.5, 0.55]
    before, after = group_advantages(own), group_advantages(perception_calibration(own, [peer]).rewards)
    assert np.abs(before - after).max() > 1e-3


def test_uncalibrated_rewards_are_the_rewards_without_terms_or_peers():
    left_alone = uncalibrated([1, 0], [[0, 1]])
    assert left_alone.rewards.tolist() == [1, 0]
    assert left_alone.clipped.shape == (0, 2)
    assert left_alone.flat_peers.shape == (0,)


def test_a_peer_without_rewards_is_refused_and_one_with_a_single_reward_is_flat():
    with pytest.raises(ValueError, match="without rewards"):
        perception_calibration([1, 0], [[1, 0], []])
    calibrated = perception_calibration([1, 0], [[1]])
    assert calibrated.flat_peers.tolist() == [True]
    assert calibrated.rewards.tolist() == [1, 0]


def test_a_flat_peer_has_no_clipped_term():
    assert perception_calibration([5, -5], [[1, 1], [1, 0]]).clipped.tolist() == [[False, False], [True, True]]


def test_a_term_exactly_at_its_bound_is_not_clipped():
    # (1 - 0) / (1 - (-1)) = 1/2 with two peers.
    assert perception_calibration([1], [[1, -1], [1, -1]]).clipped.tolist() == [[False], [False]]


def test_configurations_name_the_calibrations():
    named = {name: CALIBRATIONS.get(name) for name in CALIBRATIONS.names()}
    assert named == {"perception": perception_calibration, "none": uncalibrated}
