"""What the Python interface hands out: a study and one model's evaluation, read from their records.

Everything is read when it is first asked for. Frames are copies: changing one changes neither records nor reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from markupsafe import Markup, escape

from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.evaluation.runner import record_file
from ilr_bench.storage.records import SampleRecord, Verdict, read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports import REPORTS, Report, Settings
    from reports.figures.report import FigureReport
    from reports.frames import StudyFrames, dialogue_turns
    from reports.frames import load as load_frames
    from reports.tables.report import TableReport
    from reports.tables.writer import Table as PrintedTable
    from reports.tables.writer import markdown, number_head, number_rows
else:
    from ilr_bench.reports import REPORTS, Settings
    from ilr_bench.reports.frames import dialogue_turns
    from ilr_bench.reports.frames import load as load_frames
    from ilr_bench.reports.tables.report import TableReport
    from ilr_bench.reports.tables.writer import markdown, number_head, number_rows

Correction = Literal["auto", "holm", "bh"]


@dataclass(frozen=True)
class Table:
    """A table of a study."""

    printed: pd.DataFrame
    """As it stands in the report: text, a column per heading."""
    frame: pd.DataFrame
    """A row per number: model and variant (of `accuracy`: agent and benchmark), column, kind, value (fractions of 1),
    and what the number has of low, high, standard_error, df, pvalue, pvalue_corrected, test, n, questions, seeds."""
    title: str
    notes: tuple[str, ...]
    """What was tested and how, a sentence or two each."""
    text: str
    """As Markdown, title and notes included."""

    def __str__(self) -> str:
        """As Markdown."""
        return self.text

    def _repr_html_(self) -> str:
        notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in self.notes)
        grid = Markup(self.printed.to_html(index=False, border=0))
        return Markup("<h4>{}</h4>{}<details><summary>Notes</summary><ul>{}</ul></details>").format(
            self.title, grid, notes
        )


@dataclass(frozen=True)
class Study:
    """A study's folder; models are named as in its reports. See docs/python.md for the columns of the frames."""

    folder: Path

    @cached_property
    def _frames(self) -> StudyFrames:

        return load_frames(self.folder)

    @property
    def trials(self) -> pd.DataFrame:
        """A row per finished trial and agent."""
        return self._frames.trials.copy()

    @property
    def steps(self) -> pd.DataFrame:
        """A row per agent and training step."""
        return self._frames.steps.copy()

    @property
    def samples(self) -> pd.DataFrame:
        """A row per answer of an agent alone to a benchmark's question."""
        return self._frames.samples.copy()

    @property
    def inference(self) -> pd.DataFrame:
        """A row per answer that untrained agents reached together."""
        return self._frames.inference.copy()

    @property
    def dialogues(self) -> pd.DataFrame:
        """A row per turn that was sampled while training."""
        return self._dialogues.copy()

    @cached_property
    def _dialogues(self) -> pd.DataFrame:

        return dialogue_turns(self._frames)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Trials that were asked for and are in no frame, since they have not finished."""
        return self._frames.unfinished

    @property
    def reports(self) -> dict[str, str]:
        """Name of every report that the records allow, for `table`, `figure` and `report` -> its title."""
        found = REPORTS.usable().values()
        return {report.name: report.title for report in found if report.applies(self._frames) is None}

    def table(self, name: str = "accuracy", correction: Correction = "auto") -> Table:
        """A table of accuracies, such as `table2`; `correction`: of its p-values, as `ilr-bench report` takes it.

        Raises ConfigurationError where the study cannot have it, and for what is no table.
        """
        report = self._able(name)
        if not isinstance(report, TableReport):
            raise ConfigurationError(f"{name} is no table; {self._elsewhere(name)}")
        return as_frames(report.table(self._frames, Settings(correction)))

    def figure(self, name: str) -> Figure:
        """A figure, such as `figure3`, as matplotlib has it; a notebook shows it.

        Raises ConfigurationError where the study cannot have it, and for what is no figure.
        """
        report = self._able(name)
        if not isinstance(report, _figure_report()):
            raise ConfigurationError(f"{name} is no figure; {self._elsewhere(name)}")
        figure = report.drawn(self._frames)
        # Notebooks look for this method; matplotlib gives figures one only where its own backend for them is in use.
        figure._repr_png_ = partial(report.png, figure)  # type: ignore[attr-defined]
        return figure

    def report(self, *names: str, out: str | Path | None = None, correction: Correction = "auto") -> Path:
        """Writes every report that the records allow, or those that are named; returns their folder.

        `report.html` in it has everything on one page. `out`: `reports` in the study's folder by default.
        """
        from ilr_bench.cli.report import write_reports

        chosen = [self._able(name) for name in names] or list(REPORTS.usable().values())
        folder = Path(out or self.folder / "reports")
        list(write_reports(self._frames, chosen, folder, Settings(correction)))
        return folder

    def _able(self, name: str) -> Report:
        report = REPORTS.get(name)
        reason = report.applies(self._frames)
        if reason is not None:
            raise ConfigurationError(f"{self.folder} has no {name}: {reason}")
        return report

    def _elsewhere(self, name: str) -> str:
        report = REPORTS.get(name)
        if isinstance(report, _figure_report()):
            return f"see figure({name!r})"
        return f"see table({name!r})" if isinstance(report, TableReport) else f"report({name!r}) writes it"

    def __repr__(self) -> str:
        """Folder, variants, models and seeds."""
        try:
            trials = self._frames.trials
        except StoreError as error:
            return f"Study {self.folder}: {error}"
        parts = [f"{key} {', '.join(map(str, trials[key].unique()))}" for key in ("variant", "models", "seed")]
        count = trials["folder"].nunique()
        missing = f", {len(self.unfinished)} unfinished" if self.unfinished else ""
        return f"Study {self.folder}: {count} trial{'' if count == 1 else 's'}{missing}; {'; '.join(parts)}"

    def _repr_html_(self) -> str:
        words = escape(repr(self))
        if "_frames" not in vars(self):  # what cannot be read has told why
            return words
        shown = [name for name in ("accuracy", "variants", "table4") if name in self.reports][:1]
        return words + Markup("").join(Markup(self.table(name)._repr_html_()) for name in shown)


@dataclass(frozen=True)
class Evaluation:
    """One model's answers to benchmarks, alone."""

    folder: Path
    benchmarks: tuple[str, ...]

    @cached_property
    def _samples(self) -> pd.DataFrame:
        records = [record for name in self.benchmarks for record in read(record_file(self.folder, name), SampleRecord)]
        frame = pd.DataFrame([asdict(record) for record in records])
        return frame.assign(correct=[float(record.verdict is Verdict.CORRECT) for record in records])

    @property
    def samples(self) -> pd.DataFrame:
        """A row per answer: the fields of `SampleRecord`, and `correct` (0 or 1)."""
        return self._samples.copy()

    @property
    def accuracy(self) -> dict[str, float]:
        """Benchmark -> mean accuracy in [0, 1]."""
        means = self._samples.groupby("benchmark", sort=False)["correct"].mean()
        return {str(name): float(mean) for name, mean in means.items()}

    @property
    def table(self) -> pd.DataFrame:
        """A row per benchmark, as `ilr-bench evaluate` prints it."""
        from ilr_bench.cli.standalone_table import standalone_table

        head, *rows = standalone_table(self.folder, self.benchmarks)
        return pd.DataFrame(rows, columns=list(head))

    def __repr__(self) -> str:
        """Folder and accuracies."""
        return f"Evaluation {self.folder}: " + ", ".join(f"{name} {mean:.1%}" for name, mean in self.accuracy.items())

    def _repr_html_(self) -> str:
        return escape(str(self.folder)) + Markup(self.table.to_html(index=False, border=0))


def as_frames(table: PrintedTable) -> Table:
    """A table of `reports` as frames."""
    lines: Sequence[tuple[str, ...]] = [table.main.texts(line) for line in table.main.lines]
    numbers: list[list[Any]] = list(number_rows(table))
    return Table(
        printed=pd.DataFrame(lines, columns=list(table.main.head)),
        frame=pd.DataFrame(numbers, columns=list(number_head(table))),
        title=table.title,
        notes=table.notes,
        text=markdown(table),
    )


def _figure_report() -> type[FigureReport]:
    """The class of figures: imported when one is asked for, since it brings matplotlib and seaborn."""
    if not TYPE_CHECKING:
        from ilr_bench.reports.figures.report import FigureReport
    return FigureReport
