"""Who hears what in a discussion, and how many turns there are."""

from dataclasses import replace

import numpy as np
import pytest
from scripted import scripted_agent

from ilr_bench.core.config import SamplingSettings
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.engine import SamplingOptions
from ilr_bench.method.idea3 import StepBatch, analyse, fuse, options, share
from ilr_bench.method.interaction import Mode
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.tasks.types import Question

QUESTIONS = (Question("q1", "1+1", "2"), Question("q2", "2+2", "4"))


def reply_as(name):
    def reply(prompt, number):
        stage = "fused" if "view" in prompt else "judged" if "mine" in prompt else "idea"
        output = f"{prompt.splitlines()[0]} {number}"
        # The micro style passes on the last two words of an analysis.
        return f"{output} {name} judged" if stage == "judged" else f"{name} {stage} {output}"

    return reply


def make_batch(names, cooperation=None, sampling=None):
    agents = [scripted_agent(name, reply_as(name), offset=1000 * index) for index, name in enumerate(names)]
    modes = np.zeros((len(names), 2), dtype=bool) if cooperation is None else np.array(cooperation)
    return StepBatch(
        agents, QUESTIONS, modes, sampling or SamplingSettings(max_new_tokens=100, max_analysis_tokens=100), 0
    )


def hold(batch, ideas_per_agent, dialogues, fusions):
    ideas = share(batch, ideas_per_agent)
    analyses = analyse(batch, ideas, dialogues)
    return ideas, analyses, fuse(batch, ideas, [analyses], fusions)


@pytest.mark.parametrize("names", [("A", "B"), ("A", "B", "C"), ("A", "B", "C", "D")])
def test_every_agent_speaks_once_per_stage_and_hears_every_peer(names):
    batch = make_batch(names)
    ideas, _, fusions = hold(batch, [1] * len(names), 1, [3] * len(names))
    assert [len(group) for agent in fusions for group in agent] == [3] * 2 * len(names)
    for name, agent in zip(names, batch.agents, strict=True):
        sharing, analysis, fusion = (agent.engine.heard[stage * 2] for stage in range(3))
        peers = [peer for peer in names if peer != name]
        assert sharing == "1+1"
        assert all(f"{peer} idea 1+1 0" in analysis for peer in peers)
        assert all(f"{peer} judged" in fusion for peer in peers)
        assert all(f"{peer} idea 1+1 0" in fusion for peer in names)
    assert ideas[0][1][0].text == "A idea 2+2 0"


def test_turns_of_one_stage_do_not_hear_each_other():
    batch = make_batch(("A", "B"))
    hold(batch, [1, 1], 1, [1, 1])
    for agent in batch.agents:
        assert not any("judged" in prompt for prompt in agent.engine.heard[2:4])


def test_text_crosses_between_agents_and_tokens_do_not():
    batch = make_batch(("A", "B"))
    ideas, _, fusions = hold(batch, [1, 1], 1, [1, 1])
    assert min(ideas[1][0][0].completion.token_ids) >= 1000
    assert max(fusions[0][0][0].prompt.ids) < 1000
    assert ideas[1][0][0].text in batch.agents[0].tokenizer.decode(fusions[0][0][0].prompt.ids)


def test_idea_number_d_enters_dialogue_d():
    batch = make_batch(("A", "B"))
    hold(batch, [4, 4], 4, [1, 1])
    fusion_prompts = batch.agents[0].engine.heard[-8:-4]
    for number, prompt in enumerate(fusion_prompts):
        assert f"A idea 1+1 {number}" in prompt
        assert f"B idea 1+1 {number}" in prompt


def test_only_idea_number_0_enters_a_single_dialogue():
    batch = make_batch(("A", "B"))
    _, analyses, _ = hold(batch, [4, 4], 1, [8, 8])
    assert [len(group) for group in analyses[0]] == [1, 1]
    assert "B idea 1+1 0" in batch.agents[0].engine.heard[2]
    assert not any(f"idea 1+1 {number}" in prompt for prompt in batch.agents[0].engine.heard for number in (1, 2, 3))


def test_each_agent_follows_its_own_mode_in_its_own_prompts():
    batch = make_batch(("A", "B"), cooperation=[[True, False], [False, False]])
    hold(batch, [1, 1], 1, [1, 1])
    first, second = (agent.engine.heard for agent in batch.agents)
    assert "partner" in first[2]
    assert "opponent" in first[3]
    assert "opponent" in second[2]
    assert "partner" not in "".join(second)


def test_a_prompt_over_the_limit_loses_its_middle_and_says_how_much():
    agent = scripted_agent("A", reply_as("A"), limit=20)
    prompt = agent.render("head" + "x" * 50 + "tail")
    text = agent.tokenizer.decode(prompt.ids)
    assert len(prompt.ids) <= 20
    assert text.startswith("head")
    assert text.endswith("tail")
    assert prompt.cut_tokens == 58 - len(prompt.ids)


def test_a_turn_over_the_token_limit_is_marked_unfinished():
    batch = make_batch(("A", "B"), sampling=SamplingSettings(max_new_tokens=3))
    assert not share(batch, [1, 1])[0][0][0].completion.finished


def counted(name):
    """Says something else every time, so that no text can be taken for another."""
    output = iter(range(10_000))
    return lambda prompt, number: f"{name}{next(output)}"


def counted_batch(names, cooperation, **settings):
    agents = [scripted_agent(name, counted(name)) for name in names]
    return StepBatch(agents, QUESTIONS, np.array(cooperation), SamplingSettings(max_new_tokens=100), 0, **settings)


MODES = [[True, False], [False, True], [True, True]]


def test_an_agent_hears_every_peer_but_not_itself_in_the_dialogue_at_hand():
    batch = counted_batch(("A", "B", "C"), MODES)
    assert batch.peer_context == "peers"
    ideas, analyses, _ = hold(batch, [3, 3, 3], 2, [2, 2, 2])
    style = STYLES.get("micro")
    for agent, speaker in enumerate(batch.agents):
        peers = [peer for peer in range(3) if peer != agent]
        expected = []
        for index, question in enumerate(QUESTIONS):
            mode = Mode.COOPERATE if MODES[agent][index] else Mode.COMPETE
            for d in range(2):
                heard = [ideas[peer][index][d].text for peer in peers]
                expected.append(style.analyse(question.text, ideas[agent][index][d].text, heard, mode))
        for index, question in enumerate(QUESTIONS):
            mode = Mode.COOPERATE if MODES[agent][index] else Mode.COMPETE
            for d in range(2):
                heard = [ideas[peer][index][d].text for peer in peers]
                judged = [analyses[peer][index][d].text for peer in peers]
                own = ideas[agent][index][d].text, analyses[agent][index][d].text
                expected.append(style.fuse(question.text, own[0], heard, own[1], judged, mode))
        assert speaker.engine.heard == ["1+1", "2+2", *expected]


def test_turns_stand_in_the_order_of_their_dialogues():
    batch = counted_batch(("A", "B"), MODES[:2])
    ideas, analyses, fusions = hold(batch, [3, 3], 2, [2, 2])
    output = [[turn.text for groups in (ideas, analyses, fusions) for group in groups[1] for turn in group]]
    assert output == [[f"B{number}" for number in range(2 * 3 + 2 * 2 + 2 * 2 * 2)]]
    for group, question in zip(fusions[1], QUESTIONS, strict=True):
        prompts = [batch.agents[1].tokenizer.decode(turn.prompt.ids) for turn in group]
        assert prompts[0] == prompts[1] != prompts[2] == prompts[3]
        assert all(prompt.startswith(question.text) for prompt in prompts)


def test_who_hears_itself_reflects_on_and_improves_the_idea_of_the_dialogue_at_hand():
    batch = counted_batch(("A", "B"), MODES[:2], peer_context="itself")
    ideas, analyses, _ = hold(batch, [3, 3], 2, [1, 1])
    words = baseline_prompts(STYLES.get("micro"))
    for agent, speaker in enumerate(batch.agents):
        own, found = ideas[agent], analyses[agent]
        reflections = [words.reflect(q.text, own[p][d].text) for p, q in enumerate(QUESTIONS) for d in range(2)]
        improvements = [
            words.improve(q.text, own[p][d].text, found[p][d].text) for p, q in enumerate(QUESTIONS) for d in range(2)
        ]
        assert speaker.engine.heard == ["1+1", "2+2", *reflections, *improvements]


def test_every_agent_and_stage_draws_from_a_seed_of_its_own_and_within_its_limit():
    sampling = SamplingSettings(max_new_tokens=90, max_analysis_tokens=70, temperature=0.7, rows_per_call=5)
    batch = make_batch(("A", "B"), sampling=sampling)
    hold(batch, [2, 3], 2, [4, 5])
    for agent, speaker in enumerate(batch.agents):
        calls = speaker.engine.calls
        assert [call.seed for call in calls] == [derive_seed(0, s, agent) for s in ("sharing", "analysis", "fusion")]
        assert [call.options for call in calls] == [SamplingOptions(n, 0.7, 5, ()) for n in (90, 70, 90)]
        assert [call.samples for call in calls] == [(2 + agent,) * 2, (1,) * 4, (4 + agent,) * 4]
        assert [call.first for call in calls] == [0, 0, 0]
    assert options(sampling, "fusion", ("\n",)).stop_strings == ("\n",)


def test_some_of_the_questions_by_themselves_are_spoken_of_as_among_all():
    batch = make_batch(("A", "B"), cooperation=[[True, False], [False, True]])
    part = batch.slice(range(1, 2))
    assert part.questions == QUESTIONS[1:]
    assert part.cooperation.tolist() == [[False], [True]]
    assert part.slice(range(0, 1)).question_offset == part.question_offset == 1
    hold(part, [3, 3], 3, [1, 1])
    # Prompts that another process samples before these: one per question, then one per question and dialogue.
    assert [call.first for call in batch.agents[0].engine.calls] == [1, 3, 3]


def test_no_questions_ask_for_nothing():
    batch = make_batch(("A", "B")).slice(range(2, 2))
    assert hold(batch, [1, 1], 1, [1, 1]) == ([[], []],) * 3


def test_prompts_of_an_earlier_process_are_counted_per_question():
    batch = counted_batch(("A", "B"), [[True] * 3, [False] * 3])
    part = replace(batch, questions=(*QUESTIONS, Question("q3", "3+3", "6"))).slice(range(1, 3))
    hold(part, [2, 2], 2, [1, 1])
    assert [call.first for call in batch.agents[1].engine.calls] == [1, 2, 2]


def test_every_agent_speaks_in_its_own_style():
    agents = [scripted_agent(name, counted(name), style=name) for name in ("micro", "chat")]
    batch = StepBatch(agents, QUESTIONS, np.array(MODES[:2]), SamplingSettings(), 0)
    ideas, analyses, _ = hold(batch, [1, 1], 1, [1, 1])
    for agent, other in ((0, 1), (1, 0)):
        style, expected = STYLES.get(agents[agent].name), []
        output = [[by_agent[n][0][0].text for n in (agent, other)] for by_agent in (ideas, analyses)]
        mode = batch.mode(agent, 0)
        expected = [
            style.solve("1+1"),
            style.analyse("1+1", output[0][0], output[0][1:], mode),
            style.fuse("1+1", output[0][0], output[0][1:], output[1][0], output[1][1:], mode),
        ]
        assert agents[agent].engine.heard[::2] == expected
