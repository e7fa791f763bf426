"""What a joint step hands to mechanisms that others name: rules that learn, stages between, samples of each agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop_numbers import DIFFICULTY, SEED, Held, asked

from ilr_bench.core.seeds import derive_seed


def speaker(period: int) -> Any:
    """Says who speaks, which sample it is and what was asked for; right on other samples of each question."""

    def reply(prompt: str, number: int) -> str:
        left = int(prompt.split("+")[0])
        wrong = (left + number) % period == 0 and ("view" not in prompt or left % 2)
        after = "".join(word for word in ("doubt", "praise") if word in prompt)
        # The micro style passes on the last two words of a remark.
        return f"{period}.{number}{after} \\boxed{{{left + 1 + wrong}}}"

    return reply


@pytest.fixture(autouse=True)
def _speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_loop_numbers.speaker", speaker)


RULE = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Diary:
    def __call__(self, situation):
        read = len(situation.memory.get("steps", []))
        self.heard(situation)
        shape = len(situation.ability), len(situation.difficulty)
        return situation.rng.random(shape) < 0.3 + 0.2 * read
    def heard(self, situation):
        asked.append((situation.ability.tolist(), situation.difficulty.tolist(), situation.all_difficulties.tolist()))
    def remember(self, memory, outcome):
        step = {name: getattr(outcome, name).tolist() for name in outcome.__dataclass_fields__}
        return {"steps": [*memory.get("steps", []), step], "heard": tuple(asked[-1])}
asked = []
"""


def diary(folder: Path, variant: str, **changes: object) -> Held:
    """Two steps under a rule that remembers all it is told."""
    (folder / "diary.py").write_text(RULE)
    return Held(variant, folder, **{"interaction.rule": f"{folder}/diary.py:Diary"} | changes)


@pytest.mark.parametrize("variant", ["ilr", "online_ability"])
def test_a_rule_remembers_the_outcome_of_each_step_under_what_chose_it(variant: str, tmp_path: Path) -> None:
    held = diary(tmp_path, variant)
    assert len(held.state.memory["steps"]) == 2
    for step, told in enumerate(held.state.memory["steps"], start=1):
        places = [int(question[1:]) for question in asked(step)]
        assert told["difficulty"] == DIFFICULTY[places].tolist()
        assert told["ability"] == [record.ability for record in held.records if record.step == step]
        drawn = np.random.default_rng(derive_seed(SEED, "modes", step)).random((2, 5)) < 0.1 + 0.2 * step
        assert told["cooperation"] == drawn.tolist()
        for name, stage in (("idea_accuracy", "sharing"), ("fusion_accuracy", "fusion")):
            right = [
                [[turn.verdict == "correct" for turn in held.turns(step, agent, stage, q)] for q in asked(step)]
                for agent in range(2)
            ]
            np.testing.assert_allclose(told[name], np.mean(right, axis=-1))
        modes = [[held.turns(step, agent, "fusion", q)[0].mode for q in asked(step)] for agent in range(2)]
        assert modes == [["cooperate" if one else "compete" for one in row] for row in told["cooperation"]]
    last = held.state.memory["steps"][-1]
    assert last["idea_accuracy"] != last["fusion_accuracy"]
    assert held.state.memory["heard"] == [last["ability"], last["difficulty"], DIFFICULTY.tolist()]


def test_without_a_discussion_a_rule_is_told_the_ideas_twice(tmp_path: Path) -> None:
    for told in diary(tmp_path, "grpo").state.memory["steps"]:
        assert told["fusion_accuracy"] == told["idea_accuracy"]
        assert 0 < np.mean(told["idea_accuracy"]) < 1


def test_a_rule_that_learns_nothing_leaves_no_memory(tmp_path: Path) -> None:
    assert Held("ilr", tmp_path).state.memory == {}


STAGES = """
def doubt(heard):
    return f"{heard.question} doubt {len(heard.own_remarks)} {heard.own_idea}"
def praise(heard):
    return f"{heard.question} praise {heard.own_remarks} {heard.peer_remarks}"
"""


def test_every_stage_between_hears_the_ones_before_it_and_fusion_hears_all(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STAGES)
    stages = f"sharing+{tmp_path}/mine.py:doubt+{tmp_path}/mine.py:praise+fusion"
    changes = {"discussion.stages": stages, "discussion.dialogues_per_question": 2}
    held = Held("ilr", tmp_path, steps=1, **changes)
    assert [turn.stage for turn in held.dialogues[0].turns] == [
        *("sharing",) * 4, *("doubt",) * 2, *("praise",) * 2, *("fusion",) * 4
    ]  # fmt: skip
    for agent in range(2):
        said = {
            stage: [[turn.text for turn in held.turns(1, who, stage, asked(1)[0])] for who in (agent, 1 - agent)]
            for stage in ("sharing", "doubt", "praise")
        }
        heard = held.agents[agent].engine.heard
        question = f"{asked(1)[0][1:]}+1"
        for dialogue in range(2):
            (doubted, peer), (praised, other) = ([by[dialogue] for by in said[stage]] for stage in ("doubt", "praise"))
            assert f"{question} doubt 0 {said['sharing'][0][dialogue]}" in heard
            assert f"{question} praise {[doubted]} {[[peer]]}" in heard
            fusion = [text for text in heard if text.startswith(f"{question}\n") and "view" in text][dialogue]
            assert f"my view: {doubted}; {praised}" in fusion
            assert f" view: {peer}; {other}" in fusion.replace("my view", "mine")
    lines = [json.loads(line) for line in held.watch.read_text().splitlines()]
    tokens = {line["stage"]: line["tokens"] for line in lines if line["stage"] != "total"}
    for stage in ("doubt", "praise"):
        turns = [turn for a in range(2) for q in asked(1) for turn in held.turns(1, a, stage, q)]
        assert tokens[stage] == sum(len(turn.text) for turn in turns) > 0


def test_each_agent_samples_as_many_answers_as_it_is_set(tmp_path: Path) -> None:
    changes = {"sampling.samples_per_agent": "4+2", "discussion.dialogues_per_question": 2}
    held = Held("ilr", tmp_path, steps=1, **changes)
    for agent, (ideas, answers) in enumerate([(4, 2), (2, 1)]):
        calls = held.agents[agent].engine.calls
        assert [set(call.samples) for call in calls[:3]] == [{ideas}, {1}, {answers}]
        assert len(held.turns(1, agent, "fusion", asked(1)[0])) == 2 * answers
