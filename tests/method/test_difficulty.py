"""Self-ranking: batches, broken rankings, and the mean normalised rank."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import scripted_agent

from ilr_bench.core.config import DifficultySettings
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.engine import SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.method.difficulty import Rankings, joint_difficulty, mean_ranks, ranking_batches, self_rank, solve_rates
from ilr_bench.tasks.types import Question


@given(count=st.integers(2, 60), size=st.integers(2, 8), shuffles=st.integers(1, 4))
def test_every_shuffle_ranks_every_question_once_in_batches_of_at_least_two(count, size, shuffles):
    batches = ranking_batches(count, DifficultySettings(batch_size=size, shuffles=shuffles), seed=0)
    assert min(map(len, batches)) >= 2
    per_shuffle = len(batches) // shuffles
    for shuffle in range(shuffles):
        indices = np.concatenate(batches[shuffle * per_shuffle : (shuffle + 1) * per_shuffle])
        assert sorted(indices) == list(range(count))


def test_perfect_rankings_order_questions_by_their_true_difficulty():
    truth = np.random.default_rng(1).permutation(40)
    batches = ranking_batches(40, DifficultySettings(batch_size=4, shuffles=20), seed=3)
    orders = [tuple(np.argsort(truth[batch])) for batch in batches]
    ranks = mean_ranks(40, batches, orders)
    assert np.corrcoef(ranks.difficulty, truth)[0, 1] > 0.9
    assert (ranks.valid, ranks.invalid) == (200, 0)


def test_normalised_ranks_run_from_zero_for_the_easiest_to_one_for_the_hardest():
    ranks = mean_ranks(3, [np.array([2, 0, 1])], [(1, 0, 2)])
    assert ranks.difficulty.tolist() == [0.0, 1.0, 0.5]


def test_a_broken_ranking_is_counted_and_ignored():
    batches = [np.array([0, 1]), np.array([2, 3])]
    ranks = mean_ranks(4, batches, [(0, 1), None])
    assert np.isnan(ranks.difficulty).tolist() == [False, False, True, True]
    assert (ranks.valid, ranks.invalid) == (1, 1)


def test_a_question_without_a_ranking_takes_the_other_agents_value_else_a_half():
    first = Rankings(np.array([0.0, np.nan, np.nan]), 1, 0)
    second = Rankings(np.array([0.5, 1.0, np.nan]), 1, 0)
    assert joint_difficulty([first, second]).tolist() == pytest.approx([0.25, 1.0, 0.5])


def test_a_solve_rate_is_the_share_of_right_answers_among_the_samples():
    def reply(prompt, number):
        return f"\\boxed{{{2 if number < int(prompt[0]) else 9}}}"

    agent = scripted_agent("A", reply)
    questions = [Question(f"q{right}", f"{right} of four", "2") for right in (0, 1, 4)]
    with Grader() as grader:
        rates = solve_rates(agent, questions, 4, SamplingOptions(64, 1.0), grader, seed=0)
    assert rates.tolist() == [0.0, 0.25, 1.0]
    assert agent.engine.heard == ["0 of four", "1 of four", "4 of four"]
    (call,) = agent.engine.calls
    assert (call.samples, call.options) == ((4, 4, 4), SamplingOptions(64, 1.0))
    assert call.seed == derive_seed(0, "solve")


def test_an_agent_ranks_every_batch_in_its_own_words():
    def reply(prompt, number):
        rows = [row.split(") ") for row in prompt.splitlines()[:-1]]
        return "text : " + " ".join(letter for letter, question in sorted(rows, key=lambda row: int(row[1])))

    agent, settings = scripted_agent("A", reply), DifficultySettings(batch_size=3, shuffles=2)
    questions = [Question(f"q{index}", str(10 * index), "") for index in range(7)]
    ranks = self_rank(agent, questions, settings, SamplingOptions(24, 0.0), seed=5)
    batches = ranking_batches(7, settings, seed=5)
    assert agent.engine.heard == [agent.style.rank([questions[index].text for index in batch]) for batch in batches]
    (call,) = agent.engine.calls
    assert (call.samples, call.options) == ((1,) * 4, SamplingOptions(24, 0.0))
    assert call.seed == derive_seed(5, "rank")
    assert (ranks.valid, ranks.invalid) == (4, 0)
    expected = np.zeros(7)
    for batch in batches:
        for rank, index in enumerate(sorted(batch)):
            expected[index] += rank / (len(batch) - 1) / 2
    assert ranks.difficulty == pytest.approx(expected)


def test_batches_come_from_shuffles_that_the_seed_decides():
    batches = ranking_batches(7, DifficultySettings(batch_size=3, shuffles=2), seed=5)
    orders = [np.random.default_rng(derive_seed(5, "ranking", shuffle)).permutation(7) for shuffle in range(2)]
    assert [batch.tolist() for batch in batches] == [
        part.tolist() for order in orders for part in (order[:4], order[4:])
    ]
    assert [len(batch) for batch in ranking_batches(2, DifficultySettings(batch_size=3, shuffles=1), seed=5)] == [2]
    (one,) = ranking_batches(5, DifficultySettings(batch_size=3, shuffles=1), seed=0)
    assert len(one) == 5
