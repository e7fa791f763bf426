"""The longest prompt of a stage is the longest of all agents and questions."""

import json

from test_loop_numbers import TRAINING, Held, asked


def test_the_longest_prompt_of_a_stage_is_the_longest_that_any_agent_heard(tmp_path):
    held = Held("grpo", tmp_path, steps=1)
    lines = [json.loads(line) for line in held.watch.read_text().splitlines()]
    (told,) = [line["longest_prompt"] for line in lines if line["stage"] == "sharing"]
    heard = [len(text) for agent in held.agents for text in agent.engine.heard]
    assert told == max(heard) > min(heard)
    assert len(heard) == 2 * len(asked(1)) < 2 * len(TRAINING)
