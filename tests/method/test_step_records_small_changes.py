"""Step and dialogue records of a step whose every number was written by hand and differs between the agents."""

import numpy as np
from scripted import scripted_agent

from ilr_bench.core.config import SamplingSettings, change
from ilr_bench.core.profiles import profile
from ilr_bench.generation.agent import Prompt
from ilr_bench.generation.engine import Completion
from ilr_bench.learner.samples import StepMetrics
from ilr_bench.method.advantages import AdvantageBatch
from ilr_bench.method.idea3 import StepBatch, Turn
from ilr_bench.method.loop import calibrate
from ilr_bench.method.metrics import dialogue_records, step_record
from ilr_bench.method.rewards import Rollouts, Score
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question

QUESTIONS = (Question("q0", "1+1", "2"), Question("q1", "2+2", "4"))
CONFIG = profile("micro")
LEARNED = StepMetrics(1.0, 2.0, 3.0, 0.5, 7, 0, value_loss=0.25)


def turn(text, tokens, cut=0):
    return Turn(Prompt((1, 2), cut), Completion((5,) * tokens, np.zeros(tokens, dtype=np.float32), True), text)


def score(right):
    return Score(Verdict.CORRECT if right else Verdict.WRONG, float(right))


def turns_of(stage, agent, counts):
    """`counts[question]` turns, each as many tokens long as nobody else's."""
    return [
        [turn(f"{stage} {agent} {index} {n}", 1 + agent * 10 + index * 3 + n, cut=agent) for n in range(count)]
        for index, count in enumerate(counts)
    ]


def step(names=("A", "B"), peer_context="peers", sharing=((2, 2), (4, 4)), fusion=((2, 2), (2, 2)), moved=-0.5):
    """A step of two dialogues per question; agent 0 is right in fusion's first answers, agent 1 nowhere."""
    agents = [scripted_agent(name, lambda prompt, number: "") for name in names]
    cooperation = np.array([[True, False], [True, True]])[: len(names)]
    batch = StepBatch(agents, QUESTIONS, cooperation, SamplingSettings(), 0, peer_context)
    turns = {
        "sharing": [turns_of("sharing", agent, sharing[agent]) for agent in range(len(names))],
        "analysis": [turns_of("analysis", agent, (2, 2)) for agent in range(len(names))],
        "fusion": [turns_of("fusion", agent, fusion[agent]) for agent in range(len(names))],
    }
    scores = {
        stage: [
            [[score(agent == n == 0) for n in range(len(group))] for group in groups]
            for agent, groups in enumerate(turns[stage])
        ]
        for stage in ("sharing", "fusion")
    }  # fmt: skip
    batches = {
        stage: [
            AdvantageBatch(
                *(np.full((2, len(turns[stage][agent][0])), 0.25 * (agent + 1) * sign) for sign in (1, 2, 4)),
                np.full((2, 2), moved * (agent + 1)),
                np.array([agent == 0] * 3),
                np.array([agent == 1] * 2),
            )
            for agent in range(len(names))
        ]
        for stage in ("sharing", "fusion")
    }
    return Rollouts(batch, np.array([1, 0]), turns, scores), batches


def record(agent, rollouts, batches, borrowed=3, config=CONFIG):
    return step_record(
        config, rollouts, batches, LEARNED, agent, 4, np.array([0.1, 0.2]), [None, 0.75], borrowed
    )  # fmt: skip


def test_a_step_record_is_about_its_own_agent():
    rollouts, batches = step()
    first, second = (record(agent, rollouts, batches) for agent in (0, 1))
    assert (first.fusion_accuracy, second.fusion_accuracy) == (0.5, 0.0)
    assert (first.sharing_samples, second.sharing_samples) == (2, 4)
    assert (first.cut_prompts, second.cut_prompts) == (0, 16)
    assert first.sharing_tokens == 1 + 2 + 4 + 5
    assert second.sharing_tokens == 11 + 12 + 13 + 14 + 14 + 15 + 16 + 17
    assert first.sampled_tokens == 3 * first.sharing_tokens
    assert second.sampled_tokens == second.sharing_tokens + 2 * (11 + 12 + 14 + 15)
    assert (first.cooperation_share, second.cooperation_share) == (0.5, 1.0)
    assert (first.clipped_share, second.clipped_share) == (1.0, 0.0)
    assert (first.flat_peer_share, second.flat_peer_share) == (0.0, 1.0)
    assert (first.mean_advantage_change, second.mean_advantage_change) == (0.5, 1.0)
    assert (first.value_loss, first.borrowed_turns) == (0.25, 3)


def test_the_samples_of_a_step_are_counted_on_its_first_question():
    rollouts, batches = step(sharing=((2, 3), (4, 5)))
    assert [record(agent, rollouts, batches).sharing_samples for agent in (0, 1)] == [2, 4]


def test_a_group_is_flat_where_all_its_answers_have_no_advantage():
    rollouts, batches = step()
    batches["sharing"][0].advantages[0] = 0
    batches["fusion"][0].advantages[1, 0] = 0
    assert record(0, rollouts, batches).flat_groups == 1
    assert record(1, rollouts, batches).flat_groups == 0


def test_calibration_is_told_only_among_peers_and_a_mean_of_nothing_is_zero():
    alone, batches = step(names=("A",))
    assert record(0, alone, batches).clipped_share is None
    assert record(0, alone, batches).mean_advantage_change is None
    together, batches = step()
    empty = {
        stage: [
            AdvantageBatch(one.rewards, one.calibrated, one.advantages, one.advantage_change, np.zeros(0, dtype=bool),
                           np.zeros(0, dtype=bool))
            for one in by_agent
        ]
        for stage, by_agent in batches.items()
    }  # fmt: skip
    assert record(0, together, empty).clipped_share == 0.0
    uncalibrated = change(CONFIG, {"calibration.kind": "none"})
    assert record(0, together, batches, config=uncalibrated).clipped_share is None


def test_who_hears_only_itself_has_no_modes():
    rollouts, batches = step(peer_context="itself")
    assert record(0, rollouts, batches).cooperation_share is None


def test_a_dialogue_record_holds_each_agents_own_part_of_every_stage():
    rollouts, batches = step(fusion=((2, 2), (4, 4)))
    records = dialogue_records(rollouts, batches, np.array([0.25, 0.75]), 4)
    assert [(one.question_id, one.dialogue, one.difficulty) for one in records] == [
        ("q0", 0, 0.75), ("q0", 1, 0.75), ("q1", 0, 0.25), ("q1", 1, 0.25),
    ]  # fmt: skip
    for one in records:
        question = int(one.question_id[1:])
        parts = {"sharing": (1, 2), "analysis": (1, 1), "fusion": (1, 2)}
        assert [turn.text for turn in one.turns] == [
            f"{stage} {agent} {question} {n}"
            for stage, sizes in parts.items()
            for agent, size in enumerate(sizes)
            for n in range(one.dialogue * size, (one.dialogue + 1) * size)
        ]


def test_an_answer_of_a_question_with_more_samples_stands_in_its_own_questions_record():
    rollouts, _ = step(sharing=((2, 4), (2, 4)))
    del rollouts.turns["analysis"], rollouts.turns["fusion"]
    records = dialogue_records(rollouts, {}, np.array([0.25, 0.75]), 4)
    assert [len(one.turns) for one in records] == [4, 8]


def test_analyses_are_paid_by_their_answers_and_not_calibrated():
    rollouts, _ = step()
    config = change(CONFIG, {"discussion.trained_turns": "all", "discussion.dialogues_per_question": 2})
    rollouts.scores["fusion"] = [
        [[Score(Verdict.WRONG, value) for value in group] for group in groups]
        for groups in ([[0.0, 1.0], [0.5, 0.25]], [[0.75, 0.125], [1.0, 0.0]])
    ]
    found = calibrate(config, rollouts)["analysis"]
    for agent, batch in enumerate(found):
        np.testing.assert_array_equal(
            batch.rewards, [[one.reward for one in group] for group in rollouts.scores["fusion"][agent]]
        )
        np.testing.assert_array_equal(batch.calibrated, batch.rewards)
        assert not batch.advantage_change.any()
        assert batch.clipped.size == 0
