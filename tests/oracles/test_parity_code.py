"""SmolLM2's completions, and chatty ones, get the program and the verdict that EvalPlus gives them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_evalplus_code import HEAVY, EvalPlus, normal

from ilr_bench.grading.code import CodeJudge, extract_code
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks.code import humaneval_rows, mbpp_plus_rows

pytestmark = [pytest.mark.data, pytest.mark.slow]

SAID = Path(__file__).parents[1] / "logs" / "smollm2_code.jsonl"
"""Greedy answers of SmolLM2-135M-Instruct, at most 192 tokens, to the first 20 tasks of both benchmarks, as
`ilr-bench evaluate` recorded them."""
CHATTY = [
    "Certainly! Here is a solution.\n\n```python\n{}\n```\n\nIt runs in linear time. Let me know if it helps!",
    "```python\n{}\n\n# Example usage\nprint({e})\n```\nOutput:\n```\n42\n```",
    "This does not work:\n```python\ndef {e}(*anything):\n    return None\n```\nBetter:\n```python\n{}\n```",
    "<think>\nThe function {e} must be written.\n</think>\n{}\n\nif __name__ == '__main__':\n    {e}()",
    "Here's the code, cut short:\n```python\n{}\nprint('the end",
]


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeJudge]:
    with CodeJudge() as judge:
        yield judge


def completions(benchmark: str, problems: dict[str, tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """(task, completion): the recorded ones, and references within talk."""
    lines = [json.loads(line) for line in SAID.read_text(encoding="utf-8").splitlines()]
    recorded = [(line["question_id"], line["completion"]) for line in lines if line["benchmark"] == benchmark]
    tasks = [task for task in problems if task not in HEAVY][:: len(problems) // 10]
    chatty = [
        (
            task,
            CHATTY[index % len(CHATTY)]
            .replace("{}", problems[task][0])
            .replace("{e}", problems[task][1]["entry_point"]),
        )
        for index, task in enumerate(tasks)
    ]
    return recorded + chatty


@pytest.mark.parametrize(("benchmark", "load"), [("humaneval_plus", humaneval_rows), ("mbpp_plus", mbpp_plus_rows)])
def test_completions_get_evalplus_programs_and_verdicts(
    benchmark: str, load: Any, judge: CodeJudge, record_property: Callable[[str, object], None]
) -> None:
    sanitize = pytest.importorskip("evalplus.sanitize").sanitize
    evalplus = EvalPlus()
    problems = {row.id: (row.gold, row.problem) for row in load(plus=True)}
    output = completions(benchmark, problems)
    record_property("rows", len(output))
    assert len(output) >= 15
    passed = 0
    for task, completion in output:
        # Forty tests tell as much about agreement as a thousand.
        problem = {**problems[task][1], "plus_input": problems[task][1]["plus_input"][:40]}
        name = problem["entry_point"]
        ours, theirs = extract_code(completion, name), sanitize(completion, name)
        if ours is not None:
            assert normal(ours) == normal(theirs), completion
        verdict = judge.judge(ours, problem)
        passed += verdict is Verdict.CORRECT
        assert (verdict is Verdict.CORRECT) == evalplus.passes(theirs, problem), (task, completion)
    assert 5 <= passed < len(output)
