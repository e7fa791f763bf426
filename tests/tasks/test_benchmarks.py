"""Benchmarks: their rows, what passes and what does not, records, and adding one from outside."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import scripted_agent

from ilr_bench.core.config import EvaluationSettings, content_hash
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.evaluation.runner import evaluate
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import SampleRecord, Verdict, read
from ilr_bench.tasks.benchmarks import Benchmark, BenchmarkQuestion, expand, get, register
from ilr_bench.tasks.sources.micro import FAMILIES, benchmark_questions
from ilr_bench.tasks.types import GROUPS

ANSWER_BENCHMARKS = tuple(name for name in GROUPS["micro"] if name != "micro_code")
SIX = EvaluationSettings(limit=6)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


def answering(solve: Callable[[str], str]) -> object:
    """An agent that answers its prompt (the micro style's is the question alone)."""
    return scripted_agent("solver", lambda prompt, sample: solve(prompt))


def gold_answers(name: str) -> dict[str, str]:
    return {row.question: row.gold for row in get(name).load()}


def verdicts(
    name: str, say: Callable[[BenchmarkQuestion], str], grader: Grader, count: int = 40, style: str = "micro"
) -> list[Verdict]:
    agent = scripted_agent("A", lambda prompt, sample: "", style=style)
    with Scorer(get(name), agent, grader) as scorer:
        return [scorer.score(row, [say(row)])[0].verdict for row in get(name).load()[:count]]


@pytest.mark.parametrize("name", GROUPS["micro"])
def test_rows_are_distinct_and_the_same_each_time(name: str) -> None:
    rows = get(name).load()
    assert rows == get(name).load()
    assert len({row.id for row in rows}) == len({row.question for row in rows}) == len(rows)


def test_the_micro_group_asks_a_thousand_questions() -> None:
    assert set(GROUPS["micro"]) == {f"micro_{family}" for family in (*FAMILIES, "code")}
    assert sum(len(get(name).load()) for name in GROUPS["micro"]) >= 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gold_solution_as_a_model_writes_it_is_accepted(family: str, grader: Grader) -> None:
    steps = {question.text: question.steps for question in benchmark_questions(family, 40)}

    def say(row: BenchmarkQuestion) -> str:
        return " ".join([*steps[row.question], rf"\boxed{{{row.gold}}}"])

    assert set(verdicts(f"micro_{family}", say, grader)) == {Verdict.CORRECT}


@pytest.mark.parametrize("name", ANSWER_BENCHMARKS)
@pytest.mark.parametrize(
    "cheat",
    [
        lambda row: "",
        lambda row: row.question,
        lambda row: row.gold,
        lambda row: r"\boxed{}",
        lambda row: rf"\boxed{{{row.gold}}} \boxed{{{int(row.gold) + 1}}}",
        lambda row: rf"\boxed{{{row.question}}}",
        lambda row: rf"\boxed{{{row.question.removesuffix('=?')}}}",
        lambda row: rf"\boxed{{{row.gold} or {int(row.gold) + 1}}}",
        lambda row: rf"\boxed{{{row.gold},{int(row.gold) + 1}}}",
        lambda row: r"\boxed{x}",
    ],
    ids=["nothing", "question", "unboxed", "empty", "two-boxes", "boxed-question", "boxed-sum", "either", "both", "x"],
)  # fmt: skip
def test_cheats_earn_nothing(name: str, cheat: Callable[[BenchmarkQuestion], str], grader: Grader) -> None:
    assert Verdict.CORRECT not in verdicts(name, cheat, grader, count=12)


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda row: row.gold, Verdict.CORRECT),
        (lambda row: f"```python\n{row.gold}```", Verdict.CORRECT),
        (lambda row: "", Verdict.MISSING),
        (lambda row: row.question, Verdict.MISSING),
        (lambda row: "def f(x): return", Verdict.REFUSED),
        (lambda row: "def f(x): return __import__('os').getpid()", Verdict.REFUSED),
        (lambda row: "def f(x): return x*0-12345", Verdict.WRONG),
    ],
)
def test_programs_are_scored(say: Callable[[BenchmarkQuestion], str], expected: Verdict, grader: Grader) -> None:
    assert set(verdicts("micro_code", say, grader, count=12)) == {expected}


def test_sums_in_the_few_shot_style_accept_golds_and_nothing_else(grader: Grader) -> None:
    def say(completion: Callable[[BenchmarkQuestion], str]) -> set[Verdict]:
        return set(verdicts("sums", completion, grader, style="fewshot"))

    assert say(lambda row: row.gold) == {Verdict.CORRECT}
    assert say(lambda row: f"{int(row.gold) + 1}") == {Verdict.WRONG}
    assert say(lambda row: "") == {Verdict.MISSING}
    assert Verdict.CORRECT not in say(lambda row: row.question)


def test_records_tell_what_was_asked_said_and_earned(tmp_path: Path, grader: Grader) -> None:
    golds = gold_answers("micro_ood")
    agent = answering(lambda prompt: rf"So \boxed{{{golds[prompt]}}}")
    scores = evaluate(agent, ["micro_ood"], EvaluationSettings(limit=6, samples=2), tmp_path, 3, grader)  # type: ignore[arg-type]
    records = list(read(tmp_path / "micro_ood.jsonl", SampleRecord))
    rows = get("micro_ood").load()[:6]
    assert scores == {"micro_ood": 1.0}
    assert [(record.question_id, record.sample) for record in records] == [(row.id, k) for row in rows for k in (0, 1)]
    for record, row in zip(records[::2], rows, strict=True):
        assert record == SampleRecord(
            benchmark="micro_ood", agent="solver", question_id=row.id, sample=0,
            prompt_hash=content_hash(STYLES.get("micro").solve(row.question)),
            completion=rf"So \boxed{{{row.gold}}}", answer=row.gold, gold=row.gold, verdict=Verdict.CORRECT,
            tokens=len(rf"So \boxed{{{row.gold}}}"), seed=3,
        )  # fmt: skip


def test_a_group_is_scored_in_one_call(tmp_path: Path, grader: Grader) -> None:
    agent = answering(lambda prompt: "def f(x): return x+1" if "f(x)" in prompt else r"\boxed{7}")
    scores = evaluate(agent, ["micro"], EvaluationSettings(limit=3), tmp_path, 0, grader)  # type: ignore[arg-type]
    assert tuple(scores) == GROUPS["micro"]
    assert {path.name for path in tmp_path.glob("[!.]*")} == {f"{name}.jsonl" for name in GROUPS["micro"]} | {"lm_eval"}


def test_equal_runs_write_equal_bytes_and_seed_nothing_global(tmp_path: Path, grader: Grader) -> None:
    agent = answering(lambda prompt: rf"\boxed{{{len(prompt)}}}")
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state())
    for run in ("first", "second"):
        evaluate(agent, ["micro_short_chain"], SIX, tmp_path / run, 0, grader)  # type: ignore[arg-type]
    first, second = (tmp_path / run / "micro_short_chain.jsonl" for run in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert pickle.dumps(np.random.get_state()) == before[1]


def test_a_finished_benchmark_is_not_run_again(tmp_path: Path, grader: Grader) -> None:
    agent = answering(lambda prompt: r"\boxed{7}")
    first = evaluate(agent, ["micro_short_chain"], SIX, tmp_path, 0, grader)  # type: ignore[arg-type]
    heard = len(agent.engine.heard)  # type: ignore[attr-defined]
    assert evaluate(agent, ["micro_short_chain"], SIX, tmp_path, 0, grader) == first  # type: ignore[arg-type]
    assert len(agent.engine.heard) == heard == 6  # type: ignore[attr-defined]
    evaluate(agent, ["micro_short_chain"], EvaluationSettings(limit=7), tmp_path, 0, grader)  # type: ignore[arg-type]
    assert len(agent.engine.heard) == heard + 7  # type: ignore[attr-defined]


def test_groups_expand_without_repeats() -> None:
    assert expand(["micro_ood", "micro", "sums"]) == (
        "micro_ood",
        *(n for n in GROUPS["micro"] if n != "micro_ood"),
        "sums",
    )


def test_an_unknown_benchmark_says_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean micro_code"):
        expand(["micro_cod"])


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        register(Benchmark("micro_ood", "OOD", "another one", "answer", "in-domain", lambda: (), subject="maths"))


def test_listing_benchmarks_imports_neither_torch_nor_lm_eval() -> None:
    code = (
        "import sys; from ilr_bench.tasks import benchmarks as b; b.names(); "
        "print({'torch', 'lm_eval'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
