"""EvalPlus's rules on outputs: equality, tolerances, oracles of single tasks, and what is refused unread."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ilr_bench.grading import compare_outputs
from ilr_bench.grading.compare_outputs import (
    Comparison,
    OutputJudge,
    has_oracle,
    is_floats,
    oracle_of,
    tolerance_after,
    view_of,
)
from ilr_bench.grading.sandbox.wire import encode


def task(task_id: str, entry_point: str, atol: float = 0) -> dict[str, Any]:
    return {"task_id": task_id, "entry_point": entry_point, "atol": atol}


@pytest.mark.parametrize(
    ("problem", "output", "expected", "arguments", "right"),
    [
        (task("HumanEval/32", "find_zero", 1e-4), -0.50001, -0.5, [[1, 2]], True),
        (task("HumanEval/32", "find_zero", 1e-4), -0.6, -0.5, [[1, 2]], False),
        (task("HumanEval/32", "find_zero", 1e-4), "x", -0.5, [[1, 2]], False),
        (task("HumanEval/32", "find_zero", 1e-4), 10**400, -0.5, [[1, 2]], False),
        (task("Mbpp/2", "similar_elements"), [2, 1, 1], (1, 2), [], True),
        (task("Mbpp/2", "similar_elements"), [[1]], (1, 2), [], False),
        (task("Mbpp/2", "similar_elements"), 7, (1, 2), [], False),
        (task("Mbpp/164", "are_equivalent"), None, True, [36, 57], True),
        (task("Mbpp/295", "sum_div"), 0, 7, [8], True),
        (task("Mbpp/295", "sum_div"), 8, 7, [8], False),
        (task("Mbpp/558", "digit_distance_nums"), 9, 5, [5, 50], False),
        (task("Mbpp/558", "digit_distance_nums"), 10, 5, [5, 50], True),
        (task("Mbpp/581", "surface_Area", 1e-4), 33, 40, [3, 4], False),
        (task("Mbpp/581", "surface_Area", 1e-4), 35, 33, [3, 4], True),
        (task("Test/2", "similar_elements"), [2, 1], (1, 2), [], False),
        (task("Mbpp/2", "similar_elements") | {"tests": []}, (2, 1), (1, 2), [], False),
    ],
)
def test_single_tasks_have_oracles(problem: Any, output: Any, expected: Any, arguments: Any, right: bool) -> None:
    assert Comparison(problem["atol"], oracle_of(problem)).accepts(output, expected, arguments) is right


def test_a_tolerance_that_a_float_brought_stays() -> None:
    comparison = Comparison(0)
    assert not comparison.accepts([1.0, 2.0000001, "a"], [1.0, 2.0, "a"])
    assert comparison.accepts(2.0000001, 2.0)
    assert comparison.accepts([[1.0], [2.0000001]], [[1.0], [2.0]])
    assert not comparison.accepts(2.0000001, 2.0, exact=False)


def test_a_comparison_cannot_be_made_to_fill_the_memory() -> None:
    column, row = [[1.0]] * 20_000, [1.0] * 20_000
    assert not Comparison(1e-6).accepts(column, [1.5, *row[1:]])


SETS = "similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum intersection_array"
SETS += " find_dissimilar Diff"


@pytest.mark.parametrize("name", SETS.split())
def test_collections_in_any_order_are_compared_as_sets(name: str) -> None:
    assert view_of(task("Mbpp/9", name)) == "items"
    assert Comparison(0, oracle_of(task("Mbpp/9", name))).accepts([3, 1, 1], [1, 3])
    assert not Comparison(0, oracle_of(task("Mbpp/9", name))).accepts([1], [1, 3])


@pytest.mark.parametrize("name", ["check_str", "text_match_three", "text_starta_endb"])
def test_of_a_match_it_counts_that_there_is_one(name: str) -> None:
    assert view_of(task("Mbpp/9", name)) == "present"
    assert oracle_of(task("Mbpp/9", name)) is None


@pytest.mark.parametrize("problem", [task("HumanEval/9", "check_str"), task("Mbpp/9", "check_str") | {"tests": []}])
def test_elsewhere_the_value_itself_counts(problem: Any) -> None:
    assert view_of(problem) == view_of(task("Mbpp/9", "other")) == "value"


@pytest.mark.parametrize(
    ("problem", "output", "expected", "arguments", "right"),
    [
        (task("HumanEval/32", "find_zero", 0.5), 0.5, 9.0, [[0, 1]], True),  # at the tolerance itself
        (task("HumanEval/32", "find_zero", 1e-4), 2.0, 9.0, [[-8, 2, 1]], True),  # -8 + 2 x + x^2
        (task("HumanEval/32", "find_zero", 1e-4), 2.0, 2.0, [[1, 2, -8]], False),
        (task("Test/32", "find_zero", 0), 2.0, 9.0, [[-8, 2, 1]], False),
        (task("Mbpp/164", "are_equivalent"), 5, 7, [], True),
        (task("Mbpp/295", "sum_div"), 7, 7, [8], True),
        (task("Mbpp/295", "sum_div"), 1, 7, [8], False),
        (task("Mbpp/558", "digit_distance_nums"), 5, 5, [5, 50], True),
        (task("Mbpp/558", "digit_distance_nums"), 10, 0, [194, 231], True),  # 1 + 6 + 3
        (task("Mbpp/581", "surface_Area", 2), 90, 90, [3, 4], True),
        (task("Mbpp/581", "surface_Area", 2), 37, 33, [3, 4], True),  # 35, and the tolerance
        (task("Mbpp/581", "surface_Area", 2), 38, 33, [3, 4], False),
        (task("Mbpp/581", "surface_Area", 1e-4), 360, 0, [10, 12], True),  # 100 + 4 (10 * 13) / 2
    ],
)
def test_oracles_calculate_with_the_arguments(
    problem: Any, output: Any, expected: Any, arguments: Any, right: bool
) -> None:
    assert Comparison(problem["atol"], oracle_of(problem)).accepts(output, expected, arguments) is right


@pytest.mark.parametrize(
    ("output", "expected", "close"),
    [
        (1 + 1.05e-6, 1.0, True), (1 + 1.2e-6, 1.0, False), (1e6 + 0.09, 1e6, True), (1e6 + 0.11, 1e6, False),
        ([1.0000001, 2.0], [1.0, 2.0], True), ((1.0000001,), (1.0,), True), ((1.0000001,), [1.0], False),
        ([1.0000001], [1.0, 1.0], False), ([], [1.0], False), ([1.0000001, "a"], [1.0, "a"], False),
        (float("nan"), float("nan"), False),
    ],
)  # fmt: skip
def test_floats_are_close_within_numpys_two_tolerances(output: Any, expected: Any, close: bool) -> None:
    assert Comparison(0).accepts(output, expected) is close


@pytest.mark.parametrize(
    ("value", "floats"),
    [(1.0, True), (1, False), ([], False), ((), False), ([1.0, 2.0], True), ((1.0,), True), ([1.0, 2], False),
     ([[1.0]], False), ({1.0}, False)],
)  # fmt: skip
def test_a_tolerance_is_due_to_floats_and_rows_of_them(value: Any, floats: bool) -> None:
    assert is_floats(value) is floats


def test_a_tolerance_of_the_problems_own_is_kept() -> None:
    assert Comparison(tolerance_after(0.1, floats=True)).accepts(1.05, 1.0)
    assert Comparison(tolerance_after(0, floats=True)).accepts([[1.0000001]], [[1.0]])
    assert not Comparison(0).accepts(10**9 + 1, 10**9)
    assert not Comparison(tolerance_after(0, floats=False)).accepts([[1.0000001]], [[1.0]])


@pytest.mark.parametrize(
    ("value", "shape"),
    [(1, ()), (True, ()), (1j, ()), ("a", None), ({1}, None), ([], (0,)), ([1, (2,)], None), ([[1], (2,)], (2, 1)),
     ([[], []], (2, 0)), ([["a"]], None), ([None], None), (((1.0, 2), [3, 4], [5, 6]), (3, 2))],
)  # fmt: skip
def test_numbers_in_even_rows_have_a_shape(value: Any, shape: tuple[int, ...] | None) -> None:
    assert compare_outputs._shape(value) == shape


def reply(output: Any, expected: Any, problem: Any = None, arguments: Any = (), tolerance: float = 0) -> str:
    return reply_to(encode(output), encode(expected), problem, encode(arguments), tolerance)


def reply_to(
    output: str, expected: str, problem: Any = None, arguments: str = "[[], true]", tolerance: float = 0
) -> str:
    head = json.dumps([problem or task("Test/0", "f"), tolerance])
    return compare_outputs._reply("\n".join([head, arguments, expected, output]))


@pytest.mark.parametrize(
    ("output", "expected", "right"),
    [
        (1, 1, True), (1, 2, False), (1, 1.0, True), (True, 1, True), (1 + 0j, 1, True), ([1], [1], True),
        ([1], (1,), False), ({1}, frozenset({1}), True), ({1: 2}, {1: 2}, True), ("a", "a", True), ("1", 1, False),
        (b"a", b"a", True), (bytearray(b"a"), b"a", True), (b"a", "a", False), (10**30, 10**30, True),
        (None, None, True),
        (None, 0, False), ([1], [1, 1], False), (float("inf"), float("inf"), True), (0.1 + 0.2, 0.3, True),
    ],
)  # fmt: skip
def test_a_request_is_a_head_arguments_what_is_wanted_and_what_came(output: Any, expected: Any, right: bool) -> None:
    assert reply(output, expected) == ("right" if right else "wrong")


def test_oracles_and_tolerances_of_a_request_decide() -> None:
    root = task("HumanEval/32", "find_zero", 1e-4)
    assert reply(-0.50001, -0.5, root, [[1, 2]], 1e-4) == "right"
    assert reply(-0.6, -0.6, root, [[1, 2]], 1e-4) == "wrong"
    assert [reply([[1.05]], [[1.0]], tolerance=size) for size in (0, 0.1)] == ["wrong", "right"]
    # A tuple where a set is wanted is for an oracle to judge.
    assert reply([2, 1, 1], (1, 2), task("Mbpp/2", "similar_elements")) == "right"
    # What lost its type on the way is right only where it is equal.
    near, same = json.dumps([1.0000001, False]), json.dumps([1.0, False])
    assert [reply_to(line, encode(1.0)) for line in (near, same)] == ["wrong", "right"]


@pytest.mark.parametrize("line", ["", "[]", "{}", "7", "[1", "[{}, 1]", '[{"int": "1", "set": []}, 1]'])
def test_a_line_that_is_no_output_is_wrong(line: str) -> None:
    assert reply_to(line, encode(1)) == reply_to(encode(1), line) == "wrong"
    assert reply_to(encode([1]), encode([1]), task("Mbpp/2", "similar_elements"), line) == "wrong"


def test_kinds_and_sizes_of_what_json_holds_must_agree() -> None:
    kinds = {
        "[1, 2]": ("list", 2), "1": ("number", 0), "1.5": ("number", 0), "true": ("number", 0), '"a"': ("str", 0),
        "null": ("NoneType", 0), '{"tuple": [1]}': ("tuple", 1), '{"set": [1, 2]}': ("set", 2),
        '{"frozenset": [1]}': ("set", 1), '{"dict": [[1, 2]]}': ("dict", 1), '{"bytes": "00"}': ("bytes", 0),
        '{"int": "ff"}': ("number", 0), '{"complex": [1, 2]}': ("number", 0),
    }  # fmt: skip
    assert {text: compare_outputs._kind(json.loads(text)) for text in kinds} == kinds


class ToldPool:
    """Stands in for the process: notes how it is made and what it is asked."""

    def __init__(self, name: str, cpu_seconds: float, largest: int) -> None:
        self.made, self.asked, self.replies = (name, cpu_seconds, largest), [], ["right", "wrong", None]

    def ask(self, request: str) -> str | None:
        self.asked.append(request.split("\n"))
        return self.replies.pop(0)

    def close(self) -> None:
        self.asked.append(["closed"])


def test_a_judge_asks_its_process_for_what_it_needs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_outputs, "KillablePool", ToldPool)
    plain = task("Test/0", "f") | {"prompt": "long", "tests": [1]}
    root = task("HumanEval/32", "find_zero", 1e-4)
    with OutputJudge() as judge:
        pool: Any = judge._pool
        told = [judge.accepts(plain, 0.5, b"[1,1]", b"[2,1]", [3]), judge.accepts(root, 0, b"[1,1]", b"[2,1]", [3])]
        assert [*told, judge.accepts(root, 0, b"", b"", [])] == [True, False, None]
        assert judge.accepts(root, 0, "é".encode(), b"", []) is False
    assert pool.made == ("ilr_bench.grading.compare_outputs", 10.0, 2**30)
    head = [{"task_id": "Test/0", "entry_point": "f", "atol": 0, "tests": True}, 0.5]
    assert [json.loads(pool.asked[0][0]), *pool.asked[0][1:]] == [head, encode(()), "[2,1]", "[1,1]"]
    assert [json.loads(pool.asked[1][0]), *pool.asked[1][1:]] == [[root, 0], encode([3]), "[2,1]", "[1,1]"]
    assert (len(pool.asked), pool.asked[-1]) == (4, ["closed"])
    assert (has_oracle(root), has_oracle(plain)) == (True, False)


def test_ten_million_values_are_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_outputs, "KillablePool", ToldPool)
    assert (compare_outputs._MOST_VALUES, compare_outputs._LARGEST_TABLE) == (10_000_000, 10_000_000)
    monkeypatch.setattr(compare_outputs, "_MOST_VALUES", 3)
    plain = task("Test/0", "f")
    with OutputJudge() as judge:
        read = [judge.accepts(plain, 0, line, b"[1,1]", []) for line in (b",,,", b"[[[", b",,,,", b"[[[[")]
    assert read == [True, False, False, False]
    assert len(judge._pool.asked) == 3  # type: ignore[attr-defined]


def test_a_table_of_ten_million_numbers_is_compared_and_a_larger_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_outputs, "_LARGEST_TABLE", 4)
    near = Comparison(1e-3)
    assert near.accepts([[1.0001, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])
    assert not near.accepts([1.0001] * 5, [1.0] * 5)
    # One shape is made of two: a column of two and a row of two are four numbers.
    assert near.accepts([[1.0], [1.0]], [[1.0001, 1.0]] * 2)
    assert not near.accepts([[1.0], [1.0], [1.0]], [[1.0001, 1.0]] * 3)
