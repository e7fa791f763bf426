"""What the training bought: gain in Avg over the untrained model against the tokens sampled for it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..frames import StudyFrames
from ..tables.averages import averages
from ..tables.training_effects import effects
from .panels import panel_per_model
from .report import figure_report, needs_answers
from .step_blocks import ordered
from .style import SOFT, legend_below, mark, points, prepare, variant_styles


def gains(frames: StudyFrames) -> pd.DataFrame:
    """Models, agent, variant, sampled_tokens (mean over runs), and the paired gain over `base` with its interval."""
    found = averages(frames)
    return pd.DataFrame(
        [
            {
                "models": row.models, "section": row.section, "agent": row.agent, "variant": row.variant,
                "sampled_tokens": effects(frames, row).sampled_tokens, "column": found.headline,
                "gain": gain.result.difference, "low": gain.result.low, "high": gain.result.high,
                "seeds": len(row.seeds),
            }
            for row, gain in found.gains.items()
        ]
    )  # fmt: skip


def applies(frames: StudyFrames) -> str | None:
    """Whether there is a trained variant and what to compare it with."""
    if "base" not in set(frames.trials["variant"]):
        return "no untrained model to compare with (variant base)"
    trained = (frames.trials["sampled_tokens"] > 0).any()
    return None if trained else "no finished trial has training steps"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per model."""
    found = variant_styles(ordered(table["variant"].tolist()))
    apart = float(table["sampled_tokens"].max()) / 1000 / 40
    last: list[float] = []

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        """Draws the marks, no two closer than `apart` thousand tokens."""
        prepare(axes)
        axes.axhline(0, color=SOFT, linewidth=1.2, zorder=1)
        index = -apart
        for row in points(rows.sort_values("sampled_tokens", kind="stable")):
            look, index = found[row.variant], max(row.sampled_tokens / 1000, index + apart)
            axes.plot([index, index], [100 * row.low, 100 * row.high], color=look.colour, linewidth=1.8, zorder=2)
            axes.plot(index, 100 * row.gain, marker=look.marker, markersize=7, color=look.colour, zorder=3)
        last.append(float(index))

    up = f"gain in {table['column'].iloc[0]}, points (95 % interval)"
    across = "tokens sampled for it while training, thousands"
    figure = panel_per_model(table, (4.2, 3.2), panel, across, up, share_y=True)
    figure.axes[0].set_xlim(0, max(last) + 2 * apart)
    legend_below(figure, [mark(look, name) for name, look in found.items()], most=4)
    return figure


REPORT = figure_report(
    "gain_tokens",
    "Gain against cost",
    "Across: how much text was sampled for a model while it was trained, the main cost. Up: how many more test "
    "questions out of a hundred it then answers rightly, alone, than before training. Methods are to be compared at "
    "equal cost: discussing samples about twice as much text as answering alone, and grpo_matched spends as much "
    "alone. Marks that would cover each other are moved apart a little.",
    gains, draw, needs_answers(applies),
)  # fmt: skip
