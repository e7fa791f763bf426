"""The very words of the prompts: models answer another prompt otherwise, so a word that changes changes all numbers."""

from __future__ import annotations

import re

import pytest

from ilr_bench.core.config import content_hash
from ilr_bench.method.interaction import Mode
from ilr_bench.prompts import STYLES, PromptStyle, task_formats
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.prompts.fewshot import EASY_TO_HARD, SHUFFLES, SUMS, WORDED
from ilr_bench.prompts.letters import letter_of
from ilr_bench.tasks.sources.sums import value_of
from ilr_bench.tasks.types import boxed

MICRO, CHAT, FEWSHOT = (STYLES.get(name) for name in ("micro", "chat", "fewshot"))
QUESTIONS = ("12 - 7", "Ann has 3 figs.\nHow many?")
KINDS = ("answer", "choice", "code", "function")


def everything(style: PromptStyle) -> list[str]:
    """Every text a style can make, of discussions of two and of three agents."""
    texts = []
    words, forms = baseline_prompts(style), task_formats(style)
    for question in (*QUESTIONS, r"Half of $\frac{1}{2}$?"):
        texts += [style.solve(question), words.reflect(question, "mine"), words.improve(question, "mine", "my view")]
        texts += [forms.solve_as(question, kind) for kind in KINDS]
        for mode in Mode:
            for peers in (["his"], ["his", "her\nown"]):
                views = [f"{peer} view" for peer in peers]
                texts.append(style.analyse(question, "my\nown", peers, mode))
                texts.append(style.fuse(question, "my\nown", peers, "my view", views, mode))
                texts.append(words.revise(question, "mine", peers))
    texts += [style.rank([QUESTIONS[index % 2] for index in range(size)]) for size in (1, 2, 5)]
    return [*texts, *style.stop_strings(), *(stop for kind in KINDS for stop in forms.stops_as(kind))]


@pytest.mark.parametrize(
    ("name", "digest"),
    [("micro", "6594ba8c2c49"), ("chat", "8932a7f3a05b"), ("fewshot", "2c8a8eb153bd"), ("short", "cca8ec0b2fcb")],
)
def test_no_word_of_a_prompt_changes_unseen(name: str, digest: str) -> None:
    # Where words are meant to change: new digests here, and a line under **results** in CHANGELOG.md.
    assert content_hash(everything(STYLES.get(name))) == digest


@pytest.mark.parametrize(
    ("mode", "peer", "look", "join"),
    [
        (Mode.COOPERATE, "partner", "build on partner", "solve with partner"),
        (Mode.COMPETE, "opponent", "refute opponent", "beat opponent"),
    ],
)
def test_micro_prompts_word_by_word(mode: Mode, peer: str, look: str, join: str) -> None:
    assert MICRO.solve("1+2") == "1+2"
    assert MICRO.analyse("1+2", "a\n b", ["c", "d  e"], mode) == f"1+2\nmine: a b\n{peer}: c\n{peer}: d e\n{look}"
    fused = MICRO.fuse("1+2", "a", ["b", "c"], "one two three", ["x; y z w; v"], mode)
    # Of each analysis and each peer in it, the last two words.
    assert fused == f"1+2\nmine: a\n{peer}: b\n{peer}: c\nmy view: two three\n{peer} view: x; z w; v\n{join}"
    assert MICRO.rank(["1+2", "3"]) == "a) 1+2\nb) 3\nrank easy to hard"


@pytest.mark.parametrize(
    ("text", "ranking"),
    [
        ("a3 b5 c2 : c a b", (2, 0, 1)),
        ("c a b", (2, 0, 1)),
        ("a b c : b c a : a b c", (0, 1, 2)),
        ("c a", None),
        ("ab c", None),
        ("a b B", None),
        ("a b d", None),
        ("a bb c", None),
        ("aa b c", None),
    ],
)
def test_a_ranking_is_what_stands_last(text: str, ranking: tuple[int, ...] | None) -> None:
    assert MICRO.parse_ranking(text, 3) == ranking
    if ":" not in text:
        assert FEWSHOT.parse_ranking(text, 3) == ranking


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"\boxed{3}", "3"), (r"\boxed{ 3 } and \boxed{3}", "3"), (r"\boxed{3} \boxed{4}", None),
        (r"\boxed{} \boxed{3}", "3"), (r"\boxed{}", None), ("3", None),
    ],
)  # fmt: skip
def test_a_micro_answer_is_what_one_box_holds(completion: str, answer: str | None) -> None:
    assert MICRO.extract_answer(completion) == answer


@pytest.mark.parametrize(
    ("mode", "count", "scene", "names"),
    [
        (Mode.COOPERATE, 1, "together with a partner.", ["your partner"]),
        (Mode.COOPERATE, 2, "together with 2 partners.", ["partner 1", "partner 2"]),
        (Mode.COMPETE, 1, "against an opponent.", ["your opponent"]),
        (Mode.COMPETE, 3, "against 3 opponents.", ["opponent 1", "opponent 2", "opponent 3"]),
    ],
)
def test_chat_prompts_name_every_peer_beside_its_own_text(mode: Mode, count: int, scene: str, names: list[str]) -> None:
    ideas, views = [f"idea {k}" for k in range(count)], [f"view {k}" for k in range(count)]
    analysis = CHAT.analyse("Q?", "mine", ideas, mode).split("\n\n")
    fusion = CHAT.fuse("Q?", "mine", ideas, "my view", views, mode).split("\n\n")
    opening = ["Question: Q?", "Your solution:\nmine"]
    solutions = [f"The solution of {name}:\n{idea}" for name, idea in zip(names, ideas, strict=True)]
    found = [f"The analysis of {name}:\n{view}" for name, view in zip(names, views, strict=True)]
    assert analysis[0].endswith(scene)
    assert analysis[1:-1] == [*opening, *solutions]
    assert fusion[0] == analysis[0]
    assert fusion[1:-1] == [*opening, *solutions, "Your analysis:\nmy view", *found]
    assert fusion[-1].endswith(r"\boxed{}.")


def test_chat_models_rank_by_numbers_from_one() -> None:
    prompt = CHAT.rank(["first", "second", "third"])
    assert prompt.split("\n\n")[:3] == ["Question 1: first", "Question 2: second", "Question 3: third"]
    assert "these 3 questions" in prompt
    assert CHAT.parse_ranking(r"\boxed{2, 1, 3}", 3) == (1, 0, 2)
    for bad in (
        r"\boxed{0, 1, 2}",
        r"\boxed{1, 2}",
        r"\boxed{1, 2, x}",
        r"\boxed{1, x, 3}",
        r"\boxed{x, 2, 3}",
        r"\boxed{1 2 3}",
        "1, 2, 3",
    ):
        assert CHAT.parse_ranking(bad, 3) is None


@pytest.mark.parametrize(
    ("kind", "form"),
    [("answer", r"within \boxed{}."), ("choice", "the letter of the right option"), ("code", "```python"),
     ("function", "```python")],
)  # fmt: skip
def test_chat_models_are_told_the_form_of_the_answer(kind: str, form: str) -> None:
    asked = task_formats(CHAT).solve_as("Q?", kind)  # type: ignore[arg-type]
    question, told = asked.split("\n\n")
    assert question == "Q?"
    assert form in told
    assert ("letter" in told, "```" in told) == (kind == "choice", kind in ("code", "function"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"a \boxed{1} b \boxed{ 2 }", ["1", "2"]),
        (r"\boxed{\frac{1}{2}} }", [r"\frac{1}{2}"]),
        (r"\boxed{{1}", []),
        (r"\boxed{1 \boxed{2}", ["2"]),
    ],
)
def test_boxes_are_closed_by_their_own_brace(text: str, found: list[str]) -> None:
    assert boxed(text) == found


@pytest.mark.parametrize(
    ("content", "letter"),
    [
        ("C", "C"), ("(C)", "C"), ("C:", "C"), ("(C).", "C"), (r"\mathrm{C}", "C"), (r"\textbf{ (C) }", "C"),
        ("C: a reason", "C"), ("(C) a reason", "C"), ("C) vitamin A. and more", None), ("C. as in (B) here", None),
        ("C. USA. is", "C"), ("C reason", None), ("CD", None),
    ],
)  # fmt: skip
def test_an_option_is_its_letter_alone_or_before_its_words(content: str, letter: str | None) -> None:
    assert letter_of(content) == letter


def test_worked_sums_are_right_and_their_slips_are_wrong() -> None:
    for shown, slip in zip(SUMS, (1, -1, -10, 2), strict=True):
        value = value_of(shown.question)
        assert (shown.right, shown.wrong) == (str(value), str(value + slip))
        assert shown.praise == f"{value} is right."
        assert shown.blame == f"{value + slip} is wrong, since {shown.question} = {value}."


def test_worked_word_problems_calculate_rightly_and_differ_from_their_wrong_ideas() -> None:
    for shown in WORDED:
        right, wrong = (FEWSHOT.extract_answer(text) for text in (shown.right, shown.wrong))
        assert right != wrong
        for left, result in re.findall(r"([\d*/+-]+)=(\d+)", shown.right + shown.praise):
            assert eval(left) == int(result)
        assert f"{right} is right." in shown.praise
        assert f"{wrong} is wrong." in shown.blame


def test_worked_discussions_are_right_and_wrong_by_turns() -> None:
    for question, examples, ending in ((QUESTIONS[0], SUMS, "= "), (QUESTIONS[1], WORDED[:2], ": ")):
        analysis = FEWSHOT.analyse(question, "x", ["y"], Mode.COMPETE).split("\n\n")[:-1]
        fusion = FEWSHOT.fuse(question, "x", ["y"], "v", ["w"], Mode.COMPETE).split("\n\n")[:-1]
        assert len(analysis) == len(fusion) == len(examples)
        for index, (shown, seen, fused) in enumerate(zip(examples, analysis, fusion, strict=True)):
            own, peer = (shown.right, shown.wrong) if index % 2 == 0 else (shown.wrong, shown.right)
            of_peer, of_own = (shown.blame, shown.praise) if index % 2 == 0 else (shown.praise, shown.blame)
            head = [f"Question: {shown.question}", f"Mine: {own}", f"Opponent: {peer}"]
            assert seen.split("\n") == [*head, f"Refute the opponent: {of_peer}"]
            assert fused.split("\n")[:-1] == [*head, f"My view: {of_peer}", f"Opponent's view: {of_own}"]
            assert fused.endswith(f"{ending}{shown.right}")


def test_worked_rankings_are_in_the_order_from_easy_to_hard() -> None:
    *examples, asked = FEWSHOT.rank(["6 + 7", "8"]).split("\n\n")
    assert asked == "a) 6 + 7\nb) 8\nFrom easy to hard:"
    assert len(examples) == len(SHUFFLES)
    for example in examples:
        *listed, last = example.split("\n")
        by_letter = {line[0]: line[3:] for line in listed}
        assert list(by_letter) == list("abcd")
        output = last.removeprefix("From easy to hard: ")
        ranking = FEWSHOT.parse_ranking(output, 4)
        assert ranking is not None
        assert ranking != (0, 1, 2, 3)
        assert tuple(by_letter[letter] for letter in output.split()) == EASY_TO_HARD


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("The answer is $5$.", "5"), ("The answer is $x$.", "x"), ("The answer is $$.", "$$"),
        ("The answer is 5 red pens.", "5"), ("The answer is 5 m/s.", "5 m/s"), ("The answer is -1,000.5.", "-1000.5"),
        ("The answer is $1,200", "1200"), (" 1,200. ", "1200"), ("The answer is $x.", "$x"),
    ],
)  # fmt: skip
def test_few_shot_answers_are_bared_of_currency_commas_and_units(completion: str, answer: str) -> None:
    assert task_formats(FEWSHOT).extract_as(completion, "answer") == answer


def test_a_style_has_its_own_words_for_rivals_only_if_it_is_the_chat_style() -> None:
    text = baseline_prompts(CHAT).revise("Q?", "mine", ["his", "hers"])
    assert text.split("\n\n")[:-1] == [
        "Question: Q?", "Your answer:\nmine", "The answer of agent 2:\nhis", "The answer of agent 3:\nhers",
    ]  # fmt: skip
    words = baseline_prompts(MICRO)
    assert words.revise("Q", "a", ["b", "c"]) == MICRO.fuse("Q", "a", ["b", "c"], "a", ["b", "c"], Mode.COOPERATE)
    assert words.reflect("Q", "a") == MICRO.analyse("Q", "a", ["a"], Mode.COMPETE)
    assert words.improve("Q", "a", "r") == MICRO.fuse("Q", "a", ["a"], "r", ["r"], Mode.COMPETE)
    chat = baseline_prompts(CHAT)
    assert chat.reflect("Q?", "mine").split("\n\n")[:-1] == ["Question: Q?", "Your solution:\nmine"]
    assert chat.improve("Q?", "mine", "flaws").split("\n\n")[:-1] == [
        "Question: Q?", "Your solution:\nmine", "Your analysis of it:\nflaws",
    ]  # fmt: skip
