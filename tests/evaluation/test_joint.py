"""Answering together without training: who hears what, what it costs, and who decides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import scripted_agent

import ablations
from ilr_bench.core.config import SamplingSettings, change, content_hash
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation import joint
from ilr_bench.evaluation.joint import majority_vote, run_dialogue, run_joint_inference
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import StepBatch
from ilr_bench.storage.records import JOINT, InferenceRecord, Verdict, read
from ilr_bench.tasks.types import BENCHMARKS, Benchmark, BenchmarkQuestion, Question

ROWS = (BenchmarkQuestion("q0", "1+1", "2"), BenchmarkQuestion("q1", "2+1", "3"))


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

    def answer(prompt, number):
        right = int(prompt.split("+")[0]) + 1
        return f"\\boxed{{{right if marker in prompt else 0}}}"

    return answer


def hold(variant, agents, folder, ability=(0.2, 0.8, 0.5), **changes):
    names = tuple(agent.name for agent in agents)
    start = change(profile("micro"), {"models": names, "evaluation.benchmarks": "told"} | changes)
    config = ablations.get(variant)(start)
    with Grader() as grader:
        run_joint_inference(agents, ability[: len(agents)], config, folder, grader)
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
    assert majority_vote(["2", "3", "3"], [0.9, 0.1, 0.2], equal) == 2
    assert majority_vote(["2", "3", "4"], [0.1, 0.9, 0.5], equal) == 1
    assert majority_vote(["2", "2", "4", "4"], [0.1, 0.2, 0.3, 0.0], equal) == 2
    assert majority_vote(["2", "3"], [0.5, 0.5], equal) == 0


def test_who_has_no_answer_does_not_vote():
    assert majority_vote([None, None, "3"], [0.9, 0.8, 0.1], equal) == 2
    assert majority_vote([None, None], [0.1, 0.2], equal) == 1


@given(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_elected_answer_is_never_rarer_than_another_one(given_answers, random):
    ability = [random.random() for _ in given_answers]
    chosen = given_answers[majority_vote(given_answers, ability, equal)]
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
    from ilr_bench.core.validation import validate

    with pytest.raises(ConfigurationError, match=message):
        validate(change(ablations.get("base")(profile("micro")), changes))


# --- what a record says, and what it was sampled with -----------------------------------------------------------------


class Calls:
    """Notes how an agent's engine is asked."""

    def __init__(self, agent):
        self.made, self._engine = [], agent.engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def sample(self, request):
        self.made.append((len(request.prompts), list(request.samples), request.options, request.seed))
        return self._engine.sample(request)


def noting(agent):
    return replace(agent, engine=Calls(agent))


def test_a_record_says_what_was_asked_said_and_earned(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("3")), scripted_agent("B", answers("2"), offset=1000)]
    first, second, joint = hold("infer_single", agents, tmp_path, **{"evaluation.limit": 1, "seed": 5})
    asked = [tuple(ord(letter) + offset for letter in "1+1") for offset in (0, 1000)]
    seed = derive_seed(5, "inference", "told")
    expected = InferenceRecord(
        "told", "single", "A", "q0", 1, 9, content_hash([asked[0]]), "\\boxed{3}", "3", "2", Verdict.WRONG, seed
    )
    assert first == expected
    assert second.prompt_hash == content_hash([asked[1]])
    # B is the abler one: its answer stands for both, and its prompt comes first.
    assert joint == replace(
        expected, agent=JOINT, tokens=18, prompt_hash=content_hash(asked[::-1]), completion="\\boxed{2}", answer="2",
        verdict=Verdict.CORRECT,
    )  # fmt: skip


def test_prompts_that_were_cut_are_counted_over_all_rounds(benchmark, tmp_path):
    agents = [scripted_agent(name, answers("2"), limit=limit) for name, limit in (("A", 5), ("B", 10_000))]
    records = hold("infer_debate", agents, tmp_path, **{"evaluation.limit": 1, "inference.rounds": 3})
    # A is cut in the second and the third round; B's answer takes A's second turn, not its third.
    assert [record.cut_prompts for record in records] == [2, 1, 2]


def test_a_prompt_that_lost_one_token_is_counted(benchmark, tmp_path):
    records = hold("infer_single", [scripted_agent("A", answers("2"), limit=2)], tmp_path)
    assert {record.cut_prompts for record in records} == {1}


def test_answers_that_were_altered_since_are_sampled_again(benchmark, tmp_path):
    agent = scripted_agent("A", answers("2"))
    before = hold("infer_single", [agent], tmp_path)
    path = tmp_path / "inference.jsonl"
    path.write_text(path.read_text().replace('"correct"', '"wrong"'))
    agent.engine.heard.clear()
    assert hold("infer_single", [agent], tmp_path) == before
    assert agent.engine.heard == ["1+1", "2+1"]


def test_every_round_of_a_debate_has_a_seed_of_its_own(benchmark, tmp_path):
    agents = [noting(scripted_agent(name, answers("2"))) for name in ("A", "B")]
    hold("infer_debate", agents, tmp_path)
    start = derive_seed(0, "inference", "told")
    rounds = [start, *(derive_seed(start, "round", number) for number in (2, 3))]
    for number, agent in enumerate(agents):
        assert [seed for *_, seed in agent.engine.made] == [derive_seed(seed, "sharing", number) for seed in rounds]
        assert [(prompts, samples) for prompts, samples, *_ in agent.engine.made] == [(2, [1, 1])] * 3


def test_answers_are_sampled_as_an_evaluation_samples(benchmark, tmp_path):
    for index, (changes, limit) in enumerate(
        [
            ({}, 20),
            ({"evaluation.token_limit": 7}, 7),
            ({"told": 11}, 11),
            ({"told": 11, "evaluation.token_limit": 7}, 7),
        ]
    ):
        own = changes.pop("told", None)
        BENCHMARKS._entries["told"] = replace(benchmark, max_new_tokens=own)
        agent = noting(scripted_agent("A", lambda prompt, number: "9" * 50))
        settings = {"evaluation.max_new_tokens": 20, "evaluation.temperature": 0.4, "evaluation.rows_per_call": 3}
        records = hold("infer_single", [agent], tmp_path / str(index), **settings | changes)
        ((_, _, options, _),) = agent.engine.made
        assert (options.max_new_tokens, options.temperature, options.rows_per_call) == (limit, 0.4, 3)
        assert {record.tokens for record in records} == {limit}


def test_choices_are_asked_for_in_their_form_and_found_by_their_letter(benchmark, tmp_path):
    rows = (BenchmarkQuestion("q", "Which?\nA. one\nB. two", "B"),)
    BENCHMARKS._entries["told"] = replace(benchmark, kind="choice", load=lambda: rows)
    agent = scripted_agent("A", lambda prompt, number: r"\boxed{B. two}", style="chat")
    records = hold("infer_single", [agent], tmp_path, prompt_style="chat")
    assert "the letter of the right option" in agent.engine.heard[0]
    assert [(record.answer, record.verdict) for record in records] == [("B", Verdict.CORRECT)] * 2


def test_few_shot_agents_stop_where_their_kind_of_answer_ends(benchmark, tmp_path):
    agent = noting(scripted_agent("A", lambda prompt, number: " 2", style="fewshot"))
    hold("infer_single", [agent], tmp_path, prompt_style="fewshot")
    assert agent.engine.made[0][2].stop_strings == ("\n",)
    assert agent.engine.heard == [agent.style.solve(row.question) for row in ROWS]


def test_an_answer_is_judged_with_its_own_question(benchmark, tmp_path):
    agents = [scripted_agent("A", lambda prompt, number: f"\\boxed{{{prompt}}}")]
    # A question copied into the box is no answer.
    assert {record.verdict for record in hold("infer_single", agents, tmp_path)} == {Verdict.MISSING}


def test_the_abler_agent_decides_each_question(benchmark, tmp_path):
    agents = [scripted_agent("A", answers("2")), scripted_agent("B", answers("3"))]
    for index, (ability, wanted) in enumerate([((0.9, 0.1), ["2", "2"]), ((0.1, 0.9), ["3", "3"])]):
        records = hold("infer_single", agents, tmp_path / str(index), ability=ability)
        assert [record.answer for record in records if record.agent == JOINT] == wanted


@pytest.fixture
def two_benchmarks(benchmark, monkeypatch):
    other = replace(benchmark, name="also", load=lambda: (BenchmarkQuestion("q9", "4+1", "5"),))
    monkeypatch.setattr(BENCHMARKS, "_names", [*BENCHMARKS.names(), "also"])
    monkeypatch.setitem(BENCHMARKS._entries, "also", other)
    return {"evaluation.benchmarks": "told+also"}


def test_the_share_that_is_done_is_told_benchmark_by_benchmark(two_benchmarks, tmp_path):
    agent, shares = scripted_agent("A", answers("2")), []
    config = ablations.get("infer_single")(change(profile("micro"), {"models": ("A",)} | two_benchmarks))
    with Grader() as grader:
        run_joint_inference([agent], [0.5], config, tmp_path, grader, shares.append)
    assert shares == [0.5, 1.0]
    records = list(read(tmp_path / "inference.jsonl", InferenceRecord))
    assert [(record.benchmark, record.question_id) for record in records] == [
        ("told", "q0"), ("told", "q0"), ("told", "q1"), ("told", "q1"), ("also", "q9"), ("also", "q9"),
    ]  # fmt: skip


def test_only_what_is_missing_is_answered(two_benchmarks, benchmark, tmp_path):
    agent = scripted_agent("A", answers("2"))
    hold("infer_single", [agent], tmp_path, **{"evaluation.limit": 1})
    agent.engine.heard.clear()
    records = hold("infer_single", [agent], tmp_path, **two_benchmarks)
    # The first benchmark was answered for one question only, so it is answered anew.
    assert agent.engine.heard == ["1+1", "2+1", "4+1"]
    assert len(records) == 6
    agent.engine.heard.clear()
    assert hold("infer_single", [agent], tmp_path, **{"evaluation.benchmarks": "told"}) == records[:4]
    assert agent.engine.heard == []


def test_in_idea3_an_agent_never_meets_its_own_words_as_a_peers(tmp_path):
    agents = [scripted_agent(name, lambda prompt, number, name=name: f"{name}{prompt.count('view')}") for name in "ABC"]
    questions = [Question("q0", "1+1", "2"), Question("q1", "2+2", "4")]
    modes = np.array([[True, False]] * 3)
    output = run_dialogue(StepBatch(agents, questions, modes, SamplingSettings(), 3), "idea3", 9)
    assert len(output) == 3
    fused = agents[1].engine.heard[4:]
    assert fused[0].split("\n")[:4] == ["1+1", "mine: B0", "partner: A0", "partner: C0"]
    assert fused[1].split("\n")[:4] == ["2+2", "mine: B0", "opponent: A0", "opponent: C0"]
    assert [turn.text for (turn,) in output[2][1]] == ["B3", "B3"]


def test_in_a_debate_an_agent_meets_the_others_in_their_order(tmp_path):
    agents = [scripted_agent(name, lambda prompt, number, name=name: f"{name}{len(prompt)}") for name in "ABC"]
    questions = [Question("q0", "1+1", "2"), Question("q1", "20+2", "22")]
    output = run_dialogue(StepBatch(agents, questions, np.ones((3, 2), dtype=bool), SamplingSettings(), 3), "debate", 2)
    assert len(output) == 2
    assert agents[1].engine.heard[2].split("\n")[:4] == ["1+1", "mine: B3", "partner: A3", "partner: C3"]
    assert agents[1].engine.heard[3].split("\n")[:4] == ["20+2", "mine: B4", "partner: A4", "partner: C4"]


def test_a_second_question_has_prompts_and_texts_of_its_own(benchmark, tmp_path):
    agent = scripted_agent("A", lambda prompt, number: f"\\boxed{{{len(prompt)}}} to {prompt}")
    records = hold("infer_single", [agent], tmp_path)
    assert [record.completion for record in records if record.agent == "A"] == [
        "\\boxed{3} to 1+1", "\\boxed{3} to 2+1"
    ]  # fmt: skip
    assert len({record.prompt_hash for record in records}) == 2


def test_a_request_to_stop_is_heard_between_benchmarks_and_not_after_the_last(two_benchmarks, tmp_path, monkeypatch):
    places = []
    monkeypatch.setattr(joint, "stop_here", places.append)
    hold("infer_single", [scripted_agent("A", answers("2"))], tmp_path, **two_benchmarks)
    assert places == [f"told in {tmp_path / 'inference.jsonl'}"]
