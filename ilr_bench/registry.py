"""One registry behaviour for variants, benchmarks, models, question sources, prompt styles and reports.

Entries are lazy (nothing is imported until one is asked for), names are unique, a miss says what was meant,
and other packages add entries through an entry-point group.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from ilr_bench.errors import ConfigurationError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind."""

    def __init__(self, kind: str, modules: tuple[str, ...] = (), group: str | None = None) -> None:
        """`modules` register entries when imported; `group` is the entry-point group of outside packages."""
        self.kind = kind
        self._modules = modules
        self._group = group
        self._entries: dict[str, T | Callable[[], T]] = {}
        self._lazy: set[str] = set()
        self._complete = not modules and group is None

    def add(self, name: str, entry: T) -> T:
        """Registers an entry; raises ConfigurationError if the name is taken by another one."""
        self._claim(name, entry)
        self._entries[name] = entry
        return entry

    def add_lazy(self, name: str, load: Callable[[], T]) -> None:
        """Registers an entry that is made when first asked for."""
        self._claim(name, load)
        self._entries[name] = load
        self._lazy.add(name)

    def get(self, name: str) -> T:
        """The entry; raises ConfigurationError with the closest name on a miss."""
        self._fill()
        if name not in self._entries:
            close = get_close_matches(name, self._entries, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(self.names())}"
            raise ConfigurationError(f"unknown {self.kind} {name!r}; {hint}")
        entry = self._entries[name]
        if name in self._lazy:
            entry = entry()  # type: ignore[operator]
            self._entries[name] = entry
            self._lazy.discard(name)
        return entry  # type: ignore[return-value]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        self._fill()
        return tuple(self._entries)

    def __contains__(self, name: str) -> bool:
        self._fill()
        return name in self._entries

    def _claim(self, name: str, entry: object) -> None:
        if name in self._entries and self._entries[name] is not entry:
            raise ConfigurationError(f"{self.kind} {name!r} is registered twice; rename one of them")

    def _fill(self) -> None:
        if self._complete:
            return
        self._complete = True
        for module in self._modules:
            importlib.import_module(module)
        if self._group is not None:
            for point in entry_points(group=self._group):
                if point.name not in self._entries:
                    self.add_lazy(point.name, point.load)
