"""The whole study on one page: words, tables, figures, configuration, runs and dialogues, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ilr_bench.storage.files import write_atomic

from ..figures.report import FigureReport
from ..frames import StudyFrames
from ..registry import REPORTS, Report, Settings
from ..statistics.estimates import Interval
from ..tables.averages import averages
from ..tables.report import TableReport
from ..tables.writer import html_template
from . import answers, dialogues, facts
from .descriptions import GLOSSARY, MICRO_SHORTHAND, counted, describe
from .figures import drawing
from .findings import findings
from .introduction import asked, introduction, is_micro, title

LARGEST = 1_950_000
"""Bytes of the page; dialogues fill what everything else leaves."""
DIALOGUES = 700_000
"""Characters of dialogues at most: more than anybody reads."""
ANSWERS = 500_000
"""Characters of answers to the tests at most."""
SHOWN = ("base", "grpo", "grpo_matched", "ilr")
"""Variants whose averages open the page."""


def write_page(frames: StudyFrames, out: Path, settings: Settings) -> Path:
    """Writes report.html; same records and settings, same bytes."""
    path = out / "report.html"
    write_atomic(path, render(frames, settings))
    return path


def render(frames: StudyFrames, settings: Settings) -> str:
    """The page as HTML; everything that models or people wrote is escaped."""
    template = html_template("report.html.jinja")
    parts = contents(frames, settings)

    def filled(shown: answers.Answers, budget: int) -> str:
        chosen = dialogues.select(frames, budget)
        data = {"data": Markup(embedded(chosen.dialogues)), "answer_data": Markup(embedded(shown.data))}
        return template.render(**parts, chosen=chosen, answers=shown, **data)

    def allowance(shown: answers.Answers, most: int) -> int:
        return max(min(most, LARGEST - len(filled(shown, 0).encode())), 0)

    shown = answers.select(frames, allowance(answers.NOTHING, ANSWERS))
    return filled(shown, allowance(shown, DIALOGUES))


def contents(frames: StudyFrames, settings: Settings) -> dict[str, Any]:
    """Everything on the page but answers and dialogues."""
    reports = [report for name, report in REPORTS.usable().items() if name != REPORT.name]
    reasons = {report.name: report.applies(frames) for report in reports}
    fitting = [report for report in reports if reasons[report.name] is None]
    tables = [report.table(frames, settings) for report in fitting if isinstance(report, TableReport)]
    return {
        "title": title(frames),
        "intro": introduction(frames),
        "findings": findings(tables),
        "tests": asked(frames),
        "variants": [(name, describe(config)) for name, config in facts.variant_configs(frames).items()],
        "levels": levels(frames),
        "glossary": GLOSSARY,
        "tables": tables,
        "figures": [(one, *drawing(one, frames)) for one in fitting if isinstance(one, FigureReport)],
        "left_out": [(report.title, reasons[report.name]) for report in reports if reasons[report.name]],
        "settings": facts.settings(frames),
        "run_head": facts.RUN_HEAD,
        "run_words": facts.RUN_WORDS,
        "runs": facts.runs(frames),
        "trials": len(frames.results),
        "shorthand": MICRO_SHORTHAND if is_micro(frames) else "",
        "unfinished": frames.unfinished,
        "versions": facts.versions(frames),
        "command": frames.study.command,
        "profile": frames.study.profile,
        "counted": counted,
    }


def embedded(data: object) -> str:
    """JSON for a script element: plain ASCII, with nothing in it that could end the element or open another one."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def levels(frames: StudyFrames) -> list[tuple[str, str, list[tuple[str, Interval]]]]:
    """Model, column and the averages of the best-known variants by name, for the head of the page."""
    if frames.samples.empty:
        return []
    found = averages(frames)
    sections: dict[str, list[tuple[str, Interval]]] = {}
    for name in SHOWN:
        for row, cell in found.cells.items():
            if row.label == name:
                sections.setdefault(row.section, []).append((name, cell.interval))
    return [(section, found.headline, shown) for section, shown in sections.items()]


REPORT = Report("page", "Everything on one page", write_page)
