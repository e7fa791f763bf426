"""One registry behaviour for variants, benchmarks, models, question sources, prompt styles and reports.

Entries are lazy (nothing is imported until one is needed), names are unique, a miss names the closest match, and
other packages add entries through an entry-point group.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from ilr_bench.core.errors import ConfigurationError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind."""

    def __init__(self, kind: str, modules: tuple[str, ...] = (), group: str | None = None) -> None:
        """`modules` register entries when imported; `group` is the entry-point group of outside packages."""
        self.kind = kind
        self._modules = modules
        self._group = group
        self._names: list[str] = []
        self._entries: dict[str, T] = {}
        self._lazy: dict[str, Callable[[], T]] = {}
        self._outside: dict[str, EntryPoint] = {}
        self._complete = False

    def add(self, name: str, entry: T) -> T:
        """Registers an entry; raises ConfigurationError if the name is taken by another one."""
        if self._entries.get(name) is not entry:
            self._claim(name)
        self._entries[name] = entry
        return entry

    def add_lazy(self, name: str, load: Callable[[], T]) -> None:
        """Registers an entry that is made when first asked for; raises ConfigurationError if the name is taken."""
        self._claim(name)
        self._lazy[name] = load

    def get(self, name: str) -> T:
        """The entry; raises ConfigurationError with the closest name on a miss."""
        self._fill()
        if name not in self._names:
            close = get_close_matches(name, self._names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(self.names())}"
            raise ConfigurationError(f"unknown {self.kind} {name!r}; {hint}")
        if name not in self._entries:
            self._entries[name] = self._lazy[name]() if name in self._lazy else self._load(self._outside[name])
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        self._fill()
        return tuple(self._names)

    def plugin(self, name: str) -> str | None:
        """The module that another package names for an entry; None for entries of this project."""
        self._fill()
        return self._outside[name].module if name in self._outside else None

    def __contains__(self, name: str) -> bool:
        self._fill()
        return name in self._names

    def _claim(self, name: str) -> None:
        announced = name in self._outside and name not in self._entries
        if name in self._names and not announced:
            raise ConfigurationError(f"{self.kind} {name!r} is registered twice; rename one of them")
        if not announced:
            self._names.append(name)

    def _fill(self) -> None:
        if self._complete:
            return
        self._complete = True  # set first: the modules may ask for names while they are imported
        try:
            for module in self._modules:
                importlib.import_module(module)
        except ImportError:
            self._complete = False
            raise
        for point in entry_points(group=self._group) if self._group is not None else ():
            registered = self._entries.get(point.name)
            if registered is None or self._load(point) is not registered:
                self._claim(point.name)
                self._outside[point.name] = point

    def _load(self, point: EntryPoint) -> T:
        """What an entry point names; loading it may register the same entry by `add`, which is no collision."""
        try:
            entry: T = point.load()
        except (ImportError, AttributeError) as error:
            owner = point.dist.name if point.dist is not None else "an installed package"
            raise ConfigurationError(
                f"{self.kind} {point.name!r} of {owner} cannot be loaded ({error}); mend or uninstall that package"
            ) from error
        return entry
