"""Optuna's samplers by name."""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from importlib.util import find_spec

import optuna

from ilr_bench.core.errors import ConfigurationError, MissingInputError

ONE_OBJECTIVE = ("cmaes",)
NEEDS = {"cmaes": "cmaes"}
"""Packages that Optuna itself does not bring."""
REFUSED = {
    "grid": "a grid needs no search: name its values by --set KEY=V1,V2 and its variants by --variants",
    "bruteforce": "a grid needs no search: name its values by --set KEY=V1,V2 and its variants by --variants",
    "partialfixed": "fix settings by --set KEY=VALUE",
}


def names() -> tuple[str, ...]:
    """All that `--sampler` takes: Optuna's class names, in small letters and without their common ending."""
    return tuple(name for name in sorted(_classes()) if name not in REFUSED)


def sampler(name: str, seed: int, objectives: int) -> optuna.samplers.BaseSampler:
    """A seeded sampler; raises ConfigurationError for an unknown or unfit one, MissingInputError for what it needs."""
    if name in REFUSED:
        raise ConfigurationError(f"--sampler {name}: {REFUSED[name]}")
    if name not in names():
        close = get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names())}"
        raise ConfigurationError(f"--sampler {name}: Optuna has no such sampler; {hint}")
    if objectives > 1 and name in ONE_OBJECTIVE:
        raise ConfigurationError(f"--sampler {name}: takes one objective only; choose tpe or nsgaii")
    package = NEEDS.get(name)
    if package is not None and find_spec(package) is None:
        raise MissingInputError(f"--sampler {name}: needs the package {package}; pip install {package}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made: optuna.samplers.BaseSampler = _classes()[name](seed=seed)
    return made


def _classes() -> dict[str, type]:
    base = ("BaseSampler", "BaseGASampler")
    ending = "Sampler"
    return {
        name.removesuffix(ending).lower(): getattr(optuna.samplers, name)
        for name in optuna.samplers.__all__
        if name.endswith(ending) and name not in base
    }
