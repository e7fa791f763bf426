"""Figures as parts of a page: vector drawings that follow its light or dark colours."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from ..figures.report import FigureReport
from ..figures.style import GRID, INK, SOFT, figure_style, inline_svg
from ..frames import StudyFrames

COLOURS = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", "#ffffff": "var(--paper)"}


def drawing(report: FigureReport, frames: StudyFrames) -> tuple[Markup, int]:
    """A figure for the page, and the width at which its letters have the size of the text around it, in CSS pixels.

    The study must be one that the report applies to. Not escaped again: matplotlib has escaped the words in it.
    """
    with figure_style():
        figure = report.draw(report.numbers(frames))
        width = round(96 * figure.get_figwidth())
        return themed(inline_svg(figure), report.name, report.title), width


def themed(svg: str, name: str, title: str) -> Markup:
    """An SVG element without a size or a style sheet of its own, its names made unique and its colours the page's."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id="|href="#|url\(#)', lambda found: f"{found[1]}{name}-", body).replace("xlink:href", "href")
    # Drawing in hundredths of a point is fine enough, and makes the page a third smaller. Words stay as they are.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    body = re.sub(r"\n\s*", "\n", body)
    for colour, variable in COLOURS.items():
        body = body.replace(colour, variable)
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(title)}">'
    return Markup(head + body)
