"""Public names of packages that load their modules when a name is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def public(package: str, **modules: str) -> tuple[Callable[[str], Any], list[str]]:
    """`__getattr__` and `__all__` of a package: module -> names that it gives to the package, with spaces between.

    The import of a package then takes no longer than this, however heavy its modules are (PEP 562).
    """
    home = {name: module for module, names in modules.items() for name in names.split()}

    def getattr_of_package(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return getattr_of_package, sorted(home)
