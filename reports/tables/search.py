"""What a search tried, how accurate each point was on validation questions, and which points are best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import parse_json, write_atomic

from ..frames import StudyFrames
from ..registry import Report, Settings
from .writer import Column, Grid, Line, Table, Value, csv_text, write_table

FILE = "search.json"
BEST = " †"
TOO_HIGH = (
    "The best of many noisy values is too high by nature, and validation questions chose it: what the point is worth "
    "says only the sweep that the search's command printed at its end, with fresh seeds and on benchmarks."
)


def applies(frames: StudyFrames) -> str | None:
    """Whether the study is a search."""
    return None if (frames.folder / FILE).exists() else "the study is no search"


def table(found: dict[str, Any]) -> Table:
    """Of what `search.json` holds: a line per point, and with two objectives the front by itself."""
    points, best = found["points"], set(found["best"])
    settings = _settings(points)
    columns = (
        *(Column(key, key) for key in settings),
        Column("state", "State"),
        Column("accuracy", "Validation accuracy, %"),
        Column("tokens", "Sampled tokens"),
    )
    lines = tuple(_line(point, settings, point["number"] in best) for point in points)
    states = [point["state"] for point in points]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    rules = found["rules"]
    two = len(found["objectives"]) > 1
    front = tuple(sorted((line for line in lines if line.mark), key=lambda line: line.facts["tokens"] or 0))
    return Table(
        name="search",
        title="Search",
        about=f"{len(points)} points ({counts}) by the sampler {rules['sampler']}, pruner {rules['pruner']}; "
        f"values are means over agents and the seeds {', '.join(map(str, rules['seeds']))}.",
        main=Grid("Points", columns, lines, heads=("Point",)),
        notes=(
            f"{BEST.strip()} "
            + ("No other point is as accurate with fewer tokens, or more accurate with as few." if two else "Best."),
            "The accuracy of a pruned point is that at which it was given up.",
            TOO_HIGH,
        ),
        details=(Grid("Pareto front, fewest tokens first", columns, front, heads=("Point",)),) if two else (),
        facts={"rules": rules, "objectives": found["objectives"], "best": found["best"]},
    )


def write(frames: StudyFrames, out: Path, settings: Settings) -> Path:
    """See `Writer`; raises StoreError where `search.json` is torn."""
    path = frames.folder / FILE
    try:
        found = parse_json(path.read_bytes())
        made, rows = table(found), comma_separated(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is torn ({error}); run the search's command again, which makes it anew") from error
    main = write_table(made, out)
    write_atomic(out / "search.csv", rows)
    return main


def comma_separated(found: dict[str, Any]) -> str:
    """A line per point, with its settings in columns: half of them are words, which the other tables' files lack."""
    settings = _settings(found["points"])
    facts = ("state", "reason", "accuracy", "tokens")
    rows = []
    for point in found["points"]:
        values = (*(point[key] for key in facts), *(point["settings"].get(key) for key in settings))
        rows.append([point["number"], point["number"] in found["best"], *values])
    return csv_text(["point", "best", *facts, *settings], rows)


def _line(point: dict[str, Any], settings: list[str], is_best: bool) -> Line:
    accuracy, tokens = point["accuracy"], point["tokens"]
    state = f"{point['state']} {point['reason']}" if point["state"] == "pruned" else point["state"]
    values = (
        *(_setting(point["settings"][key]) if key in point["settings"] else None for key in settings),
        Value(state, "amount"),
        None if accuracy is None else Value(f"{100 * accuracy:.1f}", "accuracy", accuracy),
        None if tokens is None else Value(f"{tokens:,.0f}", "amount", tokens),
    )
    facts = {key: point[key] for key in ("settings", "state", "reason", "tokens", "curve", "trials")}
    return Line("", str(point["number"]), values, mark=BEST if is_best else "", facts=facts)


def _settings(points: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for point in points for key in point["settings"]))


def _setting(value: Any) -> Value:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Value(f"{value:.4g}" if number else str(value), "amount", float(value) if number else None)


REPORT = Report("search", "What a search tried", write, applies)
