"""Borrowed texts: whose tokens, whose prompt, which question, and without the end token's name."""

import numpy as np
from scripted import CodePoints, scripted_agent
from test_pooling import QUESTIONS, meet, says

from ilr_bench.generation.agent import Prompt
from ilr_bench.generation.engine import Completion
from ilr_bench.method.idea3 import Turn
from ilr_bench.method.pooling import decode_untrimmed


def test_every_agent_gets_its_peers_texts_in_its_own_tokens_after_its_own_prompt_question_by_question():
    right_on = {"1+1": "2", "2+2": "4"}
    right = [lambda prompt, number: f"\\boxed{{{right_on[prompt]}}}"] * 3
    rollouts, _, pooled = meet(*right)
    for number, agent in enumerate(rollouts.batch.agents):
        borrowed = pooled.borrowed[number]
        assert [agent.decode(turn.completion_ids) for turn in borrowed] == ["\\boxed{2}"] * 4 + ["\\boxed{4}"] * 4
        assert [agent.tokenizer.decode(turn.prompt_ids) for turn in borrowed] == ["1+1"] * 4 + ["2+2"] * 4
        assert {turn.question for turn in borrowed} == {question.id for question in QUESTIONS}


def test_a_peer_that_solves_the_second_question_only_gives_nothing_to_the_first():
    _, _, pooled = meet(says("0", "0"), lambda prompt, number: "\\boxed{4}")
    assert [turn.question for turn in pooled.borrowed[0]] == ["q1", "q1"]


def test_the_end_tokens_name_is_no_part_of_a_borrowed_text():
    class WithEnd(CodePoints):
        def decode(self, ids, skip_special_tokens=False):
            return super().decode([token for token in ids if token != 7 or not skip_special_tokens])

    agent = scripted_agent("A", says("0"))
    agent.tokenizer = WithEnd()
    completion = Completion((ord("a"), 7), np.zeros(2, dtype=np.float32), True)
    assert decode_untrimmed(agent, Turn(Prompt((1,), 0), completion, "a")) == "a"
