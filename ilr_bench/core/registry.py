"""One registry behaviour for variants, benchmarks, models, question sources, prompt styles and reports.

Entries are lazy (nothing is imported until one is needed), names are unique, and a miss names the closest match. Others
add entries through an entry-point group, or are named by where they are (`core.plugins`). What cannot be loaded is an
error of its own name alone.

A registry of mechanisms holds functions, or frozen dataclasses with `__call__` whose fields are their settings. Those
that the configuration has a field for beside the name (`reward.format_weight` for `reward.kind`) are taken from there,
the others from `options` (`reward.options.strength`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ilr_bench.core.errors import ConfigurationError, did_you_mean, first_line
from ilr_bench.core.plugins import is_reference, load_reference, reason_of, short_label
from ilr_bench.core.settings import read, unknown

if TYPE_CHECKING:
    from ilr_bench.core.config import RunConfig

T = TypeVar("T")
F = TypeVar("F")


_REFERRED: dict[tuple[str, str], tuple[Any, str]] = {}
"""(kind, reference) -> what it names, and its module."""


def forget_references() -> None:
    """From now on files are read as they are now; until then a file that is edited changes nothing that runs."""
    _REFERRED.clear()


class Registry(Generic[T]):
    """Named entries of one kind."""

    def __init__(
        self,
        kind: str,
        modules: tuple[str, ...] = (),
        group: str | None = None,
        adapt: Callable[[str, Any], T] | None = None,
    ) -> None:
        """`modules` register entries when imported; `group` is the entry-point group of outside packages.

        `adapt(name, found)` makes an entry of what an outside name stands for; it raises ConfigurationError where that
        is none.
        """
        self.kind = kind
        self._adapt = adapt
        self._modules = modules
        self._group = group
        self._names: list[str] = []
        self._entries: dict[str, T] = {}
        self._lazy: dict[str, Callable[[], T]] = {}
        self._outside: dict[str, EntryPoint] = {}
        self._unloadable: dict[str, ConfigurationError] = {}
        self._conflicts: list[str] = []
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
        """The entry; raises ConfigurationError with the closest name on a miss, and where it cannot be loaded."""
        self._fill()
        if name not in self._names and is_reference(name):
            return self._referred(name)[0]
        if name not in self._names:
            hint = did_you_mean(name, self._names, f"known: {', '.join(self._names)}")
            raise ConfigurationError(f"unknown {self.kind} {name!r}; {hint}")
        if name not in self._entries:
            self._entries[name] = self._lazy[name]() if name in self._lazy else self._load(self._outside[name])
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        self._fill()
        return tuple(self._names)

    def plugin(self, name: str) -> str | None:
        """The module that holds an entry from outside; None for entries of this project and for unknown names."""
        self._fill()
        if name not in self._names and is_reference(name):
            return self._referred(name)[1]
        return self._outside[name].module if name in self._outside else None

    def usable(self) -> dict[str, T]:
        """Every entry that can be loaded, by name."""
        broken = self.broken()
        return {name: self.get(name) for name in self.names() if name not in broken}

    def broken(self) -> dict[str, str]:
        """Name -> why it cannot be loaded, of entries from outside."""
        found = {}
        for name in self.names():
            try:
                self.get(name)
            except ConfigurationError as error:
                found[name] = first_line(error)
        return found

    def conflicts(self) -> tuple[str, ...]:
        """What outside packages announce under names that are taken, a line for each; it is left out."""
        self._fill()
        return tuple(self._conflicts)

    def __contains__(self, name: str) -> bool:
        self._fill()
        return name in self._names or is_reference(name)

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
            if point.name not in self._names:
                self._names.append(point.name)
                self._outside[point.name] = point
            elif not self._is_same(point):
                self._conflicts.append(
                    f"{self.kind} {point.name!r} of {_owner(point)} is left out: the name is taken; rename one of them"
                )

    def _is_same(self, point: EntryPoint) -> bool:
        """Whether an entry point announces what is registered already, as by a module that was imported before."""
        try:
            return point.name in self._entries and self._load(point) is self._entries[point.name]
        except ConfigurationError:
            return False

    def _load(self, point: EntryPoint) -> T:
        """What an entry point names; loading it may register the same entry by `add`, which is no collision.

        What failed is not tried again: a module that takes a minute to fail would take it for every list.
        """
        if point.name in self._unloadable:
            raise self._unloadable[point.name]
        try:
            return self._adapted(point.name, point.load())
        except (Exception, SystemExit) as error:
            self._unloadable[point.name] = ConfigurationError(
                f"{self.kind} {point.name!r} of {_owner(point)} cannot be loaded ({reason_of(error)}); "
                "mend or uninstall that package"
            )
            raise self._unloadable[point.name] from error

    def _referred(self, reference: str) -> tuple[T, str]:
        """What a reference names, and its module: the same until `forget_references`."""
        if (self.kind, reference) in _REFERRED:
            return _REFERRED[self.kind, reference]
        try:
            found, module = load_reference(reference)
            _REFERRED[self.kind, reference] = self._adapted(short_label(reference), found), module
        except (Exception, SystemExit) as error:
            raise ConfigurationError(f"{self.kind} {reference}: {reason_of(error)}") from error
        return _REFERRED[self.kind, reference]

    def _adapted(self, name: str, found: Any) -> T:
        entry: T = found if self._adapt is None else self._adapt(name, found)
        return entry


class Mechanisms(Registry[F]):
    """Named mechanisms of one kind, found by what a configuration says."""

    def __init__(self, kind: str, setting: str, modules: tuple[str, ...] = (), group: str | None = None) -> None:
        """`setting`: dotted key of the names, such as `calibration.kind`; its group has `options` beside it."""
        super().__init__(kind, modules, group, _mechanism)
        self.setting = setting
        self._made: dict[tuple[Any, str], F] = {}

    def register(self, name: str, mechanism: F | Callable[..., F]) -> None:
        """Adds a function, or a dataclass whose objects are such functions; raises ConfigurationError, see `add`."""
        self.add(name, cast(F, _mechanism(name, mechanism)))

    def of(self, config: RunConfig) -> F:
        """What a configuration names, with its settings; one object for one configuration.

        Raises ConfigurationError for an unknown name, for what cannot be loaded, and for settings that do not fit.
        """
        settings = getattr(config, self.setting.partition(".")[0])
        try:
            entry = self.get(self.name_in(config))
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.setting}: {error}") from error
        beside = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
        return self.make(entry, beside.pop("options"), beside)

    def name_in(self, config: RunConfig) -> str:
        """The name that a configuration has for a mechanism of this kind."""
        group, _, name = self.setting.partition(".")
        found: str = getattr(getattr(config, group), name)
        return found

    def make(self, entry: Any, options: Mapping[str, Any], beside: Mapping[str, Any]) -> F:
        """A mechanism of its entry; `beside`: what the configuration says beside the options. See `of`."""
        prefix = f"{self.setting.partition('.')[0]}.options."
        names = option_names(entry)
        for name in options:
            if name not in names or name in beside:
                known = [prefix + option for option in names if option not in beside]
                raise (
                    unknown(prefix + name, known)
                    if known
                    else ConfigurationError(
                        f"{prefix}{name}: {self.kind} {getattr(entry, '__name__', entry)} has no settings of its own"
                    )
                )
        if not isinstance(entry, type):
            return entry  # type: ignore[no-any-return]
        given = {name: beside[name] for name in names if name in beside} | dict(options)
        key = (entry, repr(sorted(given.items())))
        if key not in self._made:
            self._made[key] = read(entry, given, prefix)
        return self._made[key]


def option_names(entry: Any) -> tuple[str, ...]:
    """The settings that a mechanism has."""
    fields = dataclasses.fields(entry) if isinstance(entry, type) and dataclasses.is_dataclass(entry) else ()
    return tuple(item.name for item in fields if item.init)


def _mechanism(name: str, found: Any) -> Any:
    if isinstance(found, type):
        if not (dataclasses.is_dataclass(found) and "__call__" in dir(found)):
            raise ConfigurationError(f"the class {name} is no dataclass with __call__; write @dataclass(frozen=True)")
        if not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise ConfigurationError(f"the dataclass {name} is not frozen; write @dataclass(frozen=True)")
    elif not callable(found):
        raise ConfigurationError(f"{name} is a {type(found).__name__}, and nothing that can be called")
    if not isinstance(found, type) and inspect.iscoroutinefunction(found):
        raise ConfigurationError(f"{name} is a coroutine; write a plain function")
    return found


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an installed package"
