"""What answers that untrained agents reach together cost: rounds and tokens, counted."""

from __future__ import annotations

from dataclasses import dataclass

from reports.frames import StudyFrames
from reports.rows import Row


@dataclass(frozen=True)
class Costs:
    """Means over all answers of a row, whatever their benchmark."""

    rounds: float
    """Times that every agent spoke before an answer stood."""
    tokens: float
    """Tokens that all agents sampled for an answer."""


def costs(frames: StudyFrames, row: Row) -> Costs:
    """Counts a row's answers."""
    found = frames.inference
    mine = found[(found["models"] == row.models) & (found["agent"] == row.agent) & (found["variant"] == row.variant)]
    return Costs(float(mine["rounds"].mean()), float(mine["tokens"].mean()))
