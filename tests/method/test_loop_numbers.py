"""Every number of a joint step, worked out a second time from what was said in it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scripted import scripted_agent

import ablations
from ilr_bench.core.config import change
from ilr_bench.core.futures import finished
from ilr_bench.core.profiles import profile
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.engine import SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.learner.samples import StepMetrics
from ilr_bench.method.advantages import group_advantages
from ilr_bench.method.calibration import perception_calibration
from ilr_bench.method.idea3 import sampled_tokens
from ilr_bench.method.loop import (
    TrainerState,
    standalone_accuracy,
    step_questions,
    train,
)
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.types import Question

COUNT, SEED = 12, 3
TRAINING = tuple(Question(f"q{place}", f"{place}+1", str(place + 1)) for place in range(COUNT))
VALIDATION = tuple(Question(f"v{place}", f"{place}+1", str(place + 1)) for place in range(100, 104))
DIFFICULTY = (np.arange(COUNT) * 5 % COUNT + 0.5) / COUNT
"""Another one at every place, and in no order."""


class Notebook:
    """Stands for an optimizer, keeps what it was given to learn, and reports numbers of its own."""

    def __init__(self, index):
        self.place = index
        self.samples = {}

    def submit(self, turns, step):
        self.samples[step] = list(turns)
        return finished(StepMetrics(10.0 * step + self.place, 2.5, 1e-4, None, 100 * (self.place + 1), 0))


def speaker(period):
    """Right but for every `period`-th sample, and always wrong beyond 103."""

    def reply(prompt, number):
        left = int(prompt.split("+")[0])
        return f"\\boxed{{{left + 1 + (number % period == 0 or left > 102)}}}"

    return reply


class Held:
    """A run, and what can be seen of it."""

    def __init__(
        self, variant, folder, steps=2, first=1, last=None, ability=(0.3, 0.6), limit=10_000, again=None, **changes
    ):
        start = change(
            profile("micro"),
            {"training.steps": steps, "training.questions_per_step": 5, "questions.train": COUNT, "seed": SEED}
            | {"sampling.samples": 4, "training.validate_every": 0, "sampling.temperature": 0.9}
            | changes,
        )
        self.config = ablations.get(variant)(start)
        self.agents = [
            scripted_agent(name, speaker(2 + 2 * index), offset=1000 * index, limit=limit)
            for index, name in enumerate(self.config.agents)
        ]
        self.notebooks = [Notebook(index) for index in range(len(self.agents))]
        self.steps, self.records, self.dialogues = [], [], []
        self.watch = folder / "timing.jsonl"
        stopwatch = Stopwatch(self.watch)
        with Grader() as grader:
            self.state = TrainerState(
                self.agents, self.notebooks, TRAINING, VALIDATION, DIFFICULTY, np.array(ability), grader, stopwatch
            )
            train(self.config, self.state, first, self._finished, last)
            if again is not None:
                again(self)
        stopwatch.write(1)

    def _finished(self, step, records, dialogues):
        self.steps.append(step)
        self.records += records
        self.dialogues += dialogues

    def turns(self, step, agent, stage, question):
        return [
            turn
            for dialogue in self.dialogues
            if (dialogue.step, dialogue.question_id) == (step, question)
            for turn in dialogue.turns
            if (turn.agent, turn.stage) == (self.agents[agent].name, stage)
        ]


def asked(step):
    return [f"q{index}" for index in step_questions(COUNT, 5, step, SEED)]


def test_the_steps_from_the_first_to_the_last_are_held_once_each(tmp_path):
    assert Held("grpo", tmp_path, steps=3).steps == [1, 2, 3]
    resumed = Held("grpo", tmp_path, steps=4, first=2, last=3)
    assert resumed.steps == list(resumed.notebooks[0].samples) == [2, 3]
    assert [(record.step, record.loss) for record in resumed.records] == [(2, 20), (2, 21), (3, 30), (3, 31)]


def test_each_agents_mode_on_a_question_hangs_on_that_questions_own_difficulty(tmp_path):
    held = Held("ilr", tmp_path)
    for dialogue in held.dialogues:
        index = int(dialogue.question_id[1:])
        assert dialogue.difficulty == DIFFICULTY[index]
        for turn in dialogue.turns:
            ability = {"A": 0.3, "B": 0.6}[turn.agent]
            assert turn.mode == ("cooperate" if ability < DIFFICULTY[index] else "compete")
    assert [dialogue.question_id for dialogue in held.dialogues] == asked(1) + asked(2)


def test_a_matched_coin_has_each_agents_share_over_all_training_questions(tmp_path):
    held = Held("random_matched", tmp_path)
    for step in (1, 2):
        rng = np.random.default_rng(derive_seed(SEED, "modes", step))
        shares = np.array([[(ability < DIFFICULTY).mean()] for ability in (0.3, 0.6)])
        coins = rng.random((2, 5)) < shares
        for agent in range(2):
            modes = [held.turns(step, agent, "fusion", question)[0].mode for question in asked(step)]
            assert modes == ["cooperate" if coin else "compete" for coin in coins[agent]]


def test_every_step_agent_and_stage_draws_from_a_seed_of_its_own(tmp_path):
    held = Held("ilr", tmp_path)
    for agent in range(2):
        calls = held.agents[agent].engine.calls
        expected = [
            derive_seed(derive_seed(SEED, "turns", step), stage, agent)
            for step in (1, 2)
            for stage in ("sharing", "analysis", "fusion")
        ]
        assert [call.seed for call in calls] == expected
        assert calls[0].options == SamplingOptions(64, 0.9, 512, ())


def test_turns_are_taught_with_their_own_tokens_advantages_questions_and_stages(tmp_path):
    held = Held("ilr", tmp_path)
    for agent, notebook in enumerate(held.notebooks):
        for step in (1, 2):
            recorded = [
                (turn.text, turn.advantage, question, stage)
                for stage in ("sharing", "fusion")
                for question in asked(step)
                for turn in held.turns(step, agent, stage, question)
            ]
            samples = notebook.samples[step]
            speaker = held.agents[agent]
            assert recorded == [
                (speaker.decode(turn.completion_ids), turn.credit, turn.question, turn.stage) for turn in samples
            ]
            assert any(turn.credit for turn in samples)
            for turn in samples:
                prompt = speaker.tokenizer.decode(turn.prompt_ids)
                assert prompt.startswith(f"{turn.question[1:]}+1")
                assert ("view" in prompt) == (turn.stage == "fusion")
                assert turn.logprobs.shape == (len(turn.completion_ids),)


def test_the_engines_rest_once_before_every_update(tmp_path):
    assert [agent.engine.rests for agent in Held("ilr", tmp_path).agents] == [2, 2]


def test_online_ability_is_mostly_what_it_was_and_a_little_what_was_seen(tmp_path):
    held = Held("online_ability", tmp_path, **{"interaction.online_rate": 0.2})
    ability = np.array([0.3, 0.6])
    for step in (1, 2):
        assert [record.ability for record in held.records if record.step == step] == pytest.approx(ability)
        seen = [
            np.mean([turn.verdict == "correct" for q in asked(step) for turn in held.turns(step, agent, "sharing", q)])
            for agent in range(2)
        ]
        assert 0 < seen[0] < seen[1] < 1
        assert [r.sharing_accuracy for r in held.records if r.step == step] == pytest.approx(seen)
        ability = 0.8 * ability + 0.2 * np.array(seen)
    assert held.state.ability == pytest.approx(ability)


def test_the_static_ability_stays(tmp_path):
    assert Held("ilr", tmp_path).state.ability.tolist() == [0.3, 0.6]


@pytest.mark.parametrize(("every", "due"), [(0, [False] * 5), (1, [True] * 5), (2, [False, True, False, True, True])])
def test_validation_is_on_the_held_out_questions_alone_and_greedily(every, due, tmp_path):
    held = Held("grpo", tmp_path, steps=5, **{"training.validate_every": every, "sampling.rows_per_call": 7})
    for agent in range(2):
        name, engine = held.agents[agent].name, held.agents[agent].engine
        found = [record.validation_accuracy for record in held.records if record.agent == name]
        # At place 0 an agent of any period errs.
        assert found == [0.0 if yes else None for yes in due]
        greedy = [call for call in engine.calls if call.options.temperature == 0]
        assert [call.options for call in greedy] == [SamplingOptions(64, 0.0, 7, ())] * sum(due)
        assert [(call.samples, call.seed) for call in greedy] == [((1,) * 4, 0)] * sum(due)
        assert [text for text in engine.heard if len(text) > 4] == [q.text for q in VALIDATION] * sum(due)


def test_solo_accuracy_is_the_share_of_right_answers(tmp_path):
    agent = scripted_agent("A", lambda prompt, number: f"\\boxed{{{101 + (prompt != '100+1') * 2}}}")
    with Grader() as grader:
        assert standalone_accuracy(agent, VALIDATION[:2] + VALIDATION[2:3], profile("micro"), grader) == pytest.approx(
            2 / 3
        )


def test_each_validation_belongs_to_its_agent(tmp_path):
    config = change(profile("micro"), {"training.steps": 1, "training.validate_every": 1, "seed": SEED})
    config = ablations.get("grpo")(
        change(config, {"training.questions_per_step": 2, "questions.train": COUNT, "sampling.samples": 2})
    )
    right = {"A": (100, 101, 102), "B": (101,)}

    def reply(name):
        return lambda prompt, number: f"\\boxed{{{int(prompt[:-2]) + 1 + (int(prompt[:-2]) not in right[name])}}}"

    agents = [scripted_agent(name, reply(name)) for name in right]
    found = []
    with Grader() as grader:
        state = TrainerState(
            agents, [Notebook(0), Notebook(1)], TRAINING, VALIDATION, DIFFICULTY, np.array([0.5, 0.5]), grader,
            Stopwatch(Path(tmp_path) / "timing.jsonl"),
        )  # fmt: skip
        train(config, state, 1, lambda step, records, dialogues: found.extend(records))
    assert [record.validation_accuracy for record in found] == [0.75, 0.25]


@pytest.mark.parametrize(
    ("trained", "samples", "counts"),
    [
        ("fusion", 4, {"sharing": 2, "analysis": 1, "fusion": 2}),
        ("sharing", 4, {"sharing": 4, "analysis": 1, "fusion": 1}),
        ("both", 4, {"sharing": 4, "analysis": 1, "fusion": 2}),
        ("all", 2, {"sharing": 2, "analysis": 1, "fusion": 1}),
    ],
)
def test_each_choice_of_trained_turns_samples_and_teaches_its_stages(trained, samples, counts, tmp_path):
    changes = {"discussion.trained_turns": trained, "discussion.dialogues_per_question": 2}
    held = Held("ilr", tmp_path, **changes, **{"sampling.samples": samples})
    calls = dict(zip(counts, held.agents[0].engine.calls[:3], strict=True))
    assert {stage: set(call.samples) for stage, call in calls.items()} == {s: {n} for s, n in counts.items()}
    stages = held.config.discussion.trained
    samples = held.notebooks[1].samples[1]
    expected = {stage: 5 * counts[stage] * (1 if stage == "sharing" else 2) for stage in stages}
    assert {stage: sum(turn.stage == stage for turn in samples) for stage in expected} == expected
    assert len(samples) == sum(expected.values())


def test_trained_analyses_earn_their_dialogues_fusions_without_calibration(tmp_path):
    changes = {"discussion.trained_turns": "all", "discussion.dialogues_per_question": 4}
    held = Held("ilr", tmp_path, **changes)
    for agent in range(2):
        for question in asked(1):
            fusions = [turn.reward for turn in held.turns(1, agent, "fusion", question)]
            analyses = held.turns(1, agent, "analysis", question)
            assert [turn.calibrated_reward for turn in analyses] == pytest.approx(fusions)


def test_seconds_and_tokens_are_counted_under_the_stage_they_belong_to(tmp_path):
    held = Held("ilr", tmp_path, steps=1, **{"training.validate_every": 1})
    lines = [json.loads(line) for line in held.watch.read_text().splitlines()]
    tokens = {line["stage"]: line["tokens"] for line in lines if line["stage"] != "total"}
    turns = {
        stage: sum(len(t.text) for a in range(2) for q in asked(1) for t in held.turns(1, a, stage, q))
        for stage in ("sharing", "analysis", "fusion")
    }
    assert tokens == turns | {"grading": 0, "update": 300, "validation": 0}
    assert [record.trained_tokens for record in held.records] == [100, 200]


def test_a_step_record_sums_up_what_its_dialogues_hold(tmp_path):
    changes = {"sampling.max_new_tokens": 9, "discussion.dialogues_per_question": 2}
    held = Held("ilr", tmp_path, steps=1, limit=20, **changes)
    for agent, record in enumerate(held.records):
        groups = [held.turns(1, agent, stage, q) for stage in ("sharing", "fusion") for q in asked(1)]
        theirs = [held.turns(1, 1 - agent, stage, q) for stage in ("sharing", "fusion") for q in asked(1)]
        analyses = [held.turns(1, agent, "analysis", q) for q in asked(1)]
        flat = [turn for group in groups for turn in group]
        assert record.mean_reward == pytest.approx(np.mean([turn.reward for turn in flat]))
        assert record.mean_calibrated_reward == pytest.approx(np.mean([turn.calibrated_reward for turn in flat]))
        assert record.mean_reward != pytest.approx(record.mean_calibrated_reward)
        fused = [turn.verdict == "correct" for group in groups[5:] for turn in group]
        assert record.fusion_accuracy == pytest.approx(np.mean(fused))
        assert record.cooperation_share == np.mean([group[0].mode == "cooperate" for group in groups[5:]])
        calibrated = [
            perception_calibration([turn.reward for turn in own], [[turn.reward for turn in other]])
            for own, other in zip(groups, theirs, strict=True)
        ]
        terms = [term for group in calibrated for term in group.clipped[~group.flat_peers].ravel()]
        assert record.clipped_share == pytest.approx(np.mean(terms) if terms else 0)
        assert record.flat_peer_share == np.mean([group.flat_peers[0] for group in calibrated])
        moved = [
            np.abs(group_advantages(group.rewards) - group_advantages([turn.reward for turn in own]))
            for own, group in zip(groups, calibrated, strict=True)
        ]
        assert record.mean_advantage_change == pytest.approx(np.mean(moved))
        assert record.changed_group_share == np.mean([change.max() > 1e-3 for change in moved])
        assert record.groups == 10
        assert record.flat_groups == sum(all(turn.advantage == 0 for turn in group) for group in groups)
        turns = [*flat, *(turn for group in analyses for turn in group)]
        assert record.sampled_tokens == sum(len(turn.text) for turn in turns)
        assert record.sharing_tokens == sum(len(turn.text) for group in groups[:5] for turn in group)
        assert record.sharing_samples == 4
        # What was said is 9 letters long or cut to them; only a whole box is closed.
        assert record.unfinished_turns == sum(not turn.text.endswith("}") for turn in turns) > 0
        assert record.cut_prompts == 5 * 4 + 5 * 2  # Fusions and analyses, of which only the ideas' prompts are short.
        assert (record.loss, record.gradient_norm, record.kl) == (10 + agent, 2.5, None)
        assert (record.value_loss, record.borrowed_turns, record.validation_accuracy) == (None, 0, None)


def test_a_dialogue_record_holds_the_turns_of_its_own_dialogue(tmp_path):
    held = Held("ilr", tmp_path, steps=1, **{"discussion.dialogues_per_question": 2})
    assert [(d.question_id, d.dialogue) for d in held.dialogues] == [(q, d) for q in asked(1) for d in (0, 1)]
    for dialogue in held.dialogues:
        question = TRAINING[int(dialogue.question_id[1:])]
        assert (dialogue.question, dialogue.gold) == (question.text, question.answer)
        output = [(turn.stage, turn.agent) for turn in dialogue.turns]
        counts = (("sharing", 2), ("analysis", 1), ("fusion", 2))
        assert output == [(stage, name) for stage, count in counts for name in "AB" for _ in range(count)]
        # B errs at the first of its four samples only, so the two dialogues differ in its ideas.
        right = [turn.verdict == "correct" for turn in dialogue.turns if (turn.agent, turn.stage) == ("B", "sharing")]
        assert right == [dialogue.dialogue == 1, True]


def test_without_a_discussion_a_record_says_nothing_of_it(tmp_path):
    held = Held("grpo", tmp_path, steps=1)
    for record in held.records:
        assert record.fusion_accuracy is record.cooperation_share is record.clipped_share is None
        assert record.flat_peer_share is record.changed_group_share is record.mean_advantage_change is None
    assert [dialogue.dialogue for dialogue in held.dialogues] == [0] * 5
    assert all(len(dialogue.turns) == 2 * 4 for dialogue in held.dialogues)


def test_where_rollouts_are_pooled_each_agent_also_learns_its_peers_right_ideas(tmp_path):
    held = Held("peer_pooling", tmp_path, steps=1)
    for agent, record in enumerate(held.records):
        right = [
            turn.text for q in asked(1) for turn in held.turns(1, 1 - agent, "sharing", q) if turn.verdict == "correct"
        ]
        own = [turn for q in asked(1) for turn in held.turns(1, agent, "sharing", q)]
        samples, speaker = held.notebooks[agent].samples[1], held.agents[agent]
        assert [speaker.decode(turn.completion_ids) for turn in samples[-len(right) :]] == right
        assert record.borrowed_turns == len(right) == sum(turn.logprobs is None for turn in samples)
        joined = [0.1 if turn.verdict == "wrong" else 1.1 for turn in own[:4]] + [1.1] * (len(right) // 5)
        assert [turn.advantage for turn in own[:4]] == pytest.approx(group_advantages(joined)[:4])


def test_the_model_that_is_updated_takes_its_turn_on_the_device(tmp_path):
    entered = []

    def again(held):
        held.state.swapper = SimpleNamespace(onload=entered.append)
        for agent in held.agents:
            agent.model = agent.name
        train(held.config, held.state, 1, lambda step, records, dialogues: None)

    Held("grpo", tmp_path, steps=1, again=again)
    assert entered == ["A", "B"]


def test_questions_of_a_step_come_from_epochs_that_the_seed_shuffles():
    epochs = [np.random.default_rng(derive_seed(SEED, "epoch", epoch)).permutation(COUNT) for epoch in range(3)]
    read = np.concatenate(epochs)
    for step in range(1, 7):
        assert step_questions(COUNT, 5, step, SEED).tolist() == read[5 * (step - 1) : 5 * step].tolist()
    assert sampled_tokens([]) == 0
