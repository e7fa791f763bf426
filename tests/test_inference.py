"""Answering together without training: who hears what, what it costs, and who decides."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import scripted_agent

import ablations
from ilr_bench.benchmarks.base import BENCHMARKS, Benchmark, Row
from ilr_bench.config import change
from ilr_bench.errors import ConfigurationError
from ilr_bench.grading import Grader
from ilr_bench.inference import elect, infer
from ilr_bench.profiles import profile
from ilr_bench.records import JOINT, InferenceRecord, Verdict, read

ROWS = (Row("q0", "1+1", "2"), Row("q1", "2+1", "3"))


@pytest.fixture
def benchmark(monkeypatch):
    made = Benchmark("told", "Told", "two sums", "answer", "in-domain", lambda: ROWS, subject="maths")
    monkeypatch.setattr(BENCHMARKS, "_names", [*BENCHMARKS.names(), "told"])
    monkeypatch.setitem(BENCHMARKS._entries, "told", made)
    return made


def answers(text):
    return lambda prompt, number: f"\\boxed{{{text}}}"


def right_after(marker):
    """Wrong until the prompt holds a marker."""

    def speak(prompt, number):
        right = int(prompt.split("+")[0]) + 1
        return f"\\boxed{{{right if marker in prompt else 0}}}"

    return speak


def hold(variant, agents, folder, ability=(0.2, 0.8, 0.5), **changes):
    names = tuple(agent.name for agent in agents)
    start = change(profile("micro"), {"models": names, "evaluation.benchmarks": "told"} | changes)
    config = ablations.get(variant)(start)
    with Grader() as grader:
        infer(agents, ability[: len(agents)], config, folder, grader)
    return list(read(folder / "inference.jsonl", InferenceRecord))


def test_single_is_one_answer_each_and_a_vote(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("2")), scripted_agent("B", answers("3"), offset=1000)]
    records = hold("infer_single", agents, tmp_path)
    assert [(r.question_id, r.agent, r.verdict) for r in records] == [
        ("q0", "A", "correct"), ("q0", "B", "wrong"), ("q0", JOINT, "wrong"),
        ("q1", "A", "wrong"), ("q1", "B", "correct"), ("q1", JOINT, "correct"),
    ]  # fmt: skip
    assert {r.rounds for r in records} == {1}
    assert [r.tokens for r in records[:3]] == [9, 9, 18]
    assert agents[0].engine.heard == ["1+1", "2+1"]


def test_a_debate_shows_everybody_the_others_last_answers(benchmark, tmp_path):
    agents = [scripted_agent("A", right_after("\\boxed{0}")), scripted_agent("B", right_after("\\boxed{2}"))]
    records = hold("infer_debate", agents, tmp_path, **{"evaluation.limit": 1})
    first, second, third = agents[1].engine.heard
    assert first == "1+1"
    assert "partner: \\boxed{0}" in second
    assert "partner: \\boxed{2}" in third
    assert [r.verdict for r in records] == ["correct", "correct", "correct"]
    assert {r.rounds for r in records} == {3}
    # Two earlier rounds of both, and the own third answer; the joint answer takes both third ones.
    assert [r.tokens for r in records] == [5 * 9, 5 * 9, 6 * 9]


def test_a_debate_lasts_as_many_rounds_as_it_is_given(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("2")), scripted_agent("B", answers("2"))]
    records = hold("infer_debate", agents, tmp_path, **{"inference.rounds": 2})
    assert {r.rounds for r in records} == {2}
    assert len(agents[0].engine.heard) == 2 * len(ROWS)


def test_idea3_shares_analyses_and_fuses_as_partners(benchmark, tmp_path):
    agents = [scripted_agent("A", right_after("solve with partner")), scripted_agent("B", answers("7"))]
    records = hold("infer_idea3", agents, tmp_path, **{"evaluation.limit": 1})
    shared, analysed, fused = agents[0].engine.heard
    assert shared == "1+1"
    assert analysed.endswith("build on partner")
    assert fused.endswith("solve with partner")
    assert records[0].verdict is Verdict.CORRECT
    assert {r.rounds for r in records} == {3}
    assert records[-1].tokens == 6 * 9


def test_what_has_been_answered_is_not_answered_again(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("2")), scripted_agent("B", answers("3"))]
    before = hold("infer_single", agents, tmp_path)
    content = (tmp_path / "inference.jsonl").read_bytes()
    again = [replace(agent, engine=None) for agent in agents]
    assert hold("infer_single", again, tmp_path) == before
    assert (tmp_path / "inference.jsonl").read_bytes() == content


def test_questions_that_ask_for_programs_are_left_out(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("2")), scripted_agent("B", answers("3"))]
    records = hold("infer_single", agents, tmp_path, **{"evaluation.benchmarks": "told+micro_code"})
    assert {r.benchmark for r in records} == {"told"}
    with pytest.raises(ConfigurationError, match="write no programs"):
        hold("infer_single", agents, tmp_path / "other", **{"evaluation.benchmarks": "micro_code"})


def equal(one, other):
    return one == other


def test_the_majority_wins_and_ties_go_to_the_ablest():
    assert elect(["2", "3", "3"], [0.9, 0.1, 0.2], equal) == 2
    assert elect(["2", "3", "4"], [0.1, 0.9, 0.5], equal) == 1
    assert elect(["2", "2", "4", "4"], [0.1, 0.2, 0.3, 0.0], equal) == 2
    assert elect(["2", "3"], [0.5, 0.5], equal) == 0


def test_who_has_no_answer_does_not_vote():
    assert elect([None, None, "3"], [0.9, 0.8, 0.1], equal) == 2
    assert elect([None, None], [0.1, 0.2], equal) == 1


@given(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_elected_answer_is_never_rarer_than_another_one(given_answers, random):
    ability = [random.random() for _ in given_answers]
    chosen = given_answers[elect(given_answers, ability, equal)]
    voted = [answer for answer in given_answers if answer is not None]
    if voted:
        assert voted.count(chosen) == max(map(voted.count, voted))


def test_answers_that_the_grader_holds_equal_count_as_one(benchmark, tmp_path):
    agents = [
        scripted_agent("A", answers("4/2")), scripted_agent("B", answers("5")), scripted_agent("C", answers("2.0"))
    ]  # fmt: skip
    joint = hold("infer_single", agents, tmp_path, **{"evaluation.limit": 1})[-1]
    assert joint.verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inference.method": "debate", "models": "A"}, "at least two agents"),
        ({"inference.method": "idea3"}, r"interaction\.rule=coin"),
        ({"inference.method": "debate", "inference.rounds": 1}, "inference.rounds"),
        ({"inference.method": "single", "evaluation.samples": 4}, "one answer per question"),
    ],
)
def test_a_method_that_cannot_be_held_is_refused(changes, message):
    from ilr_bench.validation import validate

    with pytest.raises(ConfigurationError, match=message):
        validate(change(ablations.get("base")(profile("micro")), changes))
