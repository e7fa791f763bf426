"""Outputs on their way out of the jail: plain data, or nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.grading.sandbox import wire
from ilr_bench.grading.sandbox.wire import DEEPEST, decode, encode

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False) | st.text() | st.binary() | st.fractions(),
    lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.sets(st.integers() | st.text())
    | st.frozensets(st.text()) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), parts),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(value: Any) -> None:
    output = decode(encode(value).encode())
    assert output is not None
    assert output.value == value
    assert type(output.value) is type(value)
    assert output.exact is not isinstance(value, Fraction)


@given(st.binary(max_size=60) | st.text("[]{}\"',:truefalsn0123456789eint.-x ", max_size=60).map(str.encode))
def test_whatever_is_said_is_data_or_nothing(line: bytes) -> None:
    output = decode(line)
    assert output is None or decode(encode(output.value).encode()) is not None or isinstance(output.value, float)


@pytest.mark.parametrize(
    "line",
    [b'[{"int": "9", "set": []}, true]', b'[{"set": [[1]]}, true]', b'[{"fraction": ["1", "0"]}, true]', b"[1]",
     b'[{"dict": [[1]]}, true]', b'[{"eval": "1"}, true]', b"[" * 100_000, b'[{"int": 5}, true]', b"\xff", b"",
     b'[{"bytes": "zz"}, true]', b'[{"complex": ["a", 1]}, true]', b'[{"tuple": 5}, true]'],
)  # fmt: skip
def test_malformed_replies_are_no_outputs(line: bytes) -> None:
    assert decode(line) is None


def test_subclasses_come_out_as_what_they_extend() -> None:
    class Word(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    output = decode(encode([Word("a"), {Word("b"): Decimal("0.5")}]).encode())
    assert output is not None
    assert output.value == ["a", {"b": 0.5}]
    assert type(output.value[0]) is str
    assert decode(encode(Word("a")).encode()) == ("a", False)


def test_iterables_tell_their_items_where_asked_to() -> None:
    assert json.loads(encode(iter([1, 2]), items=True)) == [[1, 2], False]
    with pytest.raises(TypeError, match="not plain"):
        encode(iter([1, 2]))


def test_what_is_too_deep_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST", 10_000)
    nested: list[Any] = []
    for _ in range(DEEPEST):
        nested = [nested]
    doubled: list[Any] = [nested] * 2
    with pytest.raises(ValueError, match="too deep"):
        encode(doubled)
    broad: list[Any] = [1]
    for _ in range(40):
        broad = [broad, broad]
    with pytest.raises(ValueError, match="too large"):
        encode(broad)
