"""The reports by name; other packages add theirs through the entry-point group `ilr_bench.reports`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ilr_bench.registry import Registry


class Writer(Protocol):
    """Writes a report of a study and returns the file to open first."""

    def __call__(self, study: Path, out: Path | None = None) -> Path:
        """`out` is the folder to write to, by default `reports/` in the study's folder."""


@dataclass(frozen=True)
class Report:
    """One table or figure, made from a study's records alone."""

    name: str
    title: str
    write: Writer


REPORTS: Registry[Report] = Registry("report", group="ilr_bench.reports")


def _add(name: str) -> None:
    """Registers `REPORT` of the module of that name; it is imported when first asked for."""

    def load() -> Report:
        report: Report = import_module(f"reports.{name}").REPORT
        return report

    REPORTS.add_lazy(name, load)


for _name in ("table2", "training_curves"):
    _add(_name)

get, names = REPORTS.get, REPORTS.names
