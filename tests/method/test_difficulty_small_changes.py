"""Counts of rankings that were never asked for, and questions that no valid ranking holds."""

import numpy as np

from ilr_bench.method.difficulty import Rankings, mean_ranks


def test_who_was_not_asked_to_rank_has_neither_valid_nor_invalid_rankings():
    rankings = Rankings(np.array([0.5]))
    assert (rankings.valid, rankings.invalid) == (0, 0)


def test_a_question_in_no_valid_ranking_is_never_divided():
    with np.errstate(all="raise"):
        ranks = mean_ranks(3, [np.array([0, 1]), np.array([2])], [(1, 0), None])
    np.testing.assert_array_equal(ranks.difficulty, [1.0, 0.0, np.nan])
