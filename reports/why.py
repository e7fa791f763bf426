"""From a printed number back to its samples: what `ilr-bench why` says about one cell of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ilr_bench.config import LABELS, RunConfig, to_dict
from ilr_bench.errors import ConfigurationError, StoreError
from ilr_bench.profiles import profile
from reports.comparison import Numbers
from reports.frames import StudyFrames
from reports.printing import EFFECT_COLUMNS, PUBLISHED, columns, printed
from reports.registry import REPORTS, Settings
from reports.rows import Row
from reports.table_report import TableReport
from reports.tables import NOTHING, Line, Table, Value
from reports.why_arithmetic import Account, account


def why(frames: StudyFrames, table: str, target: str, column: str, settings: Settings) -> list[str]:
    """Lines about the cell in row `target` (MODEL/VARIANT) and `column`; the last one is the cell as printed.

    The arithmetic starts from the record files and not from the table; raises StoreError where it ends in another
    text than the table, and ConfigurationError for a table, row or column that is not there.
    """
    report = REPORTS.get(table)
    if not isinstance(report, TableReport):
        tables = [name for name in REPORTS.names() if isinstance(REPORTS.get(name), TableReport)]
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
    found = account(numbers, row, name, value)
    if found.text != text:
        raise StoreError(
            f"{numbers.spec.name} prints {text} for {line.section}/{line.label}, {name}, and the records give "
            f"{found.text}: they have changed since the table was made"
        )
    parts = [f"{numbers.spec.name}, {line.section}/{line.label}, {_title(numbers, name)}: {text}", "", *found.meaning]
    if value is not None and value.kind != "published":
        parts += ["", *_origins(numbers, row), *_files(found), "", "Arithmetic", *found.steps]
    return [*parts, "", text]


def _find(numbers: Numbers, table: Table, target: str, column: str) -> tuple[Row, Line, str, Value | None]:
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


def _title(numbers: Numbers, name: str) -> str:
    return next(item.title for item in (*columns(numbers), *EFFECT_COLUMNS) if item.name == name)


def _origins(numbers: Numbers, row: Row) -> list[str]:
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
    return lines


def _configuration(frames: StudyFrames, rows: Sequence[Row], row: Row) -> list[str]:
    """Settings that differ from the untrained row of the same model, or from the profile where there is none."""
    config = frames.configs[row.folders[0]]
    bases = [other for other in rows if other.section == row.section and other.stem == "base" and other != row]
    own = _flat(config)
    base = _flat(frames.configs[bases[0].folders[0]] if bases else profile(config.profile))
    name = f"the variant {bases[0].label}" if bases else f"the profile {config.profile}"
    lines = [f"Configuration ({row.folders[0]}/config.json), where it differs from {name}"]
    different = [f"  {key} = {_plain(value)} ({_plain(base[key])})" for key, value in own.items() if base[key] != value]
    return [*lines, *(different or ["  nowhere"])]


def _flat(config: RunConfig) -> dict[str, Any]:
    """Dotted keys to values, without labels and the seed."""
    found: dict[str, Any] = {}

    def walk(data: Mapping[str, Any], prefix: str) -> None:
        for key, value in data.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            elif prefix or key not in (*LABELS, "seed"):
                found[prefix + key] = value

    walk(to_dict(config), "")
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _files(found: Account) -> list[str]:
    return ["", "Records", *found.records] if found.records else []
