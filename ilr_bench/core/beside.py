"""`ilr_bench.ablations` and `ilr_bench.reports`: packages that lie beside this one and are found by that place.

As global names they may be anybody's: a user's own folder `reports` in the working directory comes first there. So
this project's code looks them up under `ilr_bench`, and `import reports`, where it finds ours, gives the same modules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HOME = str(Path(__file__).parents[2])
"""The folder that holds all three packages: a checkout or `site-packages`."""
OWN = "ilr_bench"
NAMES = ("ablations", "reports")


class _Finder(MetaPathFinder):
    """Finds the packages under `ilr_bench`, and their modules under the global names once those are theirs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        top, _, rest = fullname.partition(".")
        if top == OWN and rest in NAMES:
            return PathFinder.find_spec(fullname, [HOME])
        if top not in NAMES or not rest or sys.modules.get(top) is not sys.modules.get(f"{OWN}.{top}"):
            return None
        return ModuleSpec(fullname, _OtherName(import_module(f"{OWN}.{fullname}")))


class _OtherName(Loader):
    """Gives a module that is loaded already another name."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See Loader."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Puts back the module's own specification, in whose place the import system has put the other name's."""
        module.__spec__ = self._spec


def install() -> None:
    """Makes the packages importable under `ilr_bench`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def share(name: str) -> None:
    """Has `import NAME`, which has found one of the packages by its global name, give the one under `ilr_bench`."""
    sys.modules[name] = import_module(f"{OWN}.{name}")
