"""Our scorers and lm-eval's on the same completions: every verdict that differs has its reason (docs/parity.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from parity_tools import METRICS, TASKS, key_of_document, key_of_row, replay
from scripted import scripted_agent

from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.grading.math import Grader
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks import BenchmarkQuestion, get

pytestmark = [pytest.mark.data, pytest.mark.slow]

ROWS = {"gsm8k": 40, "math500": 40, "mmlu_pro": 3}
"""Per task of lm-eval's; mmlu_pro has 14."""
FORMS = {
    "boxed": r"Hence it is $\boxed{{{gold}}}$.",
    "boxed, no dollars": r"Hence it is \boxed{{{gold}}}",
    "two boxes": r"It is $\boxed{{7777}}$, or rather $\boxed{{{gold}}}$.",
    "wrong, gold named": r"Not ${gold}$, but $\boxed{{7777}}$.",
    "the answer is": "So it is. The answer is {gold}.",
    "the answer is ()": "So it is. The answer is ({gold}).",
    "####": "It is {gold}.\n#### {gold}",
    "minerva's": "Final Answer: The final answer is ${gold}$. I hope it is correct.",
}
ACCEPTED = {
    "gsm8k": {
        "boxed": (40, 0, 0, 0),
        "boxed, no dollars": (40, 0, 0, 40),
        "two boxes": (0, 0, 0, 0),
        "wrong, gold named": (0, 0, 0, 0),
        "the answer is": (0, 40, 0, 40),
        "the answer is ()": (0, 40, 0, 40),
        "####": (0, 0, 40, 40),
        "minerva's": (0, 40, 0, 40),
    },
    "math500": {
        "boxed": (40, 0, 40, 0),
        "boxed, no dollars": (40, 0, 40, 0),
        "two boxes": (0, 0, 40, 0),
        "wrong, gold named": (0, 0, 0, 0),
        "the answer is": (0, 40, 28, 0),
        "the answer is ()": (0, 38, 4, 0),  # a list in parentheses is a point
        "####": (0, 0, 28, 0),
        "minerva's": (0, 40, 40, 40),
    },
    "mmlu_pro": {
        "boxed": (42, 0, 0),
        "boxed, no dollars": (42, 0, 0),
        "two boxes": (0, 0, 0),
        "wrong, gold named": (0, 0, 0),
        "the answer is": (0, 42, 42),
        "the answer is ()": (0, 42, 42),
        "####": (0, 0, 0),
        "minerva's": (0, 0, 0),
    },
}
"""Benchmark -> form -> golds accepted in it: by us in the style `chat`, in `fewshot`, and by lm-eval's METRICS."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.mark.parametrize("benchmark", ROWS)
def test_verdicts_differ_where_the_form_of_the_answer_is_another(
    benchmark: str, grader: Grader, record_property: Callable[[str, object], None]
) -> None:
    record_property("rows", ROWS[benchmark] * len(TASKS[benchmark]))
    assert {form: accepted(benchmark, form, grader) for form in FORMS} == ACCEPTED[benchmark]


def accepted(benchmark: str, form: str, grader: Grader) -> tuple[int, ...]:
    """How many rows' golds are accepted in a form; see `ACCEPTED`."""
    rows = {key_of_row(row): row for row in get(benchmark).load()}
    samples = replay(TASKS[benchmark], ROWS[benchmark], lambda document: _said(rows[key_of_document(document)], form))
    asked = list({key_of_document(sample["doc"]): rows[key_of_document(sample["doc"])] for sample in samples}.values())
    counts = []
    for style in ("chat", "fewshot"):
        agent = scripted_agent("A", lambda prompt, sample: "", style=style)
        with Scorer(get(benchmark), agent, grader) as scorer:
            judged = scorer.score_all(asked, [[_said(row, form)] for row in asked])
        counts.append(sum(one.verdict is Verdict.CORRECT for (one,) in judged))
    for metric in METRICS[benchmark]:
        name, filtered = metric.split(",")
        counts.append(sum(int(sample[name]) for sample in samples if sample["filter"] == filtered))
    return tuple(counts)


def _said(row: BenchmarkQuestion, form: str) -> str:
    return FORMS[form].format(gold=row.gold)
