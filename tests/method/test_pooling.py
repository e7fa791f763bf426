"""What a peer solved joins an agent's own group, in the agent's own tokens."""

import numpy as np
import pytest
from scripted import scripted_agent

import ablations
from ilr_bench.core.config import change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.core.validation import validate
from ilr_bench.grading.math import Grader
from ilr_bench.method.advantages import ESTIMATORS, compute_advantages, group_advantages
from ilr_bench.method.calibration import CALIBRATIONS
from ilr_bench.method.idea3 import StepBatch, share
from ilr_bench.method.pooling import pool_successes
from ilr_bench.method.rewards import Rollouts, Verified, rewards_of, score_turns
from ilr_bench.tasks.types import Question

CONFIG = ablations.get("peer_pooling")(profile("micro"))
QUESTIONS = (Question("q0", "1+1", "2"), Question("q1", "2+2", "4"))


def says(*answers):
    return lambda prompt, number: f"\\boxed{{{answers[number]}}}"


def meet(*speakers, limit=64, styles=("micro",) * 3, samples=2):
    """`samples` answers of each agent on each question, and what pooling makes of them."""
    config = change(CONFIG, {"sampling.max_new_tokens": limit})
    agents = [
        scripted_agent(f"agent{n}", reply, offset=1000 * n, style=styles[n]) for n, reply in enumerate(speakers)
    ]  # fmt: skip
    cooperation = np.ones((len(agents), len(QUESTIONS)), dtype=bool)
    batch = StepBatch(agents, QUESTIONS, cooperation, config.sampling, seed=0)
    turns = {"sharing": share(batch, [samples] * len(agents))}
    with Grader() as grader:
        scores = {"sharing": score_turns(batch, turns["sharing"], Verified(), grader)}
    advantage_batches = compute_advantages(
        rewards_of(scores["sharing"]), CALIBRATIONS.of(config), ESTIMATORS.of(config)
    )
    rollouts = Rollouts(batch, np.arange(len(QUESTIONS)), turns, scores)
    return rollouts, advantage_batches, pool_successes(config, rollouts, advantage_batches)


def test_right_answers_of_the_peers_join_the_group_and_wrong_ones_do_not():
    _, _, pooled = meet(says("0", "0"), says("2", "9"))
    (borrowed,) = pooled.borrowed[0]
    expected = group_advantages([0.1, 0.1, 1.1])
    assert pooled.advantage_batches[0].advantages[0] == pytest.approx(expected[:2])
    assert borrowed.credit == pytest.approx(expected[2])
    assert pooled.borrowed[1] == []


def test_all_own_answers_of_a_group_keep_their_place_before_the_borrowed_ones():
    _, _, pooled = meet(says("0", "2", "0"), says("2", "2", "9"), samples=3)
    expected = group_advantages([0.1, 1.1, 0.1, 1.1, 1.1])
    assert pooled.advantage_batches[0].advantages[0] == pytest.approx(expected[:3])
    assert [turn.credit for turn in pooled.borrowed[0]] == pytest.approx(expected[3:])


def test_who_has_nothing_to_borrow_keeps_the_own_advantages():
    _, advantage_batches, pooled = meet(says("0", "0"), says("2", "9"))
    np.testing.assert_array_equal(pooled.advantage_batches[1].advantages, advantage_batches[1].advantages)
    assert (pooled.advantage_batches[0].advantages[1] == 0).all()  # nobody solved the second question


def test_a_borrowed_text_is_in_the_own_tokens_after_the_own_prompt_and_without_a_sampler():
    rollouts, _, pooled = meet(says("0", "0"), says("2", "9"))
    (borrowed,) = pooled.borrowed[0]
    assert rollouts.batch.agents[0].decode(borrowed.completion_ids) == "\\boxed{2}"
    assert max(borrowed.completion_ids) < 1000 <= min(rollouts.turns["sharing"][1][0][0].completion.token_ids)
    assert borrowed.prompt_ids == rollouts.turns["sharing"][0][0][0].prompt.ids
    assert borrowed.logprobs is None
    assert (borrowed.question, borrowed.stage) == ("q0", "sharing")


def test_three_agents_borrow_from_each_other_and_nobody_from_themselves():
    _, _, pooled = meet(says("2", "2"), says("2", "9"), says("9", "9"))
    assert [len(turns) for turns in pooled.borrowed] == [1, 2, 3]


def test_a_text_that_does_not_fit_or_was_cut_is_left_out():
    _, _, pooled = meet(says("0", "0"), lambda prompt, number: "\\boxed{2} " + 40 * "x", limit=20)
    assert pooled.borrowed[0] == []


@pytest.mark.parametrize(("limit", "borrowed"), [(9, 0), (10, 1)])
def test_a_text_may_fill_the_limit_in_the_own_tokens_and_not_pass_it(limit, borrowed):
    # Nine letters, and in the agent's own style a line break after them.
    _, _, pooled = meet(says("0", "0"), says("2", "9"), limit=limit, styles=("fewshot", "micro"))
    assert len(pooled.borrowed[0]) == borrowed


def test_advantages_over_a_joined_group_have_the_scale_of_the_configuration():
    rollouts, advantage_batches, _ = meet(says("0", "0"), says("2", "9"))
    pooled = pool_successes(change(CONFIG, {"advantages.scale": "none"}), rollouts, advantage_batches)
    assert pooled.advantage_batches[0].advantages[0] == pytest.approx([0.1 - 1.3 / 3] * 2)
    assert pooled.borrowed[0][0].credit == pytest.approx(1.1 - 1.3 / 3)


def test_every_question_has_a_group_of_its_own():
    right_on = {"1+1": "2", "2+2": "4"}
    _, _, pooled = meet(says("0", "0"), lambda prompt, number: f"\\boxed{{{right_on[prompt] if number else 9}}}")
    assert [turn.question for turn in pooled.borrowed[0]] == ["q0", "q1"]
    assert (pooled.advantage_batches[0].advantages < 0).all()


def test_a_style_that_ends_its_turns_by_a_string_gets_it_back():
    _, _, pooled = meet(
        says("0", "0"), lambda prompt, number: " 2\n" if number else " 2\nmore", styles=("fewshot",) * 2
    )
    agent = scripted_agent("A", says())
    assert [agent.tokenizer.decode(turn.completion_ids) for turn in pooled.borrowed[0]] == [" 2\n", " 2\n"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantages.baseline": "batch"}, "advantages.baseline=group"),
        ({"advantages.scale": "batch"}, "advantages.scale=group"),
        ({"calibration.kind": "perception"}, "calibration.kind=none"),
    ],
)
def test_settings_under_which_groups_cannot_be_joined_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        validate(change(CONFIG, changes))
