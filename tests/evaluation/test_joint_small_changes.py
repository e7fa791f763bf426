"""Who votes, who is asked in which words, which round is read: what small changes would alter."""

import numpy as np
from scripted import scripted_agent
from test_joint import answers

import ablations
from ilr_bench.core.config import SamplingSettings, change
from ilr_bench.core.profiles import profile
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation.joint import _equal, _modes, majority_vote, run_dialogue
from ilr_bench.method.idea3 import StepBatch
from ilr_bench.method.interaction import Coin, Situation, cooperation
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Question


def test_a_vote_counts_every_answer_once_and_compares_it_with_a_groups_first():
    asked = []

    def close(one, other):
        asked.append((one, other))
        return abs(int(one) - int(other)) <= 1

    # 2 joins 1, and 3 is not close to 1: it founds a group, which 4 joins. 2 is counted once although 3 is close to it.
    assert majority_vote(["1", "2", "3", "4", "9"], [0.9, 0.8, 0.7, 0.6, 0.5], close) == 0
    assert asked[:3] == [("2", "1"), ("3", "1"), ("4", "1")]
    assert majority_vote(["1", "2", "3", "4", "5"], [0.9, 0.8, 0.7, 0.6, 0.5], close) == 0


def test_identical_answers_are_equal_without_a_grader_and_others_by_its_verdict_on_gold_and_answer():
    asked = []

    class Deaf:
        def grade(self, pairs):
            asked.extend(pairs)
            return [Verdict.CORRECT if pairs == [("a", "b")] else Verdict.WRONG]

    assert _equal(Deaf(), "same", "same")
    assert asked == []
    assert _equal(Deaf(), "a", "b")
    assert not _equal(Deaf(), "b", "a")


def test_modes_are_drawn_for_idea3_only_and_from_a_seed_of_their_own():
    config = change(ablations.get("infer_idea3")(profile("micro")), {"interaction.cooperation_ratio": 0.5})
    drawn = _modes(config, 2, 40, seed=7)
    rng = np.random.default_rng(derive_seed(7, "modes"))
    situation = Situation(np.ones(2), np.ones(40), np.ones(40), rng)
    np.testing.assert_array_equal(drawn, cooperation(Coin(0.5), situation))
    assert 0 < drawn.mean() < 1
    for method in ("single", "debate"):
        modes = _modes(change(config, {"inference.method": method}), 2, 3, seed=7)
        assert modes.shape == (2, 3)
        assert modes.all()


def test_fusions_read_ideas_and_analyses_of_their_own_round():
    agents = [
        scripted_agent(name, lambda prompt, number, name=name: f"{name}{len(prompt.splitlines())}") for name in "AB"
    ]
    batch = StepBatch(agents, [Question("q0", "1+1", "2")], np.ones((2, 1), dtype=bool), SamplingSettings(), 3)
    ideas, analyses, fusions = run_dialogue(batch, "idea3", 1)
    assert [group[0][0].text for group in ideas] == ["A1", "B1"]
    assert len({ideas[0][0][0].text, analyses[0][0][0].text, fusions[0][0][0].text}) == 3
    fused = agents[0].engine.heard[2].splitlines()
    assert {f"mine: {ideas[0][0][0].text}", f"partner: {ideas[1][0][0].text}"} <= set(fused)
    assert sum(analyses[peer][0][0].text in line for line in fused for peer in (0, 1)) == 2


def test_in_a_debate_every_agent_is_asked_in_its_own_style():
    agents = [
        scripted_agent("A", answers("2"), style="micro"), scripted_agent("B", answers("2"), style="chat")
    ]  # fmt: skip
    batch = StepBatch(agents, [Question("q0", "1+1", "2")], np.ones((2, 1), dtype=bool), SamplingSettings(), 3)
    run_dialogue(batch, "debate", 2)
    for agent, other in ((agents[0], agents[1]), (agents[1], agents[0])):
        wanted = baseline_prompts(agent.style).revise("1+1", "\\boxed{2}", ["\\boxed{2}"])
        assert agent.engine.heard[1] == wanted
        assert other.engine.heard[1] != wanted
