"""Micro models: the corpus teaches what it says, tokenizers come back as written, and making is repeatable."""

from __future__ import annotations

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilr_bench.method.interaction import Mode
from ilr_bench.models.catalogue import MODELS
from ilr_bench.models.micro import recipes
from ilr_bench.models.micro.corpus import (
    CorpusSettings,
    Habits,
    Idea,
    analyse,
    corpus,
    corrections,
    fuse,
    kind_of,
    solve,
    systematic_mistake,
)
from ilr_bench.models.micro.pretrain import tokenize, tokenize_lines
from ilr_bench.tasks.sources.micro import benchmark_questions, load, read_tape, split_of

SMALL = CorpusSettings(sums=40, reviews=40, solutions=60, analyses=30, fusions=30, rankings=10, programs=10, pool=60)
FLAWLESS = Habits(weak=(), slip=0.0)
QUESTIONS = load(200, 0)[0]


def small(name: str) -> recipes.Recipe:
    return dataclasses.replace(recipes.RECIPES[name], corpus=SMALL)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    return tmp_path


def test_the_pool_holds_two_architectures_and_a_twin() -> None:
    assert {"A", "B", "C", "A2"} <= set(MODELS.names())
    assert {recipes.RECIPES[name].family for name in "AB"} == {"llama", "qwen2"}
    assert dataclasses.replace(recipes.RECIPES["A2"], seed=recipes.RECIPES["A"].seed) == recipes.RECIPES["A"]
    assert len({entry.fingerprint() for entry in map(MODELS.get, ("A", "B", "C", "A2"))}) == 4


def test_the_corpus_holds_no_benchmark_question() -> None:
    rows = corpus(recipes.RECIPES["A"].habits, recipes.AUTHORS, SMALL, seed=0)
    held_out = {
        q.text for family in ("short_chain", "word_problem", "two_step") for q in benchmark_questions(family, 200)
    }
    asked = {row.prompt.splitlines()[0] for row in rows if not row.prompt.startswith("a)")}
    assert len(rows) == 140
    assert not asked & held_out
    assert {split_of(text) for text in asked} == {"training"}


def test_a_flawless_author_solves_everything_and_a_weak_one_errs_in_his_own_way() -> None:
    weak = Habits(weak=("carry",), slip=0.0, weak_slip=1.0)
    for question in QUESTIONS:
        assert (
            solve(question, FLAWLESS, random.Random(0)).text()
            == rf"{' '.join(question.steps)} \boxed{{{question.answer}}}"
        )
        for value, operation, result in solve(question, weak, random.Random(0)).steps:
            mistaken = kind_of(value, operation) == "carry"
            assert not mistaken or result == systematic_mistake(value, operation)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_analysis_puts_the_first_wrong_step_right(mode: Mode) -> None:
    rng, seen = random.Random(0), 0
    for question in QUESTIONS:
        idea = solve(question, Habits(weak=("borrow",), slip=0.2), rng)
        view = analyse(idea, mode, FLAWLESS, random.Random(1))
        claims = corrections(view)
        assert len(claims) == 1
        if claims[0] is not None and idea.first_error() is not None:
            index = next(index for index, word in enumerate(view.split()) if word.partition("/")[2] != _result(word))
            seen += index == idea.first_error()
    assert seen > 50


def _result(word: str) -> str:
    return word.partition("/")[0].partition("=")[2]


def test_a_critic_finds_more_errors_than_a_partner() -> None:
    ideas = [solve(question, Habits(weak=()), random.Random(index)) for index, question in enumerate(QUESTIONS * 5)]
    alarms = dict.fromkeys(Mode, 0)
    for mode in Mode:
        for index, idea in enumerate(ideas):
            (claim,) = corrections(analyse(idea, mode, FLAWLESS, random.Random(index)))
            alarms[mode] += claim is not None
    assert alarms[Mode.COMPETE] > 1.1 * alarms[Mode.COOPERATE]


def test_claims_are_read_peer_by_peer() -> None:
    assert corrections("20+9=29/29 +5=33/34 fix") == ("+5=34",)
    assert corrections("3+5=8/8 sound; 3+5=9/8 wrong") == (None, "3+5=8")
    assert corrections("+5/ nonsense") == (None,)


def test_fusion_recovers_from_an_own_mistake_when_a_peer_is_right() -> None:
    rng, alone, together = random.Random(0), 0, 0
    habits = recipes.RECIPES["A"].habits
    for question in QUESTIONS:
        own, peer = solve(question, habits, rng), solve(question, FLAWLESS, rng)
        alone += own.first_error() is None
        together += fuse(question, own, [peer], [], Mode.COOPERATE, habits, rng).first_error() is None
    assert together > alone + 0.2 * len(QUESTIONS)


def test_ideas_are_read_back_from_their_text() -> None:
    idea = solve(QUESTIONS[0], FLAWLESS, random.Random(0))
    assert Idea(read_tape(idea.text().split())) == idea


@pytest.mark.parametrize("name", ["A", "B"])
def test_a_model_is_made_once_in_the_same_bytes_and_reads_back_its_own_ids(
    name: str, own_cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(name)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: recipes.entry(name, recipe).prepare(), range(2))
    assert first == second
    assert sorted(path.name for path in first.parent.iterdir() if path.is_dir()) == [first.name]
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path_factory.mktemp("again")))
    again = recipes.entry(name, recipe).prepare()
    assert again != first
    for file in ("model.safetensors", "tokenizer.json"):
        assert (again / file).read_bytes() == (first / file).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(first)
    rows = corpus(recipe.habits, recipes.AUTHORS, SMALL, recipe.seed)
    texts = [row.prompt for row in rows]
    assert [tokenizer.decode(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] == texts
    digits = tokenizer("1234567890", add_special_tokens=False)["input_ids"]
    assert len(digits) == 10
    model = AutoModelForCausalLM.from_pretrained(first)
    assert model.config.model_type == recipe.family
    assert 120_000 < sum(weight.numel() for weight in model.parameters()) < 190_000
    assert all(example.heading <= example.prompt < len(example.ids) for example in tokenize(rows, tokenizer))
    assert tokenize_lines(["3+5=8"], tokenizer)[0].ids[-1] == tokenizer.eos_token_id


def test_the_two_tokenizers_cut_the_same_text_differently(own_cache: Path) -> None:
    text = r"mine: 3+5=8 -2=6 \boxed{6}"
    pieces = [AutoTokenizer.from_pretrained(recipes.entry(name, small(name)).prepare()).tokenize(text) for name in "AB"]
    assert pieces[0] != pieces[1]
