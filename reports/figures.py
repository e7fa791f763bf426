"""How every figure is drawn: colours that the colour-blind can tell apart, and files with the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

INK = "#1b1f24"
SOFT = "#6b7580"
PALETTE = tuple(sns.color_palette("colorblind").as_hex())

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
}


@contextmanager
def house_style() -> Iterator[None]:
    """Fonts and lines of all figures, whatever the user's own settings are; these are restored."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme(style="ticks", rc=_STYLE)
        yield


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG without the name of the program or a date in it."""
    figure.savefig(path, dpi=160, metadata={"Software": None})
    return path
