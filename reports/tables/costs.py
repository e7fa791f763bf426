"""Planned against happened: tokens and computing seconds of every trial.

The only report that holds seconds, so the only one whose bytes differ from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import parse_json
from ilr_bench.storage.records import JOINT, TrialEntry

from ..frames import StudyFrames, total_times
from ..page.descriptions import counted
from ..registry import Report, Settings
from .writer import Column, Grid, Line, Table, Value, write_table

PLAN = "plan.json"
TIMED = "timed"
PLANNED_ONLY = ("validation",)
"""Planned stages whose sampled tokens no record states."""
COLUMNS = (
    Column("planned_tokens", "Planned tokens"),
    Column("sampled_tokens", "Sampled tokens"),
    Column("token_error", "Planned / sampled"),
    Column("planned_cpu", "Planned CPU s"),
    Column("spent_cpu", "Spent CPU s"),
    Column("cpu_error", "Planned / spent"),
)


def write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
    """Writes the table."""
    return write_table(table(frames), out)


def table(frames: StudyFrames) -> Table:
    """A line per finished trial that was planned, and their total."""
    plan = _plan(frames.folder)
    entries: dict[str, TrialEntry] = {}
    for entry in frames.study.trials:
        if entry.folder in frames.results and entry.folder in plan["trials"]:
            entries.setdefault(entry.folder, entry)
    numbers = _numbers(frames, entries, plan["trials"])
    bounds = {folder for folder in entries if plan["trials"][folder].get("lengths", plan["lengths"]) != TIMED}
    lines = [
        Line("+".join(entry.models), f"{entry.variant}, seed {entry.seed}", _values(numbers[folder], folder in bounds))
        for folder, entry in entries.items()
    ]
    totals = tuple(None if None in one else sum(one, 0.0) for one in zip(*numbers.values(), strict=True))
    lines.append(Line("all", f"{len(numbers)} trials", _values(totals, bool(bounds))))
    about = "Planned from a timing run with the models as they start"
    if bounds:
        about += (
            f"; for {len(bounds)} trials there was none, and their planned tokens are upper bounds (<=), every turn as "
            "long as its limit: ilr-bench plan before the sweep makes one"
        )
    missing = f" Not finished, and not here: {counted(len(frames.unfinished), 'trial')}." if frames.unfinished else ""
    return Table(
        name="costs",
        title="Costs. Planned and happened",
        about=f"{about}.{missing}",
        main=Grid("", COLUMNS, tuple(lines), heads=("Models", "Trial")),
        notes=(
            "Tokens are those that records state: training and evaluation. Rankings, abilities and validation are "
            "sampled besides.",
            "CPU seconds are those of a trial's own process from the start of its work to its end, work that was lost "
            "to a kill and done again among it; the start of the process, and what trials share, are not.",
            "Answers of untrained agents are computed once and shared, so a trial that trains nothing may spend less "
            "than planned.",
        ),
    )


def applies(frames: StudyFrames) -> str | None:
    """Why a study has no such table."""
    if not (frames.folder / PLAN).exists():
        return f"no {PLAN} (a sweep writes it)"
    planned = _plan(frames.folder)["trials"]
    return None if any(folder in planned for folder in frames.results) else f"no finished trial stands in {PLAN}"


def _numbers(
    frames: StudyFrames, entries: Mapping[str, TrialEntry], planned: Mapping[str, Any]
) -> dict[str, tuple[float | None, ...]]:
    """Trial folder -> planned and sampled tokens, planned and spent CPU seconds; None where nothing was noted."""
    joint = frames.inference[frames.inference["agent"] == JOINT]
    evaluated = [frame.groupby(["variant", "models", "seed"])["tokens"].sum() for frame in (frames.samples, joint)]
    found: dict[str, tuple[float | None, ...]] = {}
    for folder, entry in entries.items():
        tokens = sum(count for stage, count in planned[folder]["tokens"].items() if stage not in PLANNED_ONLY)
        answers = sum(one.get((entry.variant, "+".join(entry.models), entry.seed), 0) for one in evaluated)
        sampled = sum(frames.results[folder].sampled_tokens.values()) + answers
        cpu = float(sum(planned[folder]["cpu"].values())) or None
        spent = [line["cpu"] for line in total_times(frames.folder / folder) or () if "cpu" in line]
        found[folder] = (float(tokens), float(sampled), cpu, float(sum(spent)) if spent else None)
    return found


def _plan(folder: Path) -> Mapping[str, Any]:
    path = folder / PLAN
    try:
        data = parse_json(path.read_bytes())
        return {"trials": dict(data["trials"]), "lengths": str(data["lengths"])}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: not a plan ({error}); run the sweep's command again, which writes it anew"
        ) from error


def _values(numbers: tuple[float | None, ...], bound: bool) -> tuple[Value | None, ...]:
    """`bound`: the planned tokens are an upper bound."""
    tokens, sampled, cpu, spent = numbers
    return (
        Value(f"<= {tokens:,.0f}", "amount", tokens) if bound and tokens is not None else _amount(tokens),
        _amount(sampled),
        _ratio(tokens, sampled),
        _seconds(cpu),
        _seconds(spent),
        _ratio(cpu, spent),
    )


def _amount(value: float | None) -> Value | None:
    return None if value is None else Value(f"{value:,.0f}", "amount", value)


def _seconds(value: float | None) -> Value | None:
    """With a decimal where whole seconds would hide what a ratio is made of."""
    return None if value is None else Value(f"{value:,.{0 if value >= 10 else 1}f}", "amount", value)


def _ratio(planned: float | None, happened: float | None) -> Value | None:
    return Value(f"{planned / happened:.2f}", "amount", planned / happened) if planned and happened else None


REPORT = Report("costs", "Costs", write, applies)
