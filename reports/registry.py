"""The reports by name; other packages add theirs through the entry-point group `ilr_bench.reports`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ilr_bench.core.registry import Registry

if TYPE_CHECKING:
    from reports.frames import StudyFrames

Correction = Literal["auto", "holm", "bh"]


@dataclass(frozen=True)
class Settings:
    """What a user may choose about all reports at once."""

    correction: Correction = "auto"
    """Of the p-values of a table's family: `holm` (family-wise error), `bh` (false discovery rate), or `auto`: a
    permutation test over training runs that corrects by itself, where there are enough runs, else `holm`."""


class Writer(Protocol):
    """Writes a report into the folder `out`, which exists, and returns the file to open first."""

    def __call__(self, frames: StudyFrames, out: Path, settings: Settings) -> Path:
        """The same records and settings give the same bytes."""


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


def _add(module: str) -> None:
    """Registers `REPORT` of a module of this package; it is imported when first asked for."""

    def load() -> Report:
        report: Report = import_module(f"reports.{module}").REPORT
        return report

    REPORTS.add_lazy(module.rpartition(".")[2], load)


for _module in (
    "tables.table1", "tables.table2", "tables.table4", "tables.variants", "figures.training_curves", "figures.figure3",
    "figures.figure4", "figures.ranking", "figures.gain_tokens", "figures.mode_shares", "figures.calibration_effect",
    "figures.solo_fusion", "figures.number_of_agents", "tables.search", "tables.costs", "page.page",
):  # fmt: skip
    _add(_module)

get, names = REPORTS.get, REPORTS.names
