"""Plain data or text to frozen dataclasses of settings, and in one line what was wrong with it.

Pydantic reads and checks; it is imported when something is read, as it takes longer than all else at the start of a
command. Bounds stand in the annotations (`Count`, `Share` and their kin, or any of `annotated_types`).
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, NoReturn, TypeVar

from annotated_types import Ge, Gt, Le

from ilr_bench.core.errors import ConfigurationError, did_you_mean

T = TypeVar("T")
Count = Annotated[int, Ge(1)]
CountOrNone = Annotated[int, Ge(0)]
"""Where 0 means none, or never."""
Positive = Annotated[float, Gt(0)]
Weight = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
"""A probability or a fraction."""

MESSAGES = {
    "missing": "missing",
    "dataclass_type": "{value!r} is not a group of settings",
    "dict_type": "{value!r} is not a group of settings",
    "tuple_type": "{value!r} is not a list; write it as a+b",
    "list_type": "{value!r} is not a list; write it as a+b",
    "greater_than_equal": "at least {ge:g}, not {value}",
    "greater_than": "more than {gt:g}, not {value}",
    "less_than_equal": "at most {le:g}, not {value}",
    "less_than": "less than {lt:g}, not {value}",
    "finite_number": "{value!r} is not a finite number",
    "value_error": "{error}",
    "int": "{value!r} is not an integer",
    "float": "{value!r} is not a finite number",
    "bool": "{value!r} is neither true nor false",
    "string": "{value!r} is not a text",
}
"""Pydantic's type of error, or its first word -> what is said after the key."""


class Options(dict[str, Any]):
    """Settings that a plug-in names and checks itself: frozen, hashable, JSON data; `read` makes its own class of them.

    Text that is JSON (a number, a list, `true`) counts as what it is, and nothing as `none`, so that a file and a
    command line say the same. Raises ValueError for what is no JSON data.
    """

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__({key: _written_as(value) for key, value in dict(items).items()})
        try:
            json.dumps(self, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{dict(self)} is no plain JSON data ({error})") from error

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))

    def __reduce__(self) -> tuple[type[Options], tuple[dict[str, Any]]]:
        return Options, (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("options are frozen; make others of them by `change`")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from pydantic_core import core_schema

        plain = core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema())
        return core_schema.no_info_after_validator_function(cls, plain)


def read(cls: type[T], data: Any, prefix: str = "") -> T:
    """An instance of a dataclass from a mapping, its nested dataclasses from nested ones.

    Every value may be text: `a+b` for several, `none` for nothing. NaN and infinities are refused. `prefix`, such as
    `reward.options.`, stands before keys in messages. Raises ConfigurationError that names every setting at fault.
    """
    from pydantic import ValidationError

    try:
        made: T = _adapter(typing.cast(type, cls)).validate_python(_from_text(cls, data))
    except ValidationError as found:
        raise ConfigurationError("; ".join(_message(cls, dict(error), prefix) for error in found.errors())) from found
    return made


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON schema of a dataclass, with the docstrings of its fields as descriptions."""
    return _adapter(cls, described=True).json_schema()  # type: ignore[no-any-return]


@cache
def hints(cls: type) -> Mapping[str, Any]:
    """Field -> type without its bounds."""
    found = typing.get_type_hints(cls)
    return {item.name: found[item.name] for item in dataclasses.fields(cls)}


@cache
def keys(cls: type, prefix: str = "") -> tuple[str, ...]:
    """Dotted keys of all settings, groups left out."""
    found: list[str] = []
    for name, hint in hints(cls).items():
        found += keys(hint, f"{prefix}{name}.") if _is_group(hint) else [prefix + name]
    return tuple(found)


def unknown(key: str, known: Iterable[str]) -> ConfigurationError:
    """The error for a key that is no setting, with the closest one."""
    known = list(known)
    hint = did_you_mean(key, known, f"known settings: {', '.join(known)}")
    return ConfigurationError(f"unknown setting {key}; {hint}")


def alternatives(hint: Any) -> tuple[Any, ...]:
    """What a type may be: the members of a union, or itself alone."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


@cache
def _adapter(cls: type, described: bool = False) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    config = ConfigDict(
        extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, use_attribute_docstrings=described
    )
    return TypeAdapter(with_config(config)(cls))


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _from_text(hint: Any, value: Any) -> Any:
    """Text made what its type wants, everywhere in a nested mapping; what else there is stays as it is."""
    if isinstance(value, Mapping):
        known = {key: kind for one in alternatives(hint) if _is_group(one) for key, kind in hints(one).items()}
        return {key: _from_text(known.get(key), inner) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    if types.NoneType in alternatives(hint) and value == "none":
        return None
    several = any(typing.get_origin(one) in (tuple, list) for one in alternatives(hint))
    return value.split("+") if several else value


def _message(cls: type, error: Mapping[str, Any], prefix: str) -> str:
    place, kind = [part for part in error["loc"] if isinstance(part, str)], error["type"]
    key = prefix + ".".join(place)
    if kind == "unexpected_keyword_argument":
        for name in place[:-1]:
            cls = hints(cls)[name]
        return str(unknown(key, [key.removesuffix(place[-1]) + name for name in hints(cls)]))
    context = dict(error.get("ctx", {}), value=error["input"])
    if kind == "literal_error":
        said = "{value!r} is none of " + context["expected"].replace(" or ", ", ")
    else:
        said = MESSAGES.get(kind) or MESSAGES.get(kind.split("_")[0]) or "{value!r}: " + error["msg"]
    return f"{key.rstrip('.') or 'configuration'}: {said.format(**context)}"


def _written_as(value: Any) -> Any:
    if not isinstance(value, str):
        return "none" if value is None else value
    try:
        read_as = json.loads(value)
    except ValueError:
        return value
    return value if read_as is None or isinstance(read_as, str) else read_as
