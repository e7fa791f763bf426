"""Benchmarks on their real rows: gold answers pass, cheats fail. Needs ILR_BENCH_DATA; `nox -s data` runs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from scripted import scripted_agent

from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.grading.math import Grader, compare_numbers
from ilr_bench.grading.math_worker import judge
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks import BenchmarkQuestion, get
from ilr_bench.tasks.data import read_rows
from ilr_bench.tasks.types import GROUPS, LETTERS, boxed

pytestmark = pytest.mark.data

MATHS = tuple(name for name in GROUPS["paper"] if name != "mbpp")
RowsSeen = Callable[[str, object], None]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.fixture(scope="module")
def rows() -> Callable[[str], tuple[BenchmarkQuestion, ...]]:
    """Benchmark -> its rows, read once."""
    read: dict[str, tuple[BenchmarkQuestion, ...]] = {}
    return lambda name: read.setdefault(name, get(name).load())


def accepted(
    name: str,
    rows: tuple[BenchmarkQuestion, ...],
    say: Callable[[BenchmarkQuestion], str],
    grader: Grader,
    style: str = "chat",
) -> set[str]:
    """Ids of the rows whose completion is scored as correct."""
    with Scorer(get(name), scripted_agent("A", lambda prompt, sample: "", style=style), grader) as scorer:
        judged = scorer.score_all(rows, [[say(row)] for row in rows])
    return {row.id for row, (one,) in zip(rows, judged, strict=True) if one.verdict is Verdict.CORRECT}


def ids(rows: tuple[BenchmarkQuestion, ...]) -> set[str]:
    return {row.id for row in rows}


def options(row: BenchmarkQuestion) -> str:
    return ", ".join(line[0] for line in row.question.rsplit("Options:\n", 1)[1].splitlines() if line[1:2] == ".")


@pytest.mark.parametrize("name", [*MATHS, "mmlu_pro"])
def test_gold_answers_pass(
    name: str, rows: Callable[[str], tuple[BenchmarkQuestion, ...]], grader: Grader, record_property: RowsSeen
) -> None:
    asked = rows(name)
    record_property("rows", len(asked))
    failed = ids(asked) - accepted(name, asked, lambda row: rf"Hence it is $\boxed{{{row.gold}}}$.", grader)
    assert failed <= set(get(name).exceptions)
    assert len(get(name).exceptions) <= 0.02 * len(asked)


def test_gold_answers_of_gsm8k_pass_in_the_few_shot_style_and_others_do_not(
    rows: Callable[[str], tuple[BenchmarkQuestion, ...]], grader: Grader, record_property: RowsSeen
) -> None:
    asked = rows("gsm8k")
    record_property("rows", len(asked))
    assert accepted("gsm8k", asked, lambda row: f"So it is. The answer is {row.gold}.", grader, "fewshot") == ids(asked)
    assert not accepted("gsm8k", asked, lambda row: f"The answer is {int(row.gold) + 1}.", grader, "fewshot")
    assert not accepted("gsm8k", asked, lambda row: row.question, grader, "fewshot")


CHEATS: dict[str, Callable[[BenchmarkQuestion], str]] = {
    "nothing": lambda row: "",
    "question": lambda row: row.question,
    "boxed-question": lambda row: rf"\boxed{{{row.question}}}",
    "gold-without-box": lambda row: f"The answer is {row.gold}",
    "empty-box": lambda row: r"\boxed{}",
    "two-boxes": lambda row: rf"\boxed{{{row.gold}}} or \boxed{{-1718}}",
    "both-in-a-box": lambda row: rf"\boxed{{{row.gold}, -1718}}",
    "either-in-a-box": lambda row: rf"\boxed{{{row.gold} \text{{ or }} -1718}}",
}


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize("name", MATHS)
def test_cheats_at_maths_fail(
    name: str,
    cheat: str,
    rows: Callable[[str], tuple[BenchmarkQuestion, ...]],
    grader: Grader,
    record_property: RowsSeen,
) -> None:
    asked = rows(name)
    record_property("rows", len(asked))
    assert accepted(name, asked, CHEATS[cheat], grader) <= set(get(name).exceptions)


CHOICE_CHEATS: dict[str, Callable[[BenchmarkQuestion], str]] = {
    "nothing": lambda row: "",
    "question": lambda row: row.question,
    "boxed-question": lambda row: rf"\boxed{{{row.question}}}",
    "every-option-in-a-box": lambda row: rf"\boxed{{{options(row)}}}",
    "every-option-in-its-box": lambda row: " ".join(rf"\boxed{{{letter}}}" for letter in options(row).split(", ")),
    "empty-box": lambda row: r"\boxed{}",
    "two-boxes": lambda row: rf"\boxed{{{row.gold}}} \boxed{{{'A' if row.gold != 'A' else 'B'}}}",
    "no-such-option": lambda row: r"\boxed{Z}",
}


@pytest.mark.parametrize("cheat", CHOICE_CHEATS)
def test_cheats_at_choices_fail(
    cheat: str, rows: Callable[[str], tuple[BenchmarkQuestion, ...]], grader: Grader, record_property: RowsSeen
) -> None:
    asked = rows("mmlu_pro")
    record_property("rows", len(asked))
    assert not accepted("mmlu_pro", asked, CHOICE_CHEATS[cheat], grader)


def test_every_choice_names_an_option_that_is_listed(
    rows: Callable[[str], tuple[BenchmarkQuestion, ...]], record_property: RowsSeen
) -> None:
    asked = rows("mmlu_pro")
    record_property("rows", len(asked))
    assert all(row.gold in options(row).split(", ") for row in asked)
    assert {len(options(row).split(", ")) for row in asked} <= set(range(2, len(LETTERS) + 1))


@pytest.mark.parametrize("name", ["math500", "minerva"])
def test_published_solutions_pass_as_they_are(
    name: str, rows: Callable[[str], tuple[BenchmarkQuestion, ...]], grader: Grader, record_property: RowsSeen
) -> None:
    """Those that box one answer: the worked solution is the completion. Three of Minerva's box Python's notation."""
    asked = rows(name)
    record_property("rows", len(asked))
    (data,) = get(name).data
    solutions = dict(zip([row.id for row in asked], (raw["solution"] for raw in read_rows(data)), strict=True))
    single = tuple(row for row in asked if len(set(boxed(solutions[row.id]))) == 1)
    assert len(single) >= 0.97 * len(asked)
    assert len(accepted(name, single, lambda row: solutions[row.id], grader)) >= 0.98 * len(single)


@pytest.mark.parametrize("name", [*MATHS, "mmlu_pro"])
def test_rows_are_as_many_as_stated_and_have_ids_of_their_own(
    name: str, rows: Callable[[str], tuple[BenchmarkQuestion, ...]], record_property: RowsSeen
) -> None:
    asked = rows(name)
    record_property("rows", len(asked))
    assert len(ids(asked)) == len(asked) == sum(data.rows or 0 for data in get(name).data)
    assert all(row.question.strip() and row.gold.strip() for row in asked)


def test_the_fast_path_agrees_with_math_verify_on_real_golds_and_perturbed_ones(
    rows: Callable[[str], tuple[BenchmarkQuestion, ...]], record_property: RowsSeen
) -> None:
    draw = random.Random(0)
    golds = sorted({row.gold for name in MATHS for row in rows(name)})
    record_property("rows", sum(len(rows(name)) for name in MATHS))
    compared = 0
    for _ in range(40):
        for gold in golds:
            answer = perturbed(gold, draw)
            ours = compare_numbers(answer, gold)
            if ours is not None:
                compared += 1
                assert ours == (judge(answer, gold) is Verdict.CORRECT), (answer, gold)
        if compared >= 6000:
            break
    assert compared >= 5000


def perturbed(gold: str, draw: random.Random) -> str:
    """A gold answer spelled otherwise, or missed by a little."""
    changes: list[Callable[[str], str]] = [
        lambda text: text,
        lambda text: f"{text}.0" if "." not in text else f"{text}0",
        lambda text: f"-{text}",
        lambda text: f"{text}/1",
        lambda text: text[:-1] + str((int(text[-1]) + 1) % 10) if text[-1:].isdecimal() else text,
        lambda text: f"0{text}",
        lambda text: f"{int(text):,}" if text.isdecimal() else text,
        lambda text: rf"\frac{{{2 * int(text)}}}{{2}}" if text.isdecimal() else text,
        lambda text: f"{text}.0001" if "." not in text else text,
        lambda text: text.replace(r"\frac{", r"\dfrac{"),
        lambda text: str(draw.randint(0, 99)),
    ]
    return draw.choice(changes)(gold)
