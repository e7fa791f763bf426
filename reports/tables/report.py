"""Tables of accuracies as reports: computed, printed, written in every format; and those that need nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..frames import StudyFrames
from ..registry import Report, Settings
from .comparison import Numbers, Spec, build, missing
from .printing import printed
from .writer import Table, write_table


@dataclass(frozen=True, kw_only=True)
class TableReport(Report):
    """A table, as values for those who show it in another way or trace its numbers."""

    numbers: Callable[[StudyFrames, Settings], Numbers]
    table: Callable[[StudyFrames, Settings], Table]


def table_report(
    spec: Spec,
    needed: tuple[str, ...] | None = None,
    with_effects: bool = False,
    draw: Callable[[Numbers, Table, Path], None] | None = None,
) -> TableReport:
    """A report that writes NAME.md, .csv, .tex and .json, and what `draw` adds in the same folder.

    A study without any of the `needed` variants (default: all will do) has no such table.
    """

    def numbers(frames: StudyFrames, settings: Settings) -> Numbers:
        return build(frames, spec, settings.correction)

    def table(frames: StudyFrames, settings: Settings) -> Table:
        return printed(numbers(frames, settings), with_effects)

    def write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
        found = numbers(frames, settings)
        made = printed(found, with_effects)
        if draw is not None:
            draw(found, made, out)
        return write_table(made, out)

    def applies(frames: StudyFrames) -> str | None:
        return missing(frames, spec, needed)

    return TableReport(spec.name, spec.title, write, applies, numbers=numbers, table=table)


TABLE1 = table_report(
    Spec(
        name="table1",
        title="Table 1. Main result: models answering alone, untrained, trained alone and trained together",
        references=("base", "grpo_matched"),
        variants=("base", "grpo", "ppo", "grpo_matched", "ilr"),
    ),
    needed=("grpo", "ppo", "grpo_matched", "ilr"),
)
TABLE4 = table_report(
    Spec(
        name="table4",
        title="Table 4. Inference only: one answer, Debate and Idea3 by untrained models",
        references=("infer_single",),
        variants=("infer_single", "infer_debate", "infer_idea3"),
        inference=True,
    ),
    needed=("infer_single", "infer_debate", "infer_idea3"),
)
RANKING = Spec(
    name="variants",
    title="Variants ranked. Every variant of the study by accuracy, model by model",
    references=("base", "ilr"),
    ranked=True,
)
VARIANTS = table_report(RANKING, with_effects=True)
