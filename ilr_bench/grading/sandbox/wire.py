"""Outputs as plain data, from the jail to the process that judges them.

An output becomes one line of JSON; types that JSON lacks are objects with one key, the kind. Nothing but numbers,
texts, bytes and the built-in collections of them passes; decoding makes nothing else, so no code of the program's comes
out with its answer. Subclasses become what they extend; a subclass's `__eq__` stays inside.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import ItemsView, Iterable, KeysView
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

DEEPEST, LARGEST = 64, 2_000_000
"""Levels and values of one output; a deeper or larger one (or one that holds itself) is refused."""
_SAFE_INTEGER = 1 << 53
_BUILT_IN: tuple[type, ...] = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
_COLLECTIONS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class Output(NamedTuple):
    """What a call returned."""

    value: Any
    exact: bool
    """False where the program returned another type that equals this value, such as a subclass of it."""


def encode(value: Any, *, items: bool = False) -> str:
    """One line; `items`: any iterable may stand for the list of its items.

    Raises TypeError for what is not plain, ValueError where it is too deep or too large.
    """
    exact = value is None or type(value) in _BUILT_IN
    if items and not isinstance(value, (str, list, tuple, set, frozenset, dict)):
        value, exact = list(itertools.islice(value, LARGEST)), False
    return json.dumps([_encode(value, DEEPEST, itertools.count()), exact])


def decode(line: bytes | bytearray) -> Output | None:
    """The output in one line of a reply; None where `encode` cannot have written it."""
    try:
        value, exact = json.loads(line)
        return Output(_decode(value, DEEPEST), bool(exact))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, ZeroDivisionError):
        return None


def _encode(value: Any, depth: int, counter: Iterable[int]) -> Any:
    if not depth or next(iter(counter)) > LARGEST:
        raise ValueError("too deep or too large")
    if value is None or value is True or value is False:
        return value
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", True):
        value = value.item()
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        whole = int.__index__(value)
        return whole if -_SAFE_INTEGER < whole < _SAFE_INTEGER else {"int": hex(whole)}
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return list(value) if _simple(value) else [_encode(part, depth - 1, counter) for part in list.__iter__(value)]
    for kind, built_in in _COLLECTIONS.items():
        if isinstance(value, built_in):
            return {kind: [_encode(part, depth - 1, counter) for part in built_in.__iter__(value)]}
    if isinstance(value, dict):
        pairs: list[tuple[Any, Any]] = list(dict.items(value))
        return {"dict": [[_encode(part, depth - 1, counter) for part in pair] for pair in pairs]}
    if isinstance(value, (KeysView, ItemsView)):
        return {"set": [_encode(part, depth - 1, counter) for part in value]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (Fraction, Decimal)):
        return {"fraction": [hex(part) for part in value.as_integer_ratio()]}
    raise TypeError(f"an output of the type {type(value).__name__} is not plain data")


def _simple(values: list[Any]) -> bool:
    """Whether JSON holds a long list as it stands (small integers, or texts); a matter of speed only."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) > -_SAFE_INTEGER and max(values) < _SAFE_INTEGER)
    return kinds in ({str}, {float}, {bool})


def _decode(value: Any, depth: int) -> Any:
    if not depth:
        raise ValueError("too deep")
    if isinstance(value, list):
        flat = {list, dict}.isdisjoint(map(type, value))
        return value if flat else [_decode(part, depth - 1) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind]([_decode(part, depth - 1) for part in content])
    if kind == "dict":
        return {_decode(key, depth - 1): _decode(part, depth - 1) for key, part in content}
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        real, imaginary = content
        return complex(float(real), float(imaginary))
    if kind == "fraction":
        numerator, denominator = content
        return Fraction(int(numerator, 16), int(denominator, 16))
    raise ValueError(f"unknown kind {kind}")
