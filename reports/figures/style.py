"""How every figure is drawn: told apart in colour, by the colour-blind and in grey; the same bytes each time."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from ilr_bench.core.console import without_steering
from ilr_bench.storage.files import write_atomic

WIDEST = 72
"""Characters of a line of text in a figure."""
INK = "#1b1f24"
SOFT = "#6b7580"
GRID = "#e3e6ea"
PALETTE = tuple(colour for place, colour in enumerate(sns.color_palette("colorblind").as_hex()) if place not in (6, 8))
"""Without its pink and its yellow, which are too pale for lines on white."""
DASHES: tuple[tuple[float, ...], ...] = (
    (), (5, 2), (1, 1.5), (7, 2, 1.5, 2), (3, 1.5), (9, 3), (1, 3), (4, 1, 1, 1, 1, 1), (2, 4), (12, 2, 1, 2, 1, 2),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">")

LEVEL: dict[str, Any] = {"color": SOFT, "linestyle": (0, (4, 3)), "linewidth": 1.2}
"""A line to compare with, such as the level before training."""

_RESERVED = ("ilr", "grpo", "grpo_matched", "di_only", "pc_only")
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "ilr-bench",
    "pdf.fonttype": 42,
    # Names of models and settings are names, not formulas.
    "text.parse_math": False,
}
# Neither the name of the program nor a date: the same records give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class VariantStyle:
    """How one variant is drawn in every figure; colour, dashes and marker each tell neighbours apart."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot` for a line without markers."""
        return {"color": self.colour, "dashes": self.dashes or (None, None), "linewidth": 1.8}


def variant_styles(variants: Sequence[str]) -> dict[str, VariantStyle]:
    """A look for each variant; the commonest ones look alike in all figures, the others take the next free places."""
    others = itertools.count(len(_RESERVED))
    return {name: _look(_RESERVED.index(name) if name in _RESERVED else next(others)) for name in variants}


def _look(index: int) -> VariantStyle:
    return VariantStyle(PALETTE[index % len(PALETTE)], DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)])


@contextmanager
def figure_style() -> Iterator[None]:
    """Fonts and lines of all figures, whatever the user's own settings are; these are restored."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme(style="ticks", rc=_STYLE)
        yield


def prepare(axes: Axes, grid: str = "both") -> None:
    """The frame of a panel: a quiet grid behind the data (`x`, `y` or `both`), no box around it."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    sns.despine(ax=axes)


def points(table: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table as named tuples, for drawing one after the other."""
    return iter(table.itertuples())


def line_legend(figure: Figure, found: dict[str, VariantStyle], title: str) -> None:
    """The variants' lines, below the panels."""
    handles = [Line2D([], [], **look.line(), label=name) for name, look in found.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(max(2, int(figure.get_figwidth() / 1.7)), len(handles)),
        frameon=False, fontsize=9, handlelength=3.2, title=title, title_fontsize=9,
    )  # fmt: skip


def legend_below(figure: Figure, handles: list[Line2D], most: int) -> None:
    """What marks and lines mean, below the panels, at most so many side by side."""
    figure.legend(handles=handles, loc="outside lower center", ncols=most, frameon=False, fontsize=9)


def mark(look: VariantStyle, label: str, size: float | None = 7) -> Line2D:
    """A legend's entry for a variant that is drawn as single marks."""
    return Line2D([], [], linestyle="none", marker=look.marker, markersize=size, color=look.colour, label=label)


def _fitting(line: str) -> str:
    """A line of text; the middle is left out of one longer than a panel is wide, such as the name of a folder."""
    return line if len(line) <= WIDEST else f"{line[: WIDEST // 2]}…{line[-WIDEST // 2 + 1 :]}"


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure as PNG to `path`, and as SVG and PDF beside it; raises StoreError where the disk is full."""
    for kind in _METADATA:
        write_atomic(path.with_suffix(f".{kind}"), rendered(figure, kind))
    return path


def inline_svg(figure: Figure) -> str:
    """The figure as an SVG element for a page, with its words as text."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = rendered(figure, "svg").decode()
    return text[text.index("<svg") :]


def rendered(figure: Figure, kind: str, dpi: int = 160) -> bytes:
    """The figure as a file of a kind, `png`, `svg` or `pdf`."""
    for text in figure.findobj(Text):
        shown = "\n".join(_fitting(line) for line in without_steering(text.get_text()).split("\n"))
        if shown != text.get_text():
            text.set_text(shown)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=dpi, metadata=_METADATA[kind])
    return file.getvalue()
