"""Results as people read them: Markdown tables, and how far each target is met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.results import REST, BenchRow, Results
from ilr_bench.core.config import IDEA3_STAGES
from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import write_atomic

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
TITLES = {
    "peers": "A joint step against stock TRL trainers",
    "agents": "A joint step of N agents against N agents apart, each hearing as much",
    "sampling": "Sampling against `model.generate`",
    "vllm": "Sampling with vLLM",
    "update": "An update against TRL's trainer",
    "stages": "Where a joint step goes",
    "micro profile": "A step of the micro profile (one agent: GRPO alone)",
    "start-up": "Start-up, and what is made once",
    "limits": "The machine",
    "verdicts": "Verdicts",
}
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "ours": ("ours, s", lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"),
    "other": ("other, s", lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"),
    "ratio": ("other / ours", lambda value: f"{value:.2f}"),
    "value": ("value", lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"),
    "share": ("share of step", lambda value: f"{value:.1%}"),
    "tokens": ("tokens", lambda value: f"{value:,.0f}"),
    "tokens_per_second": ("tokens/s", lambda value: f"{value:,.0f}"),
    "compute": ("of arithmetic peak", lambda value: f"{value:.0%}"),
    "bandwidth": ("of bandwidth", lambda value: f"{value:.0%}"),
    "memory": ("peak, MiB", lambda value: f"{value:,.0f}"),
    "note": ("", str),
}


@dataclass(frozen=True)
class Target:
    """A promise about every row that its pattern finds; the worst of them counts."""

    what: str
    group: str
    pattern: str
    limit: float
    number: Callable[[BenchRow], float]
    at_most: bool = True

    def worst(self, rows: Sequence[BenchRow]) -> tuple[float, str] | None:
        """The number furthest on the wrong side, and its row; None where nothing was measured."""
        found = [
            (self.number(row), row["what"])
            for row in rows
            if row["group"] == self.group and "ours" in row and re.search(self.pattern, row["what"])
        ]
        return (max(found) if self.at_most else min(found)) if found else None


def _cost(row: BenchRow) -> float:
    return row["ours"] / row["other"]


TARGETS = (
    Target("joint step of 2 agents, 26M, in TRL's time", "peers", r"^26M, 2 agents, .* x 8, 48 tokens", 0.5, _cost),
    Target("joint steps of 2 agents or more, any size, in TRL's time", "peers", r" [2-9] agents", 0.5, _cost),
    Target("N agents, in the time of N apart", "agents", "", 1.1, _cost),
    Target("sampling, times `generate`, 200 tokens", "sampling", "of 200 tokens", 2.0, lambda row: row["ratio"], False),
    Target("sampling, times `generate`, 35 tokens", "sampling", "of 35 tokens", 1.2, lambda row: row["ratio"], False),
    Target(f"{REST}, micro profile", "micro profile", REST, 0.03, lambda row: row["share"]),
    Target(f"{REST}, random weights", "stages", REST, 0.03, lambda row: row["share"]),
    Target("sampling, times bare vLLM", "vllm", "against bare vLLM", 0.9, lambda row: row["ratio"], False),
    Target("`import ilr_bench`, s", "start-up", "^import ilr_bench$", 0.150, lambda row: row["ours"]),
    Target("`--help`, s", "start-up", "--help$", 0.500, lambda row: row["ours"]),
)


def markdown(results: Results) -> str:
    """What it was measured on, the targets, and a table per group."""
    found = results["versions"]
    libraries = ", ".join(f"{name} {found[name]}" for name in ("torch", "transformers", "trl") if name in found)
    head = f"{results['date']}, {results['machine']}, {libraries}, commit {found.get('commit', 'unknown')}."
    parts = [head, targets(results["rows"])]
    for group, title in TITLES.items():
        rows = [row for row in results["rows"] if row["group"] == group]
        if rows:
            parts.append(f"**{title}**\n\n{(steps if group == 'stages' else table)(rows)}")
    return "\n\n".join(parts)


def targets(rows: Sequence[BenchRow]) -> str:
    """A line per target, with the row that is furthest from it."""
    lines = ["| target | limit | measured | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        found = target.worst(rows)
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
        if found is None:
            lines.append(f"| {target.what} | {limit} | | not measured here |")
            continue
        worst, what = found
        met = worst <= target.limit if target.at_most else worst >= target.limit
        lines.append(f"| {target.what} | {limit} | {worst:.3g} | {'met' if met else 'missed'} ({what}) |")
    return "\n".join(lines)


def table(rows: Sequence[BenchRow]) -> str:
    """The columns that any of the rows fills."""
    used = [key for key in COLUMNS if any(key in row for row in rows)]
    lines = ["| | " + " | ".join(COLUMNS[key][0] for key in used) + " |", "|---|" + "---:|" * len(used)]
    for row in rows:
        cells = [COLUMNS[key][1](row[key]) if key in row else "" for key in used]  # type: ignore[literal-required]
        lines.append(f"| {row['what']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def steps(rows: Sequence[BenchRow]) -> str:
    """A line per joint step: its seconds, the fraction of each stage, and how far from the machine's limits each is."""
    found: dict[str, dict[str, BenchRow]] = {}
    for row in rows:
        cell, _, stage = row["what"].rpartition(": ")
        found.setdefault(cell, {})[stage] = row
    stages = (*IDEA3_STAGES, "update")
    heads = ["", "s", *stages, "rest", f"of arithmetic peak ({', '.join(stages)})"]
    heads += [f"of bandwidth ({', '.join(IDEA3_STAGES)})", "peak, MiB"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for cell, step in found.items():
        whole, rest = step["whole step"], step["grading"]["share"] + step[REST]["share"]
        cells = [cell, COLUMNS["ours"][1](whole["ours"]), *(f"{step[stage]['share']:.0%}" for stage in stages)]
        cells += [f"{rest:.1%}", _percent(step[stage].get("compute") for stage in stages)]
        cells += [_percent(step[stage].get("bandwidth") for stage in IDEA3_STAGES), f"{whole['memory']:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(values: Iterable[float | None]) -> str:
    return " / ".join("-" if value is None else f"{100 * value:.0f}" for value in values) + " %"


def write_docs(results: Results, full: bool, docs: Path = DOCS) -> None:
    """Brings the block between the marks of a page up to date; raises StoreError.

    The page is docs/performance.md, that of the whole grid (`full`) docs/performance-grid.md.
    """
    page = docs / ("performance-grid.md" if full else "performance.md")
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise StoreError(f"{page} does not hold {BEGIN} and {END} once each; put them around the place of the table")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomic(page, f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")
