"""How the cost of a joint step grows with agents, samples and length: fitted exponents and a figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.rows import Row

_NAME = re.compile(r"(?P<size>\S+), (?P<agents>\d+) agents?, (?P<questions>\d+) questions x (?P<samples>\d+), "
                   r"(?P<tokens>\d+) tokens: against stock TRL")  # fmt: skip
AXES = ("agents", "samples", "tokens")
LABELS = {"agents": "agents", "samples": "answers per question", "tokens": "tokens per turn"}
SIDES = {"ours": "ILR", "other": "stock TRL trainers"}


class Curve(NamedTuple):
    """Seconds of a joint step along one axis; everything else stays what it is."""

    size: str
    axis: str
    side: str
    at: tuple[int, ...]
    seconds: tuple[float, ...]


def curves(rows: Sequence[Row]) -> list[Curve]:
    """All curves with three points or more among the rows of joint steps, the longest of each size, axis and side."""
    cells = [(found.groupdict(), row) for row in rows if "ours" in row and (found := _NAME.fullmatch(row["what"]))]
    best: dict[tuple[str, str, str], Curve] = {}
    for axis in AXES:
        fixed = {tuple(value for key, value in cell.items() if key != axis): cell["size"] for cell, _ in cells}
        for others, size in fixed.items():
            points = sorted(
                (int(cell[axis]), row)
                for cell, row in cells
                if tuple(value for key, value in cell.items() if key != axis) == others
            )
            at = tuple(place for place, _ in points)
            for side in SIDES:
                curve = Curve(size, axis, side, at, tuple(float(row[side]) for _, row in points))  # type: ignore[literal-required]
                known = best.get((size, axis, side))
                if len(at) >= 3 and (known is None or len(at) > len(known.at)):
                    best[size, axis, side] = curve
    return list(best.values())


def exponent(at: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope of log seconds on log `at` by least squares, and its standard error; needs three points."""
    x, y = np.log(at) - np.mean(np.log(at)), np.log(seconds) - np.mean(np.log(seconds))
    spread = float(x @ x)
    slope = float(x @ y) / spread
    left = y - slope * x
    return slope, float(np.sqrt(left @ left / (len(x) - 2) / spread))


def rows(measured: Sequence[Row]) -> list[Row]:
    """The exponents, for the table."""
    found: list[Row] = []
    for curve in curves(measured):
        slope, error = exponent(curve.at, curve.seconds)
        points = ", ".join(map(str, curve.at))
        what = f"{curve.size}, {SIDES[curve.side]}: seconds by {LABELS[curve.axis]} ({points})"
        found.append({"group": "growth", "what": what, "value": slope, "error": error})
    return found


def draw(measured: Sequence[Row], path: Path) -> None:
    """Every curve, its size beside its end, both axes logarithmic."""
    # Matplotlib takes a while to import, and only the documentation needs it.
    import matplotlib as mpl

    mpl.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    found = curves(measured)
    colours = dict(zip(SIDES, sns.color_palette("colorblind", len(SIDES)), strict=True))
    with sns.axes_style("whitegrid"):
        figure, places = plt.subplots(1, len(AXES), figsize=(10, 4), sharey=True)
    for axis, place in zip(AXES, places, strict=True):
        shown = [curve for curve in found if curve.axis == axis]
        for curve in shown:
            slope, error = exponent(curve.at, curve.seconds)
            mark = "o-" if curve.side == "ours" else "s--"
            label = f"{SIDES[curve.side]}, {curve.size}: {slope:.2f} ± {error:.2f}"
            place.plot(curve.at, curve.seconds, mark, color=colours[curve.side], label=label)
            end = (curve.at[-1], curve.seconds[-1])
            beside = (6, -6 if curve.side == "ours" else 2)  # apart where the sides end together
            place.annotate(curve.size, end, xytext=beside, textcoords="offset points", fontsize=6)
        place.set(xscale="log", yscale="log", xlabel=LABELS[axis])
        ticks = sorted({at for curve in shown for at in curve.at})
        place.set_xticks(ticks, [str(tick) for tick in ticks])
        place.minorticks_off()
        if shown:
            # Below the panel, where it covers no mark.
            place.legend(title="exponent", fontsize=7, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    places[0].set_ylabel("seconds of a joint step")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
