"""Micro questions: exact, deterministic, and never shared between training, validation and benchmarks."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.method.interaction import Mode
from ilr_bench.method.rewards import right_steps
from ilr_bench.prompts.micro import MicroStyle
from ilr_bench.tasks.sources import micro
from ilr_bench.tasks.sources.micro import code_stream

STYLE = MicroStyle()
EVALUATED = {family: micro.benchmark_questions(family, 220) for family in micro.FAMILIES}
TRAINING, VALIDATION = micro.load(512, 200)


def value_of(text: str) -> int | None:
    """What Python makes of a chain; None for a story."""
    expression = text.removesuffix("=?")
    return eval(expression, {"__builtins__": {}}) if re.fullmatch(r"[-+*()\d]+", expression) else None


def story_value(text: str) -> int:
    """An independent reading of a story."""
    total = int(re.search(r"has (\d+)", text)[1])  # type: ignore[index]
    for verb, count in re.findall(r", (\w+) (\d+)", text):
        total += int(count) if verb in {"buys", "finds", "gets"} else -int(count)
    return total


def test_no_text_is_shared_between_training_validation_and_benchmarks() -> None:
    evaluated = {question.text for questions in EVALUATED.values() for question in questions}
    training, validation = {q.text for q in TRAINING}, {q.text for q in VALIDATION}
    assert len(evaluated) == 220 * len(micro.FAMILIES) >= 1000
    assert (len(training), len(validation)) == (512, 200)
    assert not training & validation
    assert not (training | validation) & evaluated


@pytest.mark.parametrize("family", micro.FAMILIES)
def test_gold_answers_are_what_python_computes(family: str) -> None:
    for question in EVALUATED[family]:
        expected = story_value(question.text) if family == "word_problem" else value_of(question.text)
        assert question.answer == str(expected)


def test_gold_steps_lead_to_the_answer_and_earn_full_credit() -> None:
    for question in TRAINING:
        tape = micro.read_tape(question.steps)
        assert all(micro.apply(value, operation) == result for value, operation, result in tape)
        assert str(tape[-1][2]) == question.answer
        assert micro.write_tape(tape) == question.steps
        assert right_steps(" ".join(question.steps), question.steps) == 1.0


def test_out_of_distribution_questions_are_longer_or_larger_than_any_training_question() -> None:
    assert max(len(question.steps) for question in TRAINING) == micro.LONGEST_TRAINING_CHAIN
    for question in EVALUATED["ood"]:
        start, operations = micro.chain_of(question)
        longer_product = operations[0][0] == "*" and len(operations) > 2
        assert longer_product or len(operations) > micro.LONGEST_TRAINING_CHAIN or start > micro.LARGEST_START


def test_the_mix_is_even_and_loading_twice_gives_the_same() -> None:
    counts = {family: sum(q.family == family for q in TRAINING) for family in micro.TRAINING_FAMILIES}
    assert set(counts.values()) == {128}
    assert micro.load(512, 200) == (TRAINING, VALIDATION)
    assert len({question.id for question in TRAINING + VALIDATION}) == 712


def test_an_unknown_family_and_an_exhausted_one_say_so() -> None:
    with pytest.raises(ConfigurationError, match="known: short_chain"):
        micro.benchmark_questions("chains", 1)
    with pytest.raises(ConfigurationError, match="two_step: only"):
        micro.benchmark_questions("two_step", 5000)


def test_code_problems_are_whole_programs_in_the_permitted_subset_and_never_taught() -> None:
    problems = micro.code_problems(100)
    trained_on = {task.question for task in code_stream("training", random.Random(0))}
    assert len({problem["question"] for problem in problems}) == 100
    for problem in problems:
        assert problem["question"] not in trained_on
        assert re.fullmatch(r"def f\(x\): return [-+*<>()x\d]+\n", problem["canonical_solution"])
        namespace: dict[str, object] = {}
        exec(problem["prompt"] + problem["canonical_solution"], namespace)
        assert callable(namespace[problem["entry_point"]])


@given(st.permutations(range(4)))
def test_rankings_come_back_with_or_without_counts(order: list[int]) -> None:
    letters = " ".join("abcd"[index] for index in order)
    assert STYLE.parse_ranking(letters, 4) == tuple(order)
    assert STYLE.parse_ranking(f"a2 b3 c2 d6 : {letters}", 4) == tuple(order)


@pytest.mark.parametrize("text", ["", "a b c", "a b c c", "ab c d", "a b c d e", "a b c 4"])
def test_what_is_no_permutation_is_no_ranking(text: str) -> None:
    assert STYLE.parse_ranking(text, 4) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"3+5=8 \boxed{8}", "8"),
        (r"\boxed{8} \boxed{8}", "8"),
        (r"\boxed{8} \boxed{9}", None),
        ("8", None),
        (r"\boxed{}", None),
    ],
)
def test_an_answer_is_one_thing_in_a_box(text: str, answer: str | None) -> None:
    assert STYLE.extract_answer(text) == answer


@pytest.mark.parametrize("peers", [1, 2, 3])
def test_prompts_hold_every_idea_and_differ_by_mode(peers: int) -> None:
    ideas, views = [f"idea{index}" for index in range(peers)], [f"step/{index} fix" for index in range(peers)]
    for make in (
        lambda mode: STYLE.analyse("1+1=?", "own", ideas, mode),
        lambda mode: STYLE.fuse("1+1=?", "own", ideas, "2/3 wrong", views, mode),
    ):
        friendly, hostile = make(Mode.COOPERATE), make(Mode.COMPETE)
        assert all(idea in friendly and idea in hostile for idea in ideas)
        assert friendly.startswith("1+1=?\nmine: own\n")
        assert ("partner" in friendly, "opponent" in friendly) == (True, False)
        assert ("partner" in hostile, "opponent" in hostile) == (False, True)
