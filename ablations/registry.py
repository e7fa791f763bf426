"""How variants are named, described and found."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Registry
from ilr_bench.core.validation import validate

Make = Callable[[RunConfig], RunConfig]


@dataclass(frozen=True)
class Variant:
    """A named change of a configuration; call it to apply it."""

    name: str
    summary: str
    """First line of the docstring."""
    source: str
    """Who asks for it: a section or figure of the paper, the reviewers, or this laboratory."""
    make: Make

    def __call__(self, config: RunConfig) -> RunConfig:
        """The configuration changed, validated and labelled; raises ConfigurationError where it does not apply."""
        try:
            return change(validate(self.make(config)), {"variant": self.name})
        except ConfigurationError as error:
            raise ConfigurationError(f"variant {self.name}: {error}") from error


VARIANTS: Registry[Variant] = Registry(
    "variant",
    modules=tuple(f"{__package__}.{module}" for module in ("baselines", "paper", "beyond")),
    group="ilr_bench.variants",
)


def get(name: str) -> Variant:
    """The variant; raises ConfigurationError with the closest name on a miss."""
    variant = VARIANTS.get(name)
    if not isinstance(variant, Variant):
        raise ConfigurationError(
            f"variant {name!r}: its entry point names no variant; decorate it: @ablations.register"
        )
    return variant


def names() -> tuple[str, ...]:
    """All names: the baselines, the paper's variants, ours, then those of other packages."""
    return VARIANTS.names()


@overload
def register(make: Make, *, name: str | None = None) -> Variant: ...


@overload
def register(make: None = None, *, name: str | None = None) -> Callable[[Make], Variant]: ...


def register(make: Make | None = None, *, name: str | None = None) -> Variant | Callable[[Make], Variant]:
    """Makes a variant of a function from configuration to configuration; a decorator, with or without `name`.

    The docstring's first line is the summary, a line `Source: ...` says who asks for it. Raises ConfigurationError
    where the docstring is missing or the name is taken.
    """
    if make is None:
        return lambda function: register(function, name=name)
    name = name if name is not None else make.__name__
    text = inspect.getdoc(make)
    if not text:
        raise ConfigurationError(f"variant {name!r} has no docstring; its first line is shown by `ilr-bench variants`")
    source = re.search(r"^Source: (.+)$", text, re.MULTILINE)
    summary = text.split("\n", 1)[0]
    return VARIANTS.add(name, Variant(name, summary, source[1] if source else make.__module__, make))
