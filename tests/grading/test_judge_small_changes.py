r"""How a judge takes two texts apart before it asks the library: names, orders, bases, ratios, per cents, boxes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from sympy import (
    AccumBounds,
    Add,
    Eq,
    Float,
    Function,
    I,
    Integer,
    Matrix,
    Mul,
    Pow,
    Rational,
    Symbol,
    oo,
    pi,
    sqrt,
    zoo,
)

from ilr_bench.grading import math_worker
from ilr_bench.grading.forms import Form
from ilr_bench.grading.math_worker import finished, judge
from ilr_bench.storage.records import Verdict

x = Symbol("x")


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)


def test_words_are_digits_and_keep_what_stands_behind_them_unless_they_must_stand_alone() -> None:
    texts = ("twelve", "twelve%", "twelve eggs", "eggs", "one half of it%", "minus one half")
    read = ["12", "12%", "12 eggs", "eggs", r"\frac{1}{2} of it%", r"-\frac{1}{2}"]
    assert [math_worker._in_digits(text) for text in texts] == read
    assert [math_worker._in_digits(text, alone=True) for text in texts[:3]] == ["12", "12%", "twelve eggs"]


def test_per_cents_are_compared_as_they_stand_and_as_hundredths() -> None:
    assert math_worker._without_percent("5%", "5") == [("5", "5"), (r"\frac{1}{20}", "5")]
    assert math_worker._without_percent(" 5", "5 %") == [("5", "5"), ("5", r"\frac{1}{20}")]
    assert math_worker._without_percent("5%", "6%") == [("5", "6")]
    assert math_worker._without_percent("x% y", "5") == [("x  y", "5"), ("x  y", "5")]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (r"x \in [1, 2]", Form("interval", ("1", "2"), "[]")), ("x = (1,2)", Form("tuple", ("1", "2"), "()")),
        (r"x \in \{1\}", Form("set", ("1",))), ("x = 1", Form("value", ("x = 1",))), ("5", Form("value", ("5",))),
        ("x = 1, 2", Form("list", ("1", "2"))), ("x=1, 2, 3", Form("list", ("1", "2", "3"))),
        ("x=1, y=2", Form("list", ("x=1", "y=2"))), ("x=1, 2, y=3", Form("list", ("x=1", "2", "y=3"))),
        ("1, 2", Form("list", ("1", "2"))), (r"\pm 1", Form("list", ("1", "- 1"))),
    ],
)  # fmt: skip
def test_a_text_has_the_shape_of_what_its_name_stands_for(text: str, form: Form) -> None:
    assert math_worker._form(text) == form


@pytest.mark.parametrize(
    ("answer", "gold", "compared"),
    [
        ("x<1", "(0,1)", (r"(-\infty,1)", "(0,1)")), ("x<1", "x>2", (r"(-\infty,1)", r"(2,\infty)")),
        ("y<1", "x<1", None), ("5", "x<1", None), ("x<1", "2x<1", None), ("x<1", "5", (r"(-\infty,1)", "5")),
        (r"(0,1)\cup(2,3)", "x<1", (r"(0,1)\cup(2,3)", r"(-\infty,1)")), (r"(0,1)\cup(2,3)", "5", None),
    ],
)  # fmt: skip
def test_inequalities_become_intervals_where_the_gold_is_one_or_has_their_letter(
    answer: str, gold: str, compared: tuple[str, str] | None
) -> None:
    assert math_worker._as_intervals(answer, gold) == (compared or (answer, gold))


def test_named_coordinates_stand_in_the_order_of_their_names() -> None:
    orders = [["y=2", "x=1"], ["x=1", "2"], ["x=2", "x=1"], ["2", "1"], ["z=3", "y=1", "x=2"]]
    ordered = [["x=1", "y=2"], *orders[1:4], ["x=2", "y=1", "z=3"]]
    assert [math_worker._in_order(parts) for parts in orders] == ordered


def test_one_value_of_several_names_is_a_part_for_each_and_a_calculation_is_one() -> None:
    spread = {"a=b=90": ["a = 90", "b = 90"], "a=90": ["a=90"], "3=x=90": ["3=x=90"], "1+2=3=x": ["1+2=3=x"]}
    assert {text: math_worker._spread([text]) for text in spread} == spread
    assert math_worker._spread(["a = b = c = 1", "2"]) == ["a = 1", "b = 1", "c = 1", "2"]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (["1", "2"], ["2", "1"], True), (["1"], ["1", "1"], False), (["1", "1"], ["1", "2"], False), ([], [], True),
        (["x=1", "y=2"], ["y=2", "x=1"], True), (["x=1", "y=2"], ["y=1", "x=2"], False), (["1", "1"], ["1"], False),
        (["x=1"], ["1"], True), (["1"], ["x=1"], True), (["x_{1}=1"], ["x_1=1"], True), (["2", "1"], ["2", "3"], False),
        # What is right for two golds takes the one that it is written as, so that the other is left.
        (["x=1", "1"], ["1", "x=1"], True), (["1", "x=1", "y=1"], ["y=1", "1", "x=1"], True),
    ],
)  # fmt: skip
def test_each_part_is_equal_to_a_gold_of_its_own(ours: list[str], theirs: list[str], same: bool) -> None:
    assert math_worker._same_multiset(ours, theirs, False) is same


@pytest.mark.parametrize(
    ("answer", "gold", "unnamed"),
    [
        ("x=5", "x=6", ("5", "6")), ("x=5", "y=6", None), ("x=5", "AB=6", None), ("x_1=5", "y=6", ("5", "6")),
        ("x=5", "y_1=6", ("5", "6")), ("x=5", "6", ("5", "6")), ("5", "x=6", ("5", "6")), ("5", "6", None),
        ("speed = 5", "6", ("5", "6")), ("speed=5", "x=6", None), ("x=5", "y+1=6", None), ("2+3=5", "x=6", None),
        ("x=5", "2+3=6", None), (r"x \in S", "T", ("S", "T")),
    ],
)  # fmt: skip
def test_names_before_both_or_one_are_left_out(answer: str, gold: str, unnamed: tuple[str, str] | None) -> None:
    assert math_worker._unnamed(answer, gold) == ([] if unnamed is None else [unnamed])


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("11", "11_2", True), ("11_2", "11_2", True), ("11_3", "11_2", False), ("11_{10}", "11", True),
        ("11_2", "11", False), ("a1", "A1_{16}", True), ("12_{10}", "11", False), ("11_{10}", "11_2", False),
        ("6:10", "3:5", True), ("3/5", "3:5", True), ("3:5", "3/5", False), ("3", "1:2:3", False),
        ("5:3", "3:5", False),
        ("1:2:3", "2:4:6", True), ("1:2:3", "2:4:7", False), ("1:2", "1:2:3", False), ("0:5", "0:5", True),
        ("0:5", "0:7", False), ("0:5", "1:5", False), ("x:5", "x:5", True), ("x:5", "x:6", False),
        ("3 : 5", "6 : 10", True),
        (r"3 \text{ to } 5", "3:5", True), ("6 to 10", "3:5", True), ("4:30 pm", "4:30", True),
        ("4:30", "4:30 pm", False),
        ("4:30 PM", "4:30 pm", True), ("4:30 am", "4:30 pm", False), ("9:00", "4:30", False), ("4:61", "8:122", True),
        ("x:2x", "y:2y", False), ("0.5:1", "1:2", True),
    ],
)  # fmt: skip
def test_bases_ratios_and_clocks_are_compared_by_their_own_rules(answer: str, gold: str, same: bool) -> None:
    assert (judge(answer, gold) is Verdict.CORRECT) is same


def test_numbers_are_equal_to_twenty_five_digits_and_floats_to_twelve() -> None:
    near, far, unknown = Rational(1, 10**26), Rational(1, 10**24), Symbol("y")
    cases = [
        (Integer(1), Integer(1), True), (Integer(1), Integer(2), False), (unknown, Integer(1), None),
        (Integer(1), unknown, None), (Matrix([[1]]), Integer(1), None), (Function("f")(1), Integer(1), None),
        (sqrt(2), sqrt(2) + near, True), (sqrt(2), sqrt(2) + far, False), (sqrt(2), Float("1.4142135623730951"), True),
        (Float("1.4142135623730951"), sqrt(2), True), (sqrt(2), Float("1.41421356"), False), (oo, oo, True),
        (1000 * pi, 1000 * pi + 500 * near, True), (2 * I, 2 * I, True), (2 * I, 3 * I, False), (oo, Integer(1), False),
        (zoo, oo, False), (Integer(1), oo, False), (Rational(1, 3), Rational(10**30, 3 * 10**30 + 1), False),
        (AccumBounds(0, 1), Integer(1), None),
    ]  # fmt: skip
    assert [math_worker._same_expression(one, other) for one, other, _ in cases] == [same for *_, same in cases]


def test_i_is_the_imaginary_unit_and_what_cannot_be_read_is_none() -> None:
    assert [math_worker._parse(text, real=False) for text in ("i", "2i", "x", r"\frac{", "")][:2] == [I, 2 * I]
    assert math_worker._parse("x", real=True) == Symbol("x", real=True)
    assert [math_worker._parse(text, real=True) for text in (r"\frac{", "")] == [None, None]


@pytest.mark.parametrize(
    ("answer", "gold", "measured", "verdict"),
    [
        ("2", "2", False, "correct"), ("3", "2", False, "wrong"), (r"\boxed{2}\boxed{2.0}", "2", False, "correct"),
        (r"\boxed{2}\boxed{3}", "2", False, "missing"), (r"\boxed{3}\boxed{3}", "2", False, "missing"),
        (r"\boxed{3}", "2", False, "wrong"), ("0.33", "1/3", True, "correct"), ("0.33", "1/3", False, "wrong"),
        (r"\boxed{0.33}\boxed{0.333}", "1/3", True, "correct"),
    ],
)  # fmt: skip
def test_every_box_of_an_answer_must_be_right(answer: str, gold: str, measured: bool, verdict: str) -> None:
    assert math_worker._reply(json.dumps([answer, gold, measured])) == verdict


def test_a_text_that_nests_too_deep_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*_: object) -> bool:
        raise RecursionError

    monkeypatch.setattr(math_worker, "_same", deep)
    assert judge("1", "1") is Verdict.WRONG


def test_the_worker_is_warm_and_silent_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[object] = []
    judged: list[tuple[str, ...]] = []

    def serve(reply: Callable[[str], str], memory: int, isolated: bool) -> None:
        served.append((reply, memory, isolated, logging.root.manager.disable))

    monkeypatch.setattr(math_worker, "serve", serve)
    monkeypatch.setattr(math_worker, "judge", lambda *pair: judged.append(pair))
    try:
        math_worker.main()
    finally:
        logging.disable(logging.NOTSET)
    assert served == [(math_worker._reply, 2 * 2**30, False, logging.CRITICAL)]
    assert len(judged) == 8
    assert all(judge(*pair) in (Verdict.CORRECT, Verdict.WRONG) for pair in judged)


@pytest.mark.parametrize(
    ("answer", "gold", "measured", "right"),
    [
        # Rounded behind an exact value: only where quantities are measured; behind a name it is the value.
        (r"\pi \approx 3.14", r"\pi", False, True), (r"\pi \approx 3.14", "3.14", False, False),
        (r"\pi \approx 3.14", "3.14159", True, True), (r"x \approx 3.14", "3.14", False, True),
        (r"3 \approx 3.14", r"3.14", False, False), (r"speed \approx 5", "5", False, True),
        (r"5", r"5 \approx 6", False, True), (r"6", r"5 \approx 6", False, False),
        # Sets, lists and values.
        (r"\{5\}", "5", False, True), (r"\{5,6\}", "5", False, False), (r"\{\emptyset\}", "0", False, False),
        ("5", r"\{5\}", False, True), ("(5,6)", "5,6", False, False), ("[1,2,3]", "1,2,3", False, True),
        ("1,2,3", "(1,2,3)", False, True), ("[1,2,3]", "(1,2,3)", False, False), ("1,2", "[1,2]", False, False),
        (r"\{1,2\}", "(1,2)", False, False), ("(1,2,3)", "(1,2)", False, False), ("(2,1)", "(1,2)", False, False),
        ("90", "a=90, b=90", False, True), ("x=90", "a=90, b=90", False, False), ("90", "a=90, 90", False, False),
        ("90", "90, 90", False, False), ("80", "a=90, b=90", False, False), ("90", "a=90, b=80", False, False),
        # Equations, and names of words.
        ("2+3=5", "5", False, True), ("6=5", "5", False, False), ("x+1=5", "5", False, True),
        ("12=x", "12", False, True),
        ("5=", "5", False, False), ("y=x+1", "x+1=y", False, True), ("y", "y=x", False, False),
        ("x", "y=x", False, True),
        (r"n \equiv 5", "5", False, False), (r"n \equiv 5", r"n \equiv 5", False, True),
        ("even", r"\text{Even}", False, True), ("odd", r"\text{even}", False, False),
        ("2", r"\text{even}", False, False),
        # Units: powers must agree where both are written.
        (r"10 \text{ cm}^2", r"10 \text{ cm}^2", False, True), (r"10 \text{ cm}^3", r"10 \text{ cm}^2", False, False),
        ("10", r"10 \text{ cm}^2", False, True), ("10 m^2", r"10 \text{ m}^2", False, True),
        ("10 m^3", r"10 \text{ m}^2", False, False), (r"10 \text{ cm}", r"10 \text{ cm}^2", False, True),
        # Arithmetic left undone is no answer where the gold is a number.
        ("3+5", "8", False, False), (r"\sqrt{64}", "8", False, True), (r"\sqrt{2}\sqrt{2}", "2", False, True),
        ("1.41", r"\sqrt2", True, True), ("1.42", r"\sqrt2", True, False), ("1.41", r"\sqrt2", False, False),
        ("1.4", r"\sqrt2 x", True, False), ("50%", "0.5", False, True), ("0.5", "50%", False, True),
        ("1,234", "1234", False, True), ("1,234", "1,234", False, True), ("234,1", "1,234", False, True),
        ("twelve", "12", False, True), ("12", "twelve", False, True), ("twelve eggs", "12", False, True),
        ("12", "twelve eggs", False, False),
        (r"\{3+5\}", "8", False, False), (r"\{0.33\}", r"\frac13", True, True),
        (r"\{\emptyset\}", r"\emptyset", False, False),
        ("x = A", "A", False, True), ("Even", "even", False, True), ("5", "1,234", False, False),
        (r"2\sqrt{3} cm", r"2\sqrt{3}", False, True), ("2x-y=1", "y=2x-1", False, True),
        ("(1,3)", "(1,2)", False, False),
        (r"n \equiv 5.0", r"n \equiv 5", False, True),
    ],
)  # fmt: skip
def test_shapes_names_units_and_roundings_decide(answer: str, gold: str, measured: bool, right: bool) -> None:
    assert (judge(answer, gold, measured) is Verdict.CORRECT) is right


@pytest.mark.parametrize(
    ("expression", "done"),
    [
        (Integer(8), True), (Rational(1, 2), True), (2 * sqrt(3), True), (Pow(Integer(3), 8, evaluate=False), True),
        (Mul(Integer(-1), Integer(8), evaluate=False), True), (Mul(Integer(2), Integer(4), evaluate=False), False),
        (Mul(Integer(-1), Integer(2), Integer(4), evaluate=False), False),
        (Add(Integer(3), Integer(5), evaluate=False), False), (1 + sqrt(3), False),
        (Eq(x, Integer(8)), True), (Eq(x + 1, Integer(8)), True),
        (Eq(x, Add(Integer(3), Integer(5), evaluate=False), evaluate=False), False),
        (Mul(Integer(2), Pow(Integer(10), 3, evaluate=False), evaluate=False), True),
    ],
)  # fmt: skip
def test_a_calculation_is_not_finished_and_a_number_is(expression: object, done: bool) -> None:
    assert finished(expression) is done
