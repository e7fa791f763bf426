"""The training loop with scripted agents: what is trained, on what, and what is recorded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scripted import scripted_agent

import ablations
from ilr_bench.core.config import change
from ilr_bench.core.futures import finished
from ilr_bench.core.profiles import profile
from ilr_bench.grading.math import Grader
from ilr_bench.learner.samples import StepMetrics
from ilr_bench.method.loop import TrainerState, step_questions, train
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.types import Question

QUESTIONS = tuple(
    Question(f"q{place}", f"{place}+1", str(place + 1), (f"{place}+1={place + 1}",)) for place in range(8)
)


class Notebook:
    """Stands for an optimizer, and keeps what it was given to learn."""

    def __init__(self):
        self.turns = []

    def submit(self, turns, step):
        self.turns.append(list(turns))
        return finished(StepMetrics(0.0, 0.0, 1e-4, None, sum(len(turn.completion_ids) for turn in turns), 0))


def answers_rightly_every(period):
    def reply(prompt, number):
        left = int(prompt.split("+")[0])
        return f"\\boxed{{{left + 1 + (number % period != 0)}}}"

    return reply


def hold(variant, tmp_path, steps=2, ability=(0.9, 0.1), **changes):
    start = change(
        profile("micro"),
        {"training.steps": steps, "training.questions_per_step": 4, "questions.train": 8, "sampling.samples": 4}
        | changes,
    )
    config = ablations.get(variant)(start)
    agents = [
        scripted_agent(name, answers_rightly_every(2 + index), offset=1000 * index)
        for index, name in enumerate(config.agents)
    ]
    notebooks = [Notebook() for _ in agents]
    records, dialogues = [], []
    with Grader() as grader:
        state = TrainerState(
            agents, notebooks, QUESTIONS, QUESTIONS[:4], np.linspace(0, 1, 8), np.array(ability[: len(agents)]), grader,
            Stopwatch(Path(tmp_path) / "timing.jsonl"),
        )  # fmt: skip
        train(config, state, 1, lambda step, lines, talks: (records.extend(lines), dialogues.extend(talks)))
    return config, agents, notebooks, records, dialogues, state


@pytest.mark.parametrize(
    ("variant", "trained"),
    [("ilr", 2 * 4 * 4), ("train_fusion", 4 * 4), ("train_sharing", 4 * 4), ("grpo", 4 * 4), ("pc_only", 4 * 4)],
)
def test_each_variant_trains_the_turns_it_names(variant, trained, tmp_path):
    _, _, notebooks, *_ = hold(variant, tmp_path)
    assert [len(turns) for turns in notebooks[0].turns] == [trained, trained]


@pytest.mark.parametrize(
    ("variant", "ideas", "answers"), [("ilr", 4, 4), ("train_sharing", 4, 1), ("train_fusion", 1, 4)]
)
def test_only_trained_turns_are_sampled_more_than_once(variant, ideas, answers, tmp_path):
    _, _, _, _, dialogues, _ = hold(variant, tmp_path)
    stages = [turn.stage for turn in dialogues[0].turns if turn.agent == "A"]
    assert (stages.count("sharing"), stages.count("fusion")) == (ideas, answers)


def test_all_turns_can_be_trained_with_a_dialogue_per_sample(tmp_path):
    changes = {"discussion.trained_turns": "all", "discussion.dialogues_per_question": 4}
    _, _, notebooks, _, dialogues, _ = hold("ilr", tmp_path, **changes)
    assert len(notebooks[0].turns[0]) == 3 * 4 * 4
    assert len(dialogues) == 2 * 4 * 4


def test_an_agent_is_trained_on_its_own_tokens_only(tmp_path):
    _, _, notebooks, *_ = hold("ilr", tmp_path)
    assert max(max(turn.completion_ids) for turn in notebooks[0].turns[0]) < 1000
    assert min(min(turn.completion_ids) for turn in notebooks[1].turns[0]) >= 1000


def test_solo_variants_never_show_an_agent_its_peers(tmp_path):
    _, agents, *_ = hold("grpo", tmp_path)
    assert not any("mine" in prompt for agent in agents for prompt in agent.engine.heard)


def test_the_stronger_agent_competes_and_the_weaker_cooperates(tmp_path):
    *_, records, _, _ = hold("ilr", tmp_path, ability=(1.0, -0.01))
    shares = {record.agent: record.cooperation_share for record in records}
    assert shares == {"A": 0.0, "B": 1.0}


def test_modes_of_the_pure_variants_are_pure(tmp_path):
    for variant, share in (("pure_cooperative", 1.0), ("pure_competitive", 0.0)):
        *_, records, _, _ = hold(variant, tmp_path)
        assert {record.cooperation_share for record in records} == {share}


def test_calibration_is_logged_where_it_acts_and_absent_where_it_does_not(tmp_path):
    *_, with_calibration, _, _ = hold("ilr", tmp_path)
    *_, without, _, _ = hold("di_only", tmp_path)
    assert all(record.clipped_share is not None for record in with_calibration)
    assert all(record.clipped_share is None and record.changed_group_share is None for record in without)


def test_a_step_counts_every_token_that_was_sampled(tmp_path):
    _, _, _, records, dialogues, _ = hold("ilr", tmp_path)
    for record in records:
        turns = sum(
            len(turn.text)
            for dialogue in dialogues
            if dialogue.step == record.step
            for turn in dialogue.turns
            if turn.agent == record.agent
        )
        assert record.sampled_tokens == turns


def test_a_dialogue_record_holds_every_turn_with_its_rewards(tmp_path):
    _, _, _, _, dialogues, _ = hold("ilr", tmp_path)
    assert len(dialogues) == 2 * 4
    stages = [turn.stage for turn in dialogues[0].turns]
    assert [stages.count(stage) for stage in ("sharing", "analysis", "fusion")] == [8, 2, 8]
    assert all((turn.reward is None) == (turn.stage == "analysis") for turn in dialogues[0].turns)


def test_online_ability_moves_towards_the_accuracy_seen(tmp_path):
    *_, state = hold("online_ability", tmp_path, ability=(0.9, 0.1))
    assert state.ability[0] < 0.9
    assert state.ability[1] > 0.1


def test_a_step_records_the_ability_that_chose_its_modes(tmp_path):
    *_, records, _, state = hold("online_ability", tmp_path, ability=(0.9, 0.1))
    own = [record.ability for record in records if record.agent == "A"]
    assert own[0] == 0.9
    assert own[0] > own[1] > state.ability[0]


def test_groups_that_calibration_leaves_alone_do_not_dilute_its_effect(tmp_path):
    """Fusion and sharing groups are drawn alike with and without trained analyses."""
    dialogues = {"discussion.dialogues_per_question": 4}
    *_, plain, _, _ = hold("ilr", tmp_path, **dialogues)
    *_, with_analyses, _, _ = hold("ilr", tmp_path, **dialogues, **{"discussion.trained_turns": "all"})
    assert [record.groups for record in with_analyses] == [record.groups * 3 // 2 for record in plain]
    assert any(record.mean_advantage_change for record in plain)
    for one, other in zip(plain, with_analyses, strict=True):
        assert one.changed_group_share == other.changed_group_share
        assert one.mean_advantage_change == other.mean_advantage_change


def test_validation_is_recorded_when_due_and_after_the_last_step(tmp_path):
    *_, records, _, _ = hold("grpo", tmp_path, steps=3, **{"training.validate_every": 2})
    due = [record.validation_accuracy is not None for record in records if record.agent == "A"]
    assert due == [False, True, True]


def test_questions_are_read_in_shuffled_epochs_that_every_variant_shares():
    seen = np.concatenate([step_questions(8, 3, step, seed=5) for step in range(1, 9)])
    assert sorted(seen[:8]) == sorted(seen[8:16]) == list(range(8))
    assert (step_questions(8, 3, 4, seed=5) == seen[9:12]).all()
    assert not (np.concatenate([step_questions(8, 3, step, seed=6) for step in range(1, 9)]) == seen).all()


def test_three_and_four_agents_take_part_in_every_stage(tmp_path):
    for variant, names in (("agents_3", ["A", "B", "C"]), ("agents_4", ["A", "B", "C", "A2"])):
        *_, records, dialogues, _ = hold(variant, tmp_path, ability=(0.1, 0.4, 0.6, 0.9))
        assert [record.agent for record in records[: len(names)]] == names
        assert {turn.agent for turn in dialogues[0].turns} == set(names)


def test_records_survive_their_file(tmp_path):
    from ilr_bench.storage.records import DialogueRecord, StepRecord, read
    from ilr_bench.storage.store import append_records

    *_, records, dialogues, _ = hold("ilr", tmp_path)
    append_records(tmp_path / "train.jsonl", records)
    append_records(tmp_path / "dialogues.jsonl", dialogues)
    assert list(read(tmp_path / "train.jsonl", StepRecord)) == records
    assert list(read(tmp_path / "dialogues.jsonl", DialogueRecord)) == dialogues
    assert dataclasses.asdict(records[0])["step"] == 1
