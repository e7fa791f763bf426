"""The words of Debate and of self-reflection, in styles with and without words of their own."""

import numpy as np
import pytest
from scripted import scripted_agent

from ilr_bench.core.config import SamplingSettings
from ilr_bench.method.idea3 import StepBatch, analyse, fuse, share
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.tasks.types import Question


@pytest.mark.parametrize("style", ["micro", "chat", "fewshot", "short"])
def test_a_revision_shows_the_question_and_everybodys_answer(style):
    text = baseline_prompts(STYLES.get(style)).revise("QUESTION", "MINE", ["THEIRS", "HERS"])
    for part in ("QUESTION", "MINE", "THEIRS", "HERS"):
        assert part in text


@pytest.mark.parametrize("style", ["micro", "chat", "fewshot", "short"])
def test_a_reflection_shows_the_question_and_the_own_idea_and_an_improvement_both(style):
    words = baseline_prompts(STYLES.get(style))
    reflection = words.reflect("QUESTION", "MINE")
    improvement = words.improve("QUESTION", "MINE", "step VERDICT")
    assert "QUESTION" in reflection
    assert "MINE" in reflection
    for part in ("QUESTION", "MINE", "VERDICT"):
        assert part in improvement


def test_chat_models_are_told_that_the_idea_is_theirs():
    words = baseline_prompts(STYLES.get("chat"))
    for text in (words.reflect("Q", "I"), words.improve("Q", "I", "R")):
        assert "partner" not in text
        assert "opponent" not in text
        assert "own" in text or "Your" in text


def test_who_hears_itself_is_never_shown_a_peers_text():
    agents = [scripted_agent(name, lambda prompt, number, name=name: f"said by {name}") for name in ("A", "B")]
    questions = [Question("q", "1+1", "2")]
    batch = StepBatch(agents, questions, np.ones((2, 1), dtype=bool), SamplingSettings(), seed=0, peer_context="itself")
    ideas = share(batch, [2, 2])
    fuse(batch, ideas, [analyse(batch, ideas, 2)], [1, 1])
    for agent, other in ((agents[0], "B"), (agents[1], "A")):
        assert len(agent.engine.heard) == 1 + 2 + 2
        assert not any(f"said by {other}" in prompt for prompt in agent.engine.heard)
        assert all(f"said by {agent.name}" in prompt for prompt in agent.engine.heard[1:])
