"""The reports by name; other packages add theirs through the entry-point group `ilr_bench.reports`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

from ilr_bench.core.registry import Registry

if TYPE_CHECKING:
    from .frames import StudyFrames

Correction = Literal["auto", "holm", "bh"]


@dataclass(frozen=True)
class Settings:
    """What a user may choose about all reports at once."""

    correction: Correction = "auto"
    """Of the p-values of a table's family: `holm` (family-wise error), `bh` (false discovery rate), or `auto`: a
    permutation test over training runs that corrects by itself, where there are enough runs, else `holm`."""


Writer = Callable[["StudyFrames", Path, Settings], Path]
"""Writes a report into a folder, which exists, and returns the file to open first; same records, same bytes."""


def always(frames: StudyFrames) -> str | None:
    """For a report that every study with a finished trial has."""


@dataclass(frozen=True)
class Report:
    """One table or figure, made from a study's records alone."""

    name: str
    title: str
    write: Writer
    applies: Callable[[StudyFrames], str | None] = always
    """Why this study cannot have the report, in a few words (`no difficulty artifact`); None where it can."""


REPORTS: Registry[Report] = Registry("report", group="ilr_bench.reports")


_REPORTS = {
    "accuracy": "tables.before_after:REPORT",
    "table1": "tables.report:TABLE1", "table2": "tables.table2:REPORT", "table4": "tables.report:TABLE4",
    "variants": "tables.report:VARIANTS", "training_curves": "figures.training_curves:TRAINING_CURVES",
    "figure3": "figures.figure3:REPORT", "figure4": "figures.figure4:REPORT", "ranking": "figures.ranking:REPORT",
    "gain_tokens": "figures.gain_tokens:REPORT", "mode_shares": "figures.training_curves:MODE_SHARES",
    "calibration_effect": "figures.calibration_effect:REPORT", "solo_fusion": "figures.solo_fusion:REPORT",
    "number_of_agents": "figures.number_of_agents:REPORT", "search": "tables.search:REPORT",
    "costs": "tables.costs:REPORT", "page": "page.page:REPORT",
}  # fmt: skip
for _name, _module in _REPORTS.items():
    REPORTS.add_lazy(_name, partial(resolve_name, f"{__package__}.{_module}"))

get, names = REPORTS.get, REPORTS.names
