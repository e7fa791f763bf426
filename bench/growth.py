"""How the cost of a joint step grows with agents, samples and length: fitted exponents and a figure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.results import BenchRow

_NAME = re.compile(r"(?P<size>\S+), (?P<agents>\d+) agents?, (?P<questions>\d+) questions x (?P<samples>\d+), "
                   r"(?P<tokens>\d+) tokens: against stock TRL")  # fmt: skip
AXES = {"agents": "agents", "samples": "answers per question", "tokens": "tokens per turn"}
SIDES = {"ours": "ILR", "other": "stock TRL trainers"}


class Curve(NamedTuple):
    """Seconds of a joint step along one axis; everything else stays what it is."""

    size: str
    axis: str
    side: str
    at: tuple[int, ...]
    seconds: tuple[float, ...]

    def exponent(self) -> tuple[float, float]:
        """Slope of log seconds on log `at` by least squares, and its standard error."""
        fitted, covariance = np.polyfit(np.log(self.at), np.log(self.seconds), 1, cov=True)
        return float(fitted[0]), float(np.sqrt(covariance[0, 0]))


def curves(rows: Sequence[BenchRow]) -> list[Curve]:
    """All curves with three points or more among the rows of joint steps, the longest of each size, axis and side."""
    cells = [(found.groupdict(), row) for row in rows if "ours" in row and (found := _NAME.fullmatch(row["what"]))]
    best: dict[tuple[str, str, str], Curve] = {}
    for axis in AXES:
        lines: dict[tuple[str, ...], list[tuple[int, float, float]]] = defaultdict(list)
        for cell, row in cells:
            fixed = (cell["size"], *(value for key, value in cell.items() if key != axis))
            lines[fixed].append((int(cell[axis]), row["ours"], row["other"]))
        for (size, *_), points in lines.items():
            at, *seconds = zip(*sorted(points), strict=True)
            for side, spent in zip(SIDES, seconds, strict=True):
                key = (size, axis, side)
                if len(at) >= 3 and (key not in best or len(at) > len(best[key].at)):
                    best[key] = Curve(size, axis, side, at, spent)
    return list(best.values())


def rows(measured: Sequence[BenchRow]) -> list[BenchRow]:
    """The exponents, for the table."""
    found: list[BenchRow] = []
    for curve in curves(measured):
        slope, error = curve.exponent()
        points = ", ".join(map(str, curve.at))
        what = f"{curve.size}, {SIDES[curve.side]}: seconds by {AXES[curve.axis]} ({points})"
        found.append({"group": "growth", "what": what, "value": slope, "error": error})
    return found


def draw(measured: Sequence[BenchRow], path: Path) -> None:
    """Every curve, its size beside its end, both axes logarithmic."""
    # Matplotlib takes a while to import, and only the documentation needs it.
    import matplotlib as mpl

    mpl.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    colours = dict(zip(SIDES, sns.color_palette("colorblind", len(SIDES)), strict=True))
    with sns.axes_style("whitegrid"):
        figure, indices = plt.subplots(1, len(AXES), figsize=(10, 4), sharey=True)
    for (axis, label), index in zip(AXES.items(), indices, strict=True):
        shown = [curve for curve in curves(measured) if curve.axis == axis]
        for curve in shown:
            slope, error = curve.exponent()
            name = f"{SIDES[curve.side]}, {curve.size}: {slope:.2f} ± {error:.2f}"
            mark, below = ("o-", -6) if curve.side == "ours" else ("s--", 2)  # apart where the sides end together
            index.plot(curve.at, curve.seconds, mark, color=colours[curve.side], label=name)
            end = (curve.at[-1], curve.seconds[-1])
            index.annotate(curve.size, end, xytext=(6, below), textcoords="offset points", fontsize=6)
        index.set(xscale="log", yscale="log", xlabel=label)
        ticks = sorted({at for curve in shown for at in curve.at})
        index.set_xticks(ticks, [str(tick) for tick in ticks])
        index.minorticks_off()
        if shown:
            # Below the panel, where it covers no mark.
            index.legend(title="exponent", fontsize=7, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    indices[0].set_ylabel("seconds of a joint step")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
