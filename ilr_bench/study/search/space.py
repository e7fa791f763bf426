"""What a search may choose (dimensions in a TOML file, or a function that asks Optuna for values), and its sampler."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna

from ilr_bench.core.config import RunConfig, change, content_hash
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.core.plugins import is_reference, label_of
from ilr_bench.core.registry import Registry
from ilr_bench.core.settings import alternatives
from ilr_bench.storage.provenance import plugin_hashes
from ilr_bench.study.plan import check_mechanisms

Suggest = Callable[[optuna.Trial], dict[str, Any]]
"""Asks Optuna for one value per setting of a point; the variant is the setting `variant`."""

EXAMPLES = Path(__file__).parent / "spaces"
FIELDS = {"low", "high", "log", "step", "choices", "when"}
NEEDS = {"cmaes": "cmaes"}
"""Sampler -> package that Optuna itself does not bring."""
NO_SEARCH = "a grid needs no search: name its values by --set KEY=V1,V2 and its variants by --variants"
REFUSED = {"grid": NO_SEARCH, "bruteforce": NO_SEARCH, "partialfixed": "fix settings by --set KEY=VALUE"}
"""Samplers of Optuna that are not offered -> what to do instead."""


@dataclass(frozen=True)
class Space:
    """The points that a search may try."""

    name: str
    function: Suggest
    declaration: Mapping[str, Any]
    """What was declared, as JSON data: another declaration is another search."""

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """One point's settings; raises ConfigurationError where the function asks for the impossible."""
        try:
            settings = self.function(trial)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"--search {self.name}: {error}") from error
        if not isinstance(settings, dict) or not settings:
            raise ConfigurationError(f"--search {self.name}: its function must return a dict of settings")
        return settings


@dataclass(frozen=True)
class Dimension:
    """One setting that a search may choose."""

    suggest: Callable[[optuna.Trial], Any]
    when: Mapping[str, tuple[Any, ...]]
    """Dimension -> values with which this one is asked for at all; else the setting stays as it is."""


SPACES: Registry[Suggest] = Registry("search space", group="ilr_bench.spaces")
"""Functions of other packages, by the names that `--search` takes."""
Sampler = Callable[..., optuna.samplers.BaseSampler]
"""Takes `seed`, and returns what chooses the points."""
SAMPLERS: Registry[Sampler] = Registry("sampler", ("ilr_bench.study.search.space",), "ilr_bench.samplers")
"""Optuna's, and functions or classes of others, by the names that `--sampler` takes."""


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
    return Space(name, SPACES.get(name), {"function": identity_of(name, SPACES)})


def identity_of(name: str, registry: Registry[Any]) -> str:
    """What tells one search from another: a name; for a reference its label and a hash of the source."""
    module = registry.plugin(name) if is_reference(name) else None
    return name if module is None else f"{label_of(name)} {content_hash(plugin_hashes(module))}"


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
    return Space(name, partial(_suggest, dimensions), dict(declared))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"--search {path}: not a TOML file that can be read ({error})") from error
    space = data.get("space")
    if set(data) != {"space"} or not isinstance(space, dict) or not space:
        raise ConfigurationError(
            f"--search {path}: write one table [space] with a line per setting, such as "
            '"update.learning_rate" = {low = 1e-5, high = 1e-3, log = true}'
        )
    return space


def _suggest(dimensions: Mapping[str, Dimension], trial: optuna.Trial) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for key, dimension in dimensions.items():
        if all(other in chosen and chosen[other] in values for other, values in dimension.when.items()):
            chosen[key] = dimension.suggest(trial)
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
        return Dimension(_choices(key, entry["choices"], start), conditions)
    if not {"low", "high"} <= entry.keys():
        raise ConfigurationError("needs low and high, or choices")
    return Dimension(_range(key, entry, start), conditions)


def _choices(key: str, choices: Any, start: RunConfig) -> Callable[[optuna.Trial], Any]:
    if not isinstance(choices, list) or not choices:
        raise ConfigurationError("choices: write a list of at least one value")
    for choice in choices:
        if isinstance(choice, list | dict):
            raise ConfigurationError(f"choices: {choice!r} is not one value; write a list of names as a+b")
        if key != "variant":
            check_mechanisms(change(start, {key: choice}))
    return lambda trial: trial.suggest_categorical(key, choices)


def _range(key: str, entry: Mapping[str, Any], start: RunConfig) -> Callable[[optuna.Trial], Any]:
    kind = _kind(key, start)
    if kind not in (int, float):
        raise ConfigurationError("is no number; give its values as choices")
    low, high, step, log = entry["low"], entry["high"], entry.get("step"), entry.get("log", False)
    if not isinstance(log, bool):
        raise ConfigurationError(f"log: {log!r} is neither true nor false")
    wanted, types_ = ("a whole number", int) if kind is int else ("a number", int | float)
    for name, value in (("low", low), ("high", high), *([] if step is None else [("step", step)])):
        if not isinstance(value, types_) or isinstance(value, bool) or not math.isfinite(value):
            raise ConfigurationError(f"{name}: {value!r} is not {wanted}")
    if low > high:
        raise ConfigurationError(f"low {low} is above high {high}")
    if step is not None and step <= 0:
        raise ConfigurationError(f"step {step} is not above 0")
    if log and (low <= 0 or step is not None):
        raise ConfigurationError("a logarithmic range starts above 0 and has no step")
    if kind is int:
        return lambda trial: trial.suggest_int(key, low, high, step=step or 1, log=log)
    if step is None:
        return lambda trial: trial.suggest_float(key, low, high, log=log)
    # 3 * 0.2 is not 0.6, and would name another trial than a grid over 0.6 does.
    return lambda trial: float(f"{trial.suggest_float(key, low, high, step=step):.12g}")


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
    return next(kind for kind in alternatives(index) if kind is not types.NoneType)


def printed(settings: Mapping[str, Any]) -> str:
    """A point in one line."""
    return ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in
                     settings.items())  # fmt: skip


def make_sampler(name: str, seed: int, objectives: int) -> optuna.samplers.BaseSampler:
    """A seeded sampler; raises ConfigurationError for an unknown or unfit one, MissingInputError for what it needs."""
    if name in REFUSED:
        raise ConfigurationError(f"--sampler {name}: {REFUSED[name]}")
    try:
        make = SAMPLERS.get(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"--sampler {name}: {error}") from error
    if objectives > 1 and name == "cmaes":
        raise ConfigurationError(f"--sampler {name}: takes one objective only; choose tpe or nsgaii")
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        raise MissingInputError(f"--sampler {name}: needs the package {NEEDS[name]}; pip install {NEEDS[name]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = make(seed=seed)
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise ConfigurationError(f"--sampler {name}: {type(made).__name__} came back, and no sampler of Optuna's kind")
    return made


def _register_samplers() -> None:
    """Optuna's classes by their names in small letters, without the common ending."""
    ending, others = "Sampler", ("BaseSampler", "BaseGASampler")
    classes = [name for name in optuna.samplers.__all__ if name.endswith(ending) and name not in others]
    named = {name.removesuffix(ending).lower(): getattr(optuna.samplers, name) for name in classes}
    for name in sorted(named.keys() - REFUSED.keys()):
        SAMPLERS.add(name, named[name])


_register_samplers()
