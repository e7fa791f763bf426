"""What a search may choose: dimensions declared in a TOML file, or a function that asks Optuna for each value."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Registry

Suggest = Callable[[optuna.Trial], dict[str, Any]]
"""Asks Optuna for one value per setting of a point; the variant is the setting `variant`."""

EXAMPLES = Path(__file__).parent / "spaces"
FIELDS = {"low", "high", "log", "step", "choices", "when"}


@dataclass(frozen=True)
class Space:
    """The points that a search may try."""

    name: str
    suggest: Suggest
    declaration: Mapping[str, Any]
    """What was declared, as JSON data: another declaration is another search."""


@dataclass(frozen=True)
class Dimension:
    """One setting that a search may choose."""

    key: str
    kind: type | None
    """int or float: a range; None: one of the choices."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Dimension -> values with which this one is asked for at all; else the setting stays as it is."""

    def suggest(self, trial: optuna.Trial) -> Any:
        """One value."""
        if self.kind is None:
            return trial.suggest_categorical(self.key, self.choices)
        if self.kind is int:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log)
        value = trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)
        # 3 * 0.2 is not 0.6, and would name another trial than a grid over 0.6 does.
        return value if self.step is None else float(f"{value:.12g}")


SPACES: Registry[Suggest] = Registry("search space", group="ilr_bench.spaces")
"""Functions of other packages, by the names that `--search` takes."""


def load_space(name: str, start: RunConfig) -> Space:
    """The space in a TOML file, an example that comes along, or a registered function.

    Raises ConfigurationError where there is none, and where a dimension does not fit the settings of `start`.
    """
    path = Path(name) if name.endswith(".toml") else EXAMPLES / f"{name}.toml"
    if path.is_file():
        return declared_space(name, _read(path), start)
    if name.endswith(".toml"):
        raise ConfigurationError(f"--search {name}: no such file")
    if name not in SPACES:
        known = ", ".join([*examples(), *SPACES.names()])
        raise ConfigurationError(f"--search {name}: name a TOML file that declares a space, or one of: {known}")
    return Space(name, SPACES.get(name), {"function": name})


def examples() -> tuple[str, ...]:
    """Names of the spaces that come along."""
    return tuple(sorted(path.stem for path in EXAMPLES.glob("*.toml")))


def declared_space(name: str, declared: Mapping[str, Any], start: RunConfig) -> Space:
    """The space of dimensions in the order of their declaration; raises ConfigurationError naming the one at fault."""
    dimensions: dict[str, Dimension] = {}
    for key, entry in declared.items():
        try:
            dimensions[key] = _dimension(key, entry, start)
            for other in dimensions[key].when:
                if other not in dimensions or other == key:
                    raise ConfigurationError(f"`when` names {other}, which is no dimension above it")
        except ConfigurationError as error:
            raise ConfigurationError(f"--search {name}: {key}: {error}") from error
    return Space(name, partial(_suggest, tuple(dimensions.values())), dict(declared))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--search {path}: not a TOML file that can be read ({error})") from error
    space = data.get("space")
    if set(data) != {"space"} or not isinstance(space, dict) or not space:
        raise ConfigurationError(
            f"--search {path}: write one table [space] with a line per setting, such as "
            '"update.learning_rate" = {low = 1e-5, high = 1e-3, log = true}'
        )
    return space


def _suggest(dimensions: tuple[Dimension, ...], trial: optuna.Trial) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for dimension in dimensions:
        if all(key in chosen and chosen[key] in values for key, values in dimension.when.items()):
            chosen[dimension.key] = dimension.suggest(trial)
    return chosen


def _dimension(key: str, entry: Any, start: RunConfig) -> Dimension:
    if not isinstance(entry, Mapping):
        raise ConfigurationError("write {low = 0.1, high = 0.9} or {choices = [1, 2]}")
    if any(isinstance(value, Mapping) for name, value in entry.items() if name != "when"):
        raise ConfigurationError(f'write the setting in quotes: "{key}.{next(iter(entry))}"')
    unknown = sorted(entry.keys() - FIELDS)
    if unknown:
        raise ConfigurationError(f"unknown {', '.join(unknown)}; known: {', '.join(sorted(FIELDS))}")
    when = entry.get("when", {})
    if not isinstance(when, Mapping):
        raise ConfigurationError('write `when` as {variant = "ilr"} or {variant = ["ilr", "grpo"]}')
    conditions = {other: tuple(value) if isinstance(value, list) else (value,) for other, value in when.items()}
    if "choices" in entry:
        if entry.keys() & {"low", "high", "log", "step"}:
            raise ConfigurationError("choices have no low, high, log or step")
        return Dimension(key, None, choices=_choices(key, entry["choices"], start), when=conditions)
    if not {"low", "high"} <= entry.keys():
        raise ConfigurationError("needs low and high, or choices")
    return dataclasses.replace(_range(key, entry, start), when=conditions)


def _choices(key: str, choices: Any, start: RunConfig) -> tuple[Any, ...]:
    if not isinstance(choices, list) or not choices:
        raise ConfigurationError("choices: write a list of at least one value")
    for choice in choices:
        if isinstance(choice, list | dict):
            raise ConfigurationError(f"choices: {choice!r} is not one value; write a list of names as a+b")
        if key != "variant":
            change(start, {key: choice})
    return tuple(choices)


def _range(key: str, entry: Mapping[str, Any], start: RunConfig) -> Dimension:
    kind = _kind(key, start)
    if kind not in (int, float):
        raise ConfigurationError("is no number; give its values as choices")
    low, high, step, log = entry["low"], entry["high"], entry.get("step"), entry.get("log", False)
    if not isinstance(log, bool):
        raise ConfigurationError(f"log: {log!r} is neither true nor false")
    numbers = {"low": low, "high": high} | ({} if step is None else {"step": step})
    for name, value in numbers.items():
        wanted = "a whole number" if kind is int else "a number"
        fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        if not fits or not math.isfinite(value):
            raise ConfigurationError(f"{name}: {value!r} is not {wanted}")
    if low > high:
        raise ConfigurationError(f"low {low} is above high {high}")
    if step is not None and step <= 0:
        raise ConfigurationError(f"step {step} is not above 0")
    if log and (low <= 0 or step is not None):
        raise ConfigurationError("a logarithmic range starts above 0 and has no step")
    return Dimension(key, kind, low=low, high=high, log=log, step=step)


def _kind(key: str, start: RunConfig) -> Any:
    """Type of a setting, None taken off; raises ConfigurationError with the closest name where there is none."""
    index: Any = RunConfig
    for part in key.split("."):
        hints = typing.get_type_hints(index) if dataclasses.is_dataclass(index) else {}
        if part not in hints:
            change(start, {key: None})
            raise ConfigurationError("is no setting")
        index = hints[part]
    if dataclasses.is_dataclass(index):
        raise ConfigurationError("is a group of settings; name one of them")
    if typing.get_origin(index) is types.UnionType:
        index = next(part for part in typing.get_args(index) if part is not types.NoneType)
    return index
