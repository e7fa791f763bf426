"""Each agent's turns are sampled as its own style ends them, and counted; a stage of one's own hears who is heard."""

import numpy as np
import pytest
from scripted import scripted_agent

from ilr_bench.core.config import SamplingSettings
from ilr_bench.method.idea3 import StepBatch, remark, sampled_tokens, share
from ilr_bench.tasks.types import Question


def test_an_agents_turns_end_at_the_stop_strings_of_its_own_style():
    agents = [scripted_agent(style, lambda prompt, number: "x", style=style) for style in ("micro", "fewshot")]
    assert agents[0].style.stop_strings() != agents[1].style.stop_strings()
    share(StepBatch(agents, (Question("q0", "1+1", "2"),), np.ones((2, 1), dtype=bool), SamplingSettings(), 0), [1, 1])
    for agent in agents:
        assert [call.options.stop_strings for call in agent.engine.calls] == [agent.style.stop_strings()]


def test_the_tokens_of_a_stage_are_those_of_all_agents_questions_and_turns():
    agents = [scripted_agent(name, lambda prompt, number: "x" * (number + 1)) for name in ("A", "B")]
    questions = (Question("q0", "1+1", "2"), Question("q1", "1+2", "3"))
    turns = share(StepBatch(agents, questions, np.ones((2, 2), dtype=bool), SamplingSettings(), 0), [2, 3])
    lengths = [len(turn.completion.token_ids) for groups in turns for group in groups for turn in group]
    assert sampled_tokens(turns) == sum(lengths) > len(lengths) == 2 * (2 + 3)


@pytest.mark.parametrize(("context", "others"), [("peers", 1), ("itself", 0)])
def test_a_stage_is_told_nothing_of_peers_where_an_agent_hears_itself(context, others):
    agents = [scripted_agent(name, lambda prompt, number: "x") for name in ("A", "B")]
    questions, heard = (Question("q0", "1+1", "2"),), []
    batch = StepBatch(agents, questions, np.ones((2, 1), dtype=bool), SamplingSettings(), 0, context)
    ideas = share(batch, [1, 1])
    remark(batch, "doubt", lambda told: heard.append(told) or "", ideas, [ideas], 1)
    assert [(one.peer_context, one.own_idea, list(one.own_remarks)) for one in heard] == [(context, "x", ["x"])] * 2
    assert [(one.peer_ideas, one.peer_remarks) for one in heard] == [(["x"] * others, [["x"]] * others)] * 2
