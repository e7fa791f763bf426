"""Thoughts before an answer, and prompts that a tokenizer ends: what is read and what a model is asked."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import scripted_agent

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.evaluation.lm_eval_tasks import LmEvalStyleLM
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.thoughts import ANY, Thoughts, thoughts_of, without_thought
from ilr_bench.storage.provenance import trial_hash
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import BenchmarkQuestion, get

QWEN = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}</think>"


class Speller:
    """A tokenizer of words, whose chat template and special tokens a test chooses."""

    eos_token_id = 0

    def __init__(self, template: str | None = None, prompt: str = "", special: tuple[str, ...] = ()) -> None:
        self.chat_template, self.prompt, self.all_special_tokens = template, prompt, ("</s>", *special)
        self.words: list[str] = ["</s>", *special]

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        return self.prompt

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.words.index(token)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        self.words += [word for word in text.split() if word not in self.words]
        return {"input_ids": [*map(self.words.index, text.split()), *([0] if add_special_tokens else [])]}

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        said = [self.words[token] for token in ids]
        return " ".join(word for word in said if not (skip_special_tokens and word in self.all_special_tokens))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("no thought", "no thought"), ("<think>a</think> b", " b"), ("a</think>b", "b"), ("<think>a", ""),
        ("<think>a</think>", ""), ("<think>a</think>b<think>c</think>d", "d"), ("<think>a</think>b<think>c", ""),
        ("◁think▷a◁/think▷b", "b"), ("[THINK]a[/THINK]b", "b"), ("a < think > b", "a < think > b"),
        ("<THINK>a</Think>b", "b"), ("<Thought>a", ""), ("<thoughts>a</thoughts>b", "b"),
        ("<|inner_prefix|>a<|inner_suffix|>b", "b"), ("İ<think>a</THINK>ß", "ß"),
    ],
)  # fmt: skip
def test_what_counts_stands_after_the_last_thought(text: str, rest: str) -> None:
    assert without_thought(text) == rest


def test_marks_are_those_of_the_template_or_of_the_setting() -> None:
    assert thoughts_of(Speller()) == thoughts_of(Speller("{{ messages }}")) == ANY
    assert thoughts_of(Speller(QWEN, "x")).marks == (("<think>", "</think>"),)
    assert without_thought("[THINK]a[/THINK]b", thoughts_of(Speller(QWEN, "x"))) == "[THINK]a[/THINK]b"
    own = thoughts_of(Speller(QWEN, "x"), "(( ))")
    assert without_thought("((a))b", own) == "b"
    for wrong in ("<think>", "a b c", ""):
        with pytest.raises(ConfigurationError, match="thought_marks"):
            thoughts_of(Speller(QWEN, "x"), wrong)


FAMILIES = """<think> </think>
<thinking> </thinking>
<thought> </thought>
<reasoning> </reasoning>
<seed:think> </seed:think>
[THINK] [/THINK]
◁think▷ ◁/think▷
<|begin_of_thought|> <|end_of_thought|>
<|START_THINKING|> <|END_THINKING|>
<|channel|>analysis<|message|> <|channel|>final<|message|>
<unused94>thought <unused95>"""


@pytest.mark.parametrize("marks", FAMILIES.split("\n"))
def test_every_family_of_models_has_its_marks(marks: str) -> None:
    start, end = marks.split(" ")
    assert thoughts_of(Speller(f"{{{{ messages }}}}{end}", "x")).marks == ((start, end),)
    assert [without_thought(text) for text in (f"{start}a{end}b", f"{start}a", f"a{end}b")] == ["b", "", "b"]


def test_marks_of_the_setting_need_no_template_and_a_template_is_asked_for_a_users_turn() -> None:
    assert thoughts_of(Speller(None, "(("), "(( ))") == Thoughts((("((", "))"),))
    own = thoughts_of(Speller(QWEN, "? (("), "(( ))")
    assert (own.marks, own.opened, without_thought("((a", own)) == ((("((", "))"),), True, "")
    asked: list[Any] = []
    speller = Speller(QWEN, "<think>", ("", "<think>"))
    speller.apply_chat_template = lambda messages, **options: asked.append((messages, options)) or "<think>"  # type: ignore[method-assign]
    assert thoughts_of(speller) == Thoughts((("<think>", "</think>"),), True, ("<think>",))
    assert asked == [([{"role": "user", "content": "?"}], {"add_generation_prompt": True, "tokenize": False})]


def test_one_open_thought_of_two_kinds_is_open() -> None:
    assert thoughts_of(Speller("</think> [/THINK]", "[THINK] [/THINK] <think>")).opened


def test_a_prompt_that_opens_a_thought_makes_an_unended_one_no_answer() -> None:
    opened = thoughts_of(Speller(QWEN, "<|im_start|>? <think>\n"))
    closed = thoughts_of(Speller(QWEN, "<|im_start|>? <think>\n\n</think>\n"))
    assert (opened.opened, closed.opened) == (True, False)
    assert without_thought(r"so \boxed{1}", opened) == ""
    assert without_thought(r"so</think>\boxed{1}", opened) == r"\boxed{1}"
    assert without_thought(r"so \boxed{1}", closed) == r"so \boxed{1}"


def test_marks_that_are_special_tokens_outlive_decoding() -> None:
    tokenizer = Speller("[THINK] [/THINK]", "x", ("[THINK]", "[/THINK]"))
    thoughts = thoughts_of(tokenizer)
    assert thoughts.kept_tokens == ("[THINK]", "[/THINK]")
    agent = Agent("a", None, tokenizer, STYLES.get("chat"), None, 9, thoughts)  # type: ignore[arg-type]
    ids = tokenizer(r"[THINK] maybe \boxed{2} [/THINK] \boxed{1}")["input_ids"]
    assert agent.decode(ids) == r"[THINK]maybe \boxed{2}[/THINK]\boxed{1}"
    agent.thoughts = Thoughts()
    assert agent.decode(ids) == r"maybe \boxed{2} \boxed{1}"


@pytest.mark.parametrize(
    ("name", "said", "gold"),
    [
        ("gsm8k", r"\boxed{%s}", ("7", "8")),
        ("mmlu_pro", r"\boxed{%s}", ("C", "D")),
        ("micro_code", "def f(x):\n    return x + %s", ("7", "8")),
    ],
)
def test_benchmarks_of_every_kind_read_no_thought(name: str, said: str, gold: tuple[str, str]) -> None:
    tests = {"entry_point": "f", "tests": [["f(1)", str(1 + int(gold[0]))]]} if name == "micro_code" else None
    row = BenchmarkQuestion("x", "What?", gold[0], tests)
    right, wrong = said % gold[0], said % gold[1]
    agent = scripted_agent("a", lambda prompt, sample: "", style="chat")
    with Grader() as grader, Scorer(get(name), agent, grader) as scorer:
        texts = [f"<think>\n{wrong}\n</think>\n{right}", f"<think>\n{right}\n</think>\n{wrong}", f"<think>\n{right}"]
        answers = [scorer._answer(row, text) for text in texts]
        assert answers == [scorer._answer(row, right), scorer._answer(row, wrong), None]
        agent.thoughts = Thoughts(opened=True)
    with Grader() as grader, Scorer(get(name), agent, grader) as scorer:
        assert scorer._answer(row, right) is None
        assert scorer._answer(row, f"{wrong}\n</think>\n{right}") is not None


def test_two_values_are_no_answer_and_one_value_in_two_boxes_is() -> None:
    row = BenchmarkQuestion("x", "What?", "18")
    agent = scripted_agent("a", lambda prompt, sample: "", style="chat")
    texts = [r"\boxed{\$18}, so \boxed{18.0}", r"\boxed{18} or \boxed{20}", r"\boxed{20}, that is \boxed{\$20}"]
    with Grader() as grader, Scorer(get("gsm8k"), agent, grader) as scorer:
        found = scorer.score(row, texts)
    assert [graded.verdict for graded in found] == [Verdict.CORRECT, Verdict.MISSING, Verdict.MISSING]
    assert [graded.answer is None for graded in found] == [False, True, True]


def test_the_setting_is_part_of_a_trials_hash_where_it_is_set() -> None:
    from ilr_bench.core.config import change

    config = profile("micro")
    assert trial_hash(config) != trial_hash(change(config, {"thought_marks": "<a> </a>"}))
    assert trial_hash(config) == trial_hash(change(config, {"thought_marks": "auto"}))


def test_a_prompt_loses_the_end_token_that_its_tokenizer_adds_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Agent("ended", None, Speller(), STYLES.get("fewshot"), None, 9)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        assert [agent.render("one two").ids, agent.render("one").ids] == [(1, 2), (1,)]
    assert [record.getMessage().count("end token") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<think>The answer is 4.\n\nNo.</think>\n\nThe answer is 5.\n\nQ", "The answer is 5."),
        ("<think>The answer is 4.", ""),
        (" The answer is 5.\n\nQ", " The answer is 5."),
    ],
)
def test_filters_of_lm_evals_tasks_see_no_thought(text: str, seen: str) -> None:
    agent = SimpleNamespace(text_of=lambda token_ids: text, thoughts=ANY, name="A", engine=None)
    model = LmEvalStyleLM(agent, 1, 0, 100)  # type: ignore[arg-type]
    assert model._decode([1], SamplingOptions(9, 0.0, 1, ("\n\n",))) == seen
