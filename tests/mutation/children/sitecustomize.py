"""Puts a mutant in its module's place, in this process and in the Python processes that it starts."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

VARIABLE = "ILR_BENCH_MUTANT"
"""`module=original file=file with the mutant`"""


class MutantLoader(SourceFileLoader):
    """Loads a module as if its file had other contents."""

    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class MutantFinder(MetaPathFinder):
    """Finds one module."""

    def __init__(self, module: str, original: str, source: str) -> None:
        self.module = module
        self.original = original
        self.source = source

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        # What lies beside ilr_bench is loaded under its name.
        if fullname not in (self.module, f"ilr_bench.{self.module}"):
            return None
        loader = MutantLoader(fullname, self.original)
        loader.source = self.source
        return importlib.util.spec_from_file_location(fullname, self.original, loader=loader)


def install() -> None:
    if os.environ.get(VARIABLE):
        module, original, mutant = os.environ[VARIABLE].split("=")
        sys.meta_path.insert(0, MutantFinder(module, original, Path(mutant).read_text(encoding="utf-8")))


install()
