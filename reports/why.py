"""From a printed number back to its samples: `ilr-bench why` about one cell of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import pandas as pd

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.storage.provenance import read_inputs, version_history

from .frames import INFERENCE, StudyFrames, settings_of
from .registry import REPORTS, Settings
from .rows import TableRow, column_title
from .tables import paper_numbers
from .tables.comparison import Numbers
from .tables.families import describe
from .tables.printing import EFFECT_COLUMNS, PUBLISHED, columns, printed
from .tables.report import TableReport
from .tables.training_effects import of_row
from .tables.writer import NOTHING, Line, Table, Value

MEANINGS = {
    "rank": "Place of the row among those of its model.",
    "rounds": "How often every agent spoke before an answer stood: mean over all answers, whatever their benchmark.",
    "tokens_per_answer": "Tokens that all agents sampled for an answer: mean over all answers of the row.",
    "tokens": "Completion tokens sampled for the agent while training, in thousands, mean over runs; validation is "
    "not counted.",
    "clipped": "Share of the terms of equation (5) that were clipped, over all steps of all runs.",
    "changed": "Share of groups in which calibration changed an advantage by more than 0.001, over all steps of all "
    "runs.",
    "advantage_change": "Mean absolute change of an advantage by calibration, over all steps of all runs.",
    "flat": "Share of groups whose advantages are all zero, so with nothing to learn from, over all steps of all runs.",
    "cooperation": "Share of the questions met in training on which the agent cooperated, over all steps of all runs.",
    "rule_cooperation": "Share of all training questions on which the item-response rule has the agent cooperate.",
}
"""What the columns hold that are neither accuracies nor differences."""


def why(frames: StudyFrames, table: str, target: str, column: str, settings: Settings) -> list[str]:
    """Lines about the cell in row `target` (MODEL/VARIANT) and `column`; the last one is the cell as printed.

    Raises ConfigurationError for a table, row or column that is not there.
    """
    report = REPORTS.get(table)
    if not isinstance(report, TableReport):
        tables = [name for name, known in REPORTS.usable().items() if isinstance(known, TableReport)]
        raise ConfigurationError(f"{table} is no table whose numbers can be traced; known tables: {', '.join(tables)}")
    reason = report.applies(frames)
    if reason is not None:
        raise ConfigurationError(f"this study has no {table}: {reason}")
    numbers = report.numbers(frames, settings)
    return explain(numbers, printed(numbers, with_effects=True), target, column)


def explain(numbers: Numbers, table: Table, target: str, column: str) -> list[str]:
    """`why` for a table that is at hand, as numbers and as printed."""
    row, line, name, value = _find(numbers, table, target, column)
    text = NOTHING if value is None else value.text
    title = next(item.title for item in (*columns(numbers), *EFFECT_COLUMNS) if item.name == name)
    parts = [f"{numbers.spec.name}, {line.section}/{line.label}, {title}: {text}", ""]
    if value is None:
        parts.append(_absent(numbers, row, name))
    elif value.kind == "published":
        parts.append(f"Printed in the paper ({paper_numbers.SOURCE}); nothing here was computed.")
    else:
        parts += [_meaning(numbers, row, name), "", *_origins(numbers, row)]
        parts += ["", "Records", *_records(numbers, row, name)]
        parts += ["", "Unrounded, as in the table's JSON", *_facts(numbers, name, value)]
    return [*parts, "", text]


def _find(numbers: Numbers, table: Table, target: str, column: str) -> tuple[TableRow, Line, str, Value | None]:
    """The row, its line, the column's name and the cell."""
    lines = [line for line in table.main.lines if target == f"{line.section}/{line.label}"]
    rows = [row for row in numbers.rows if target in (f"{row.section}/{row.label}", f"{row.section}/{row.variant}")]
    if not lines and len(rows) == 1:
        lines = [line for line in table.main.lines if (line.section, line.label) == (rows[0].section, rows[0].label)]
    if not lines:
        names = [f"{line.section}/{line.label}" for line in table.main.lines]
        several = [f"{row.section}/{row.label}" for row in rows]
        close = get_close_matches(target, names, n=1)
        hint = f"did you mean {' or '.join(map(repr, several or close))}?" if several or close else f"rows: {names}"
        raise ConfigurationError(f"{numbers.spec.name} has no row {target!r}; {hint}")
    line = lines[0]
    label = line.label.removesuffix(PUBLISHED)
    owner = next(row for row in numbers.rows if (row.section, row.label) == (line.section, label))
    cells = list(zip(table.main.columns, line.values, strict=True))
    for grid in table.details:
        for other in grid.lines:
            if (other.section, other.label) == (line.section, line.label):
                cells += zip(grid.columns, other.values, strict=True)
    for known, value in cells:
        if column.casefold() in (known.name.casefold(), known.title.casefold()):
            return owner, line, known.name, value
    titles = ", ".join(item.title for item, _ in cells)
    raise ConfigurationError(f"{numbers.spec.name} has no number {column!r} for {target}; columns: {titles}")


def _absent(numbers: Numbers, row: TableRow, column: str) -> str:
    if column in numbers.columns.all:
        return "No run of this row has answered every benchmark of this column."
    if column.startswith("vs "):
        reference = column.removeprefix("vs ")
        if row.stem == reference:
            return "This row is the reference itself."
        if row.stem == numbers.spec.references[0]:
            return f"The two are compared once, in the row {reference} under vs {row.stem}."
        return "The study has no reference for this row, or the two have no answers in common."
    return "This quantity does not exist for this row: nothing of the kind happened in its training."


def _meaning(numbers: Numbers, row: TableRow, column: str) -> str:
    if column in numbers.columns.all:
        how = "reached with the others" if numbers.spec.inference else "answering alone"
        return f"Accuracy of {row.agent}, {how}, in % ± half of its 95 % interval."
    item = numbers.comparison(row, column.removeprefix("vs "))
    if item is None:
        return MEANINGS[column]
    return (
        f"Difference of {column_title(item.column)}, {row.label} minus {item.against.label}, in points ± half of its "
        "95 % interval, and its corrected p-value."
    )


def _origins(numbers: Numbers, row: TableRow) -> list[str]:
    """Trials, seeds, configuration and versions of a row."""
    frames = numbers.frames
    lines = [f"Trials of {row.agent} in {row.models}, variant {row.variant}"]
    lines += [f"  seed {seed}: {folder}" for seed, folder in zip(row.seeds, row.folders, strict=True)]
    missing = [name for name in frames.unfinished if name.startswith(f"{row.variant}, {row.models}, ")]
    lines += [f"  not finished, so not in the number: {name}" for name in missing]
    if row.also:
        lines.append(f"  (all answers are the same texts in {', '.join(row.also)})")
    lines += ["", *_configuration(frames, numbers.rows, row), "", "Made with"]
    by_versions: dict[str, list[int]] = {}
    for seed, folder in zip(row.seeds, row.folders, strict=True):
        versions = dict(frames.results[folder].versions)
        first = [f"commit {versions.pop('commit', 'unknown')}", f"lock {versions.pop('lock', 'unknown')}"]
        text = ", ".join([*first, *(f"{name} {version}" for name, version in versions.items())])
        by_versions.setdefault(text, []).append(seed)
    for text, seeds in by_versions.items():
        lines.append(f"  seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {text}")
    return [*lines, *_versions(frames, row)]


def _versions(frames: StudyFrames, row: TableRow) -> Iterator[str]:
    """Of the row's inputs that changed while the study grew: the version in the number, and those before."""
    root = frames.folder / "artifacts"
    noted = [read_inputs(root, frames.results[folder].inputs) for folder in row.folders]
    used = {name for inputs in noted if inputs is not None for name in inputs.digests}
    for name, versions, what in version_history(root, frames.study.inputs):
        if name in used:
            yield f"  {name} in version {versions}; the last change: {what}"


def _configuration(frames: StudyFrames, rows: Sequence[TableRow], row: TableRow) -> list[str]:
    """Settings that differ from the untrained row of the same model, or from the profile where there is none."""
    config = frames.configs[row.folders[0]]
    bases = [other for other in rows if other.section == row.section and other.stem == "base" and other != row]
    own = settings_of(config)
    base = settings_of(frames.configs[bases[0].folders[0]] if bases else profile(config.profile))
    name = f"the variant {bases[0].label}" if bases else f"the profile {config.profile}"
    lines = [f"Configuration ({row.folders[0]}/config.json), where it differs from {name}"]
    pairs = {key: (own.get(key), base.get(key)) for key in {**own, **base}}
    different = [
        f"  {key} = {_plain(value)} ({_plain(other)})" for key, (value, other) in pairs.items() if value != other
    ]
    return [*lines, *(different or ["  nowhere"])]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _records(numbers: Numbers, row: TableRow, column: str) -> Iterator[str]:
    """The files that a number was counted in."""
    frames, known = numbers.frames, numbers.accuracies
    item = numbers.comparison(row, column.removeprefix("vs "))
    if item is not None:
        common = known.common(row, item.against, item.column)
        for side in (row, item.against):
            found = known.answers(side, item.column)
            if found is not None and common is not None:
                if side is not row:
                    yield f"and of {side.label}"
                yield from _answer_files(side, found.loc[common.index].reset_index())
    elif column == "rank" or column in numbers.columns.all:
        found = known.answers(row, numbers.headline if column == "rank" else column)
        if found is not None:
            yield from _answer_files(row, found.reset_index())
    elif column in ("rounds", "tokens_per_answer"):
        yield from _answer_files(row, of_row(frames.inference, row))
    else:
        for index in row.folders:
            if column in ("tokens", "rule_cooperation"):
                yield f"  {index}/result.json"
            if column != "rule_cooperation" and (frames.folder / index / "train.jsonl").exists():
                yield f"  {index}/train.jsonl"


def _answer_files(row: TableRow, answers: pd.DataFrame) -> Iterator[str]:
    """A line per file and benchmark: answers, verdicts, prompts, and the seeds that they were sampled with."""
    for (file, benchmark), mine in answers.groupby(["file", "benchmark"], sort=False):
        name = f"{file} ({row.agent}, {benchmark})" if str(file).endswith(INFERENCE) else file
        counted = ", ".join(
            f"{count} {verdict}" for verdict, count in mine["verdict"].value_counts().sort_index().items()
        )
        prompts = sorted(mine["prompt_hash"].unique())
        shown = f"s {prompts[0]} to {prompts[-1]}" if len(prompts) > 1 else f" {prompts[0]}"
        seeds = ", ".join(sorted(mine["sampling_seed"].astype(str).unique()))
        yield (
            f"  {name}: {len(mine)} answers ({counted}); hashes of {len(prompts)} prompt{shown}; sampling seed {seeds}"
        )


def _facts(numbers: Numbers, column: str, value: Value) -> Iterator[str]:
    """The numbers behind a cell; its files stand under Records."""
    facts = {name: fact for name, fact in value.facts.items() if name != "files"}
    for name, fact in ({"value": value.value} | facts).items():
        yield f"  {name} = {f'{fact:.9g}' if isinstance(fact, float) else fact}"
    if column.startswith("vs "):
        yield describe(numbers.family)
