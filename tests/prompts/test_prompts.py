"""Prompt styles: what is asked is said, and what is answered is read back."""

from __future__ import annotations

import random
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer

from ilr_bench.generation.agent import Agent
from ilr_bench.method.interaction import Mode
from ilr_bench.prompts import STYLES, PromptStyle
from ilr_bench.tasks.types import boxed

STYLE_NAMES = ("micro", "chat", "fewshot", "short")
QUESTIONS = ("12 - 7", "Ann has 3 figs and buys 2. How many figs has she?")


def written(style: PromptStyle, order: tuple[int, ...]) -> str:
    """A ranking as the style's prompt asks for it."""
    if style.name == "chat":
        return "Easy first.\n\\boxed{" + ", ".join(str(index + 1) for index in order) + "}"
    if style.name == "short":
        return ", ".join(str(index + 1) for index in order)
    return " ".join(ascii_lowercase[index] for index in order)


@pytest.fixture(params=STYLE_NAMES)
def style(request: pytest.FixtureRequest) -> PromptStyle:
    return STYLES.get(request.param)


@given(name=st.sampled_from(STYLE_NAMES), order=st.integers(1, 8).flatmap(lambda n: st.permutations(range(n))))
def test_rankings_round_trip(name: str, order: list[int]) -> None:
    style = STYLES.get(name)
    assert style.parse_ranking(written(style, tuple(order)), len(order)) == tuple(order)


@given(
    name=st.sampled_from(STYLE_NAMES),
    order=st.lists(st.integers(0, 5), max_size=6).filter(lambda order: sorted(order) != list(range(4))),
)
def test_what_is_no_permutation_is_no_ranking(name: str, order: list[int]) -> None:
    style = STYLES.get(name)
    assert style.parse_ranking(written(style, tuple(order)), 4) is None


@given(text=st.text(max_size=40), size=st.integers(1, 5))
def test_any_text_is_a_ranking_or_none(text: str, size: int) -> None:
    for name in STYLE_NAMES:
        ranking = STYLES.get(name).parse_ranking(text, size)
        assert ranking is None or sorted(ranking) == list(range(size))


@given(value=st.integers(-(10**6), 10**6))
def test_an_answer_in_its_form_is_read_back(value: int) -> None:
    assert STYLES.get("chat").extract_answer(f"So it is \\boxed{{{value}}}.") == str(value)
    fewshot = STYLES.get("fewshot")
    assert fewshot.extract_answer(f" {value}") == str(value)
    assert fewshot.extract_answer(f"3*4=12 pens. The answer is {value:,}.") == str(value)


@pytest.mark.parametrize(
    ("name", "completion", "answer"),
    [
        ("chat", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("chat", r"first \boxed{3}, again \boxed{3}", "3"),
        ("chat", r"\boxed{3} or \boxed{4}", r"\boxed{3} \boxed{4}"),  # which the grader refuses
        ("chat", r"\boxed{}", None),
        ("chat", r"\boxed{12", None),
        ("chat", r"it is 12", None),
        ("fewshot", "The answer is 3. No, the answer is 4.", None),
        ("fewshot", "The answer is 3. Yes, the answer is 3.", "3"),
        ("fewshot", "The answer is $1,200.50.", "1200.50"),
        ("fewshot", "19.", "19"),
        ("fewshot", "-7", "-7"),
        ("fewshot", "19, since 12 + 7", None),
        ("fewshot", "", None),
    ],
)
def test_answers_are_one_or_none(name: str, completion: str, answer: str | None) -> None:
    assert STYLES.get(name).extract_answer(completion) == answer


@given(inner=st.recursive(st.sampled_from(["1", "x+y", ""]), lambda s: st.builds("{{{}}}{}".format, s, s)))
def test_boxes_hold_whatever_braces_are_balanced(inner: str) -> None:
    assert boxed(f"a \\boxed{{{inner}}} b}}") == [inner.strip()]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("mode", Mode)
def test_prompts_hold_all_that_was_said_once_and_in_order(style: PromptStyle, question: str, mode: Mode) -> None:
    ideas, views = ["idea of mine", "idea of Bob", "idea of Eve"], ["mine judged", "Bob judged", "Eve judged"]
    # Views of two words, since the micro style passes on no more of one.
    analysis = style.analyse(question, ideas[0], ideas[1:], mode)
    fusion = style.fuse(question, ideas[0], ideas[1:], views[0], views[1:], mode)
    for prompt, output in ((analysis, ideas), (fusion, ideas + views)):
        assert question in prompt
        assert [prompt.count(text) for text in output] == [1] * len(output)
        indices = [prompt.index(text) for text in output]
        assert indices == sorted(indices)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_mode_changes_the_words(style: PromptStyle, question: str) -> None:
    def said(mode: Mode) -> tuple[str, str]:
        return (style.analyse(question, "a", ["b"], mode), style.fuse(question, "a", ["b"], "c", ["d"], mode))

    for partner, opponent in zip(said(Mode.COOPERATE), said(Mode.COMPETE), strict=True):
        assert "partner" in partner.lower()
        assert "opponent" not in partner.lower()
        assert "opponent" in opponent.lower()
        assert "partner" not in opponent.lower()


def test_rankings_ask_for_every_question(style: PromptStyle) -> None:
    questions = [f"{number} + {number}" for number in random.Random(0).sample(range(30, 60), 6)]
    prompt = style.rank(questions)
    assert all(question in prompt for question in questions)


@pytest.mark.parametrize("question", QUESTIONS)
def test_few_shot_prompts_end_where_one_line_is_missing(question: str) -> None:
    style = STYLES.get("fewshot")
    output = [
        style.solve(question),
        style.analyse(question, "two\nlines", ["1"], Mode.COMPETE),
        style.fuse(question, "two\nlines", ["1"], "a\nb", ["c"], Mode.COOPERATE),
        style.rank([question, question]),
    ]
    assert all(prompt.endswith((":", "=")) for prompt in output)
    assert all("two lines" in prompt for prompt in output[1:3])
    assert style.stop_strings() == ("\n",)


def test_few_shot_prompts_show_answers_that_they_would_accept() -> None:
    style = STYLES.get("fewshot")
    for question in QUESTIONS:
        fusion = style.fuse(question, "1", ["2"], "3", ["4"], Mode.COMPETE)
        *shown, asked = fusion.split("\n\n")
        assert shown
        assert not asked.endswith(" ")
        for scene in shown:
            last = scene.splitlines()[-1]
            output = last.split(" = " if "12 - 7" in question else ": ", 1)[1]
            assert style.extract_answer(output) is not None


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_only_styles_that_say_so_speak_through_the_chat_template(name: str) -> None:
    style, tokenizer = STYLES.get(name), tiny_tokenizer()
    agent = Agent("x", None, tokenizer, style, None, 512)  # type: ignore[arg-type]
    plain = tuple(tokenizer("3 + 4 =").input_ids)
    assert (agent.render("3 + 4 =").ids == plain) is not style.uses_chat_template
