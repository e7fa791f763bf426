"""Outputs are decoded and compared where that may be killed, and what cannot be right is not converted at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.compare_outputs import Comparison, OutputJudge, _alike
from ilr_bench.grading.expressions import ProgramRunner, extract_program
from ilr_bench.grading.sandbox import host
from ilr_bench.grading.sandbox.wire import encode
from ilr_bench.storage.records import Verdict

TASK: dict[str, Any] = {"task_id": "Test/0", "entry_point": "f", "atol": 0}
SET_TASK = {"task_id": "Mbpp/2", "entry_point": "similar_elements", "atol": 0}
DOUBLE: dict[str, Any] = {
    "task_id": "Test/0", "prompt": "", "entry_point": "f", "canonical_solution": "def f(x): return x * 2",
    "base_input": [[0], [2]], "plus_input": [[3]], "atol": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs() -> Iterator[OutputJudge]:
    with OutputJudge(cpu_seconds=0.5) as outputs:
        yield outputs


def accepts(outputs: OutputJudge, output: Any, expected: Any, task: dict[str, Any] = TASK) -> bool | None:
    return outputs.accepts(task, task["atol"], encode(output).encode(), encode(expected).encode(), [3])


@pytest.mark.parametrize(
    ("output", "expected", "right"),
    [({1, 2}, {2, 1}, True), ({1: 2, 3: 4}, {3: 4, 1: 2}, True), (frozenset({1}), {1}, True), (True, 1, True),
     (1 + 0j, 1, True), (0.1 + 0.2, 0.3, True), ((1, 2), [1, 2], False), ({1, 3}, {1, 2}, False), (None, 0, False),
     ("1", 1, False), ([1], [1, 1], False), (10**30, 10**30 + 1, False), (bytearray(b"1"), b"1", True)],
)  # fmt: skip
def test_outputs_are_compared_as_ever(outputs: OutputJudge, output: Any, expected: Any, right: bool) -> None:
    assert accepts(outputs, output, expected) is right


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 1j, "a", b"a", 2**60]),
        lambda parts: st.lists(parts, max_size=2) | st.lists(parts, max_size=2).map(tuple)
        | st.sets(st.integers(0, 2)) | st.frozensets(st.integers(0, 2)) | st.dictionaries(st.integers(0, 2), parts),
        max_leaves=4,
    ).flatmap(lambda value: st.tuples(st.just(value), st.just(value) | st.integers(0, 1)))
)  # fmt: skip
def test_nothing_that_is_equal_is_refused_for_its_kind(pair: tuple[Any, Any]) -> None:
    one, other = pair
    alike = _alike(json.loads(encode(one))[0], json.loads(encode(other))[0])
    assert alike or one != other


COLLIDING = b",".join(b'{"int":"%x"}' % (n * (2**61 - 1)) for n in range(30_000))


def test_numbers_that_collide_cost_this_process_nothing(outputs: OutputJudge) -> None:
    begin = time.process_time()
    collection = b'[{"set":[' + COLLIDING + b"]},true]"
    assert outputs.accepts(TASK, 0, collection, encode({1, 2}).encode(), []) is False
    assert outputs.accepts(TASK, 0, collection, encode(set(range(30_000))).encode(), []) is None
    assert outputs.accepts(SET_TASK, 0, b"[[" + COLLIDING + b"],true]", encode({1, 2}).encode(), []) is None
    assert time.process_time() - begin < 0.5
    assert accepts(outputs, [2, 1, 1], (1, 2), SET_TASK) is True


def test_lists_that_numpy_would_fill_up_are_refused_unconverted() -> None:
    tracemalloc.start()
    ragged = [["a" * 5000], *[["b"]] * 5000]
    assert not Comparison(1e-6).accepts(ragged, [[1.0]] * 5001)
    assert not Comparison(1e-6).accepts([[1.0] * 5000, *[[1.0]] * 5000], [[1.0]] * 5001)
    assert not Comparison(1e-6).accepts([1.0, "a" * 10**6] * 500, [1.0] * 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_large_outputs_are_compared(outputs: OutputJudge) -> None:
    large = list(range(30_000))
    assert accepts(outputs, [*large, 0.1 + 0.2], [*large, 0.3], TASK | {"atol": 1e-6}) is True
    assert accepts(outputs, [*large, 0.4], [*large, 0.3], TASK | {"atol": 1e-6}) is False
    assert accepts(outputs, [1], [1]) is True


@pytest.mark.parametrize("line", [b"[1, true]"[::-1], "[1, true]".encode("utf-16"), b"\xff", b"", b"[]", b"{}", b"7",
                                  b'["", 1]', b"[" * 10_000, b"[{}, 1]", b'[{"int": "1", "set": []}, 1]'])  # fmt: skip
def test_what_is_no_output_is_wrong(outputs: OutputJudge, line: bytes) -> None:
    assert outputs.accepts(TASK, 0, line, b"[1, true]", []) is False


def test_too_many_values_are_refused_unread(outputs: OutputJudge) -> None:
    begin = time.monotonic()
    assert outputs.accepts(TASK, 0, b"[" + b"0," * 10_000_001 + b"0]", b"[1, true]", []) is False
    assert time.monotonic() - begin < 1


def test_a_program_whose_outputs_are_dear_runs_out_of_time() -> None:
    problem = DOUBLE | {
        "canonical_solution": "def f(x): return list(range(9999))",
        "base_input": [[1]],
        "plus_input": [],
    }
    problem |= {"task_id": "Mbpp/2", "entry_point": "Diff"}
    problem["canonical_solution"] = problem["canonical_solution"].replace("f(", "Diff(")
    with CodeJudge() as judge:
        judge._outputs = OutputJudge(cpu_seconds=0.2)
        begin = time.process_time()
        hostile = "def Diff(x): return [n * (2 ** 61 - 1) for n in range(20000)]"
        assert judge.judge(hostile, problem) is Verdict.TIMEOUT
        assert judge.judge("def Diff(x): return [*range(9999), 1]", problem) is Verdict.CORRECT
        assert time.process_time() - begin < 0.5


def test_judging_from_a_pools_threads_twice_in_a_row_is_fine() -> None:
    with CodeJudge(workers=2) as judge:
        for _ in range(2):
            verdicts = judge.judge_many([("def f(x): return x + x", DOUBLE), ("def f(x): return 1", DOUBLE)] * 2)
            assert verdicts == [Verdict.CORRECT, Verdict.WRONG] * 2
            time.sleep(0.2)


def killing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    left = iter(range(times))
    loaded = host.Run.loaded

    def killed(run: host.Run, cpu_seconds: float) -> Any:
        ended = loaded(run, cpu_seconds)
        if next(left, None) is not None:
            os.kill(run.pid, signal.SIGKILL)
        return ended

    monkeypatch.setattr(host.Run, "loaded", killed)


def test_what_was_killed_from_outside_has_a_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import time\ndef f(x): time.sleep(0.1); return x * 2"
    with CodeJudge() as judge:
        assert judge.judge(program, DOUBLE) is Verdict.CORRECT
        killing(monkeypatch, 1)
        assert judge.judge(program, DOUBLE) is Verdict.CORRECT
        killing(monkeypatch, 2)
        assert judge.judge(program, DOUBLE) is Verdict.KILLED
        killing(monkeypatch, 1)
        slow = DOUBLE | {"canonical_solution": program}
        assert judge.judge(program, slow) is Verdict.CORRECT
        killing(monkeypatch, 2)
        with pytest.raises(ConfigurationError, match="was killed from outside"):
            judge.judge(program, dict(slow))


def test_descriptors_above_a_thousand_are_no_hindrance_to_workers() -> None:
    problem = DOUBLE | {"canonical_solution": "def f(x): return x * 2"}
    with contextlib.ExitStack() as stack:
        for _ in range(1030):
            stack.enter_context(Path(os.devnull).open())
        with ProgramRunner() as runner:
            assert runner.judge("def f(x): return x + x", problem) is Verdict.CORRECT


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n"])
def test_functions_have_the_parsers_lines(separator: str) -> None:
    text = "Sure:\n```python\ndef f(x):\n    return x\n```\nDone".replace("\n", separator)
    assert extract_program(text) == "def f(x):\n    return x"
    assert extract_program("def f(x): return x\u2028y") == "def f(x): return x\u2028y"
    assert extract_program("def f(x): return x\n\x1c y") == "def f(x): return x"
