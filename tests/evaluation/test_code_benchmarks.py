"""The code benchmarks: their reference solutions pass, and nothing that is no solution does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ilr_bench.core.errors import MissingInputError
from ilr_bench.grading.code import CodeJudge, extract_code
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks import BenchmarkQuestion, get
from ilr_bench.tasks.benchmarks.code import problem_of

NAMES = {"humaneval": 164, "humaneval_plus": 164, "mbpp": 500, "mbpp_plus": 378}
CHEATS = {
    "empty answer": "",
    "question": "{question}",
    "pass": "```python\ndef {name}(*a):\n    pass\n    return\n```",
    "leaves": "```python\nimport os\ndef {name}(*a):\n    return os._exit(0)\n```",
    "equal to all": "```python\nclass A:\n    def __eq__(s, o):\n        return True\n    __hash__ = None\n"
    "def {name}(*a):\n    return A()\n```",
    "not implemented": "```python\ndef {name}(*a):\n    return NotImplemented\n```",
}


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeJudge]:
    with CodeJudge() as judge:
        yield judge


def verdict_on(judge: CodeJudge, completion: str, row: BenchmarkQuestion) -> Verdict:
    assert row.problem is not None
    return judge.judge(extract_code(completion, row.problem["entry_point"]), row.problem)


def rejected(judge: CodeJudge, rows: tuple[BenchmarkQuestion, ...]) -> set[str]:
    """Rows whose reference solution, written as a model would, does not pass."""
    written = {row.id: f"Here is a solution:\n```python\n{row.gold}\n```\nIt passes." for row in rows}
    return {row.id for row in rows if verdict_on(judge, written[row.id], row) is not Verdict.CORRECT}


@pytest.mark.data
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_reference_solutions_of_some_rows_pass(
    judge: CodeJudge, name: str, record_property: Callable[[str, object], None]
) -> None:
    benchmark = get(name)
    rows = benchmark.load()
    record_property("rows", len(rows[::25]))
    assert len(rows) == NAMES[name]
    assert rejected(judge, rows[::25]) <= set(benchmark.exceptions)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_reference_solutions_pass_but_for_the_listed_exceptions(
    judge: CodeJudge, name: str, record_property: Callable[[str, object], None]
) -> None:
    benchmark = get(name)
    rows = benchmark.load()
    record_property("rows", len(rows))
    assert len(rows) == NAMES[name]
    assert rejected(judge, rows) == set(benchmark.exceptions)
    assert len(benchmark.exceptions) <= 0.02 * len(rows)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_cheats_fail(judge: CodeJudge, name: str, record_property: Callable[[str, object], None]) -> None:
    rows = get(name).load()
    record_property("rows", len(rows))
    for row in rows:
        assert row.problem is not None
        # What fails the base tests fails with the others as well, only later.
        base = BenchmarkQuestion(row.id, row.question, row.gold, {**row.problem, "plus_input": []})
        for cheat, text in CHEATS.items():
            completion = text.replace("{question}", row.question).replace("{name}", row.problem["entry_point"])
            if verdict_on(judge, completion, base) is Verdict.CORRECT:
                assert verdict_on(judge, completion, row) is not Verdict.CORRECT, f"{row.id}: {cheat}"


def test_tests_are_cut_into_call_and_result() -> None:
    row = {
        "task_id": 11,
        "text": "Add.",
        "code": "",
        "test_setup_code": "",
        "test_list": ["assert f(1, 'a') == {1: (2,)}"],
    }
    made = problem_of(row)
    assert made.problem is not None
    assert (made.id, made.problem["entry_point"], made.problem["tests"]) == ("Mbpp/11", "f", [("f(1, 'a')", {1: (2,)})])
    for test in ("assert f(1)", "assert f(1) > 2", "assert f(1) == g(2)", "f(1) == 2", "assert (", "assert 2 == f(1)"):
        with pytest.raises(MissingInputError, match="fetch the data again"):
            problem_of(row | {"test_list": [test]})


@pytest.mark.parametrize("name", NAMES)
def test_missing_data_are_one_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    with pytest.raises(MissingInputError, match=r"is not here.*ILR_BENCH_DATA"):
        get(name).load()
