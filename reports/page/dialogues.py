"""A few whole discussions of a study, chosen by a fixed rule, small enough for a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ilr_bench.storage.records import DialogueRecord, TurnRecord, read

from ..escaping import visible
from ..frames import StudyFrames

STEPS = 3
"""Per variant: the first, the middle and the last step of its first seed."""
PER_STEP = 4
LONGEST_TEXT = 4_000
"""Characters of one turn; a longer one is cut and marked."""


@dataclass(frozen=True)
class Selection:
    """Dialogues as JSON data, and how many there were to choose from."""

    dialogues: tuple[dict[str, Any], ...]
    recorded: int
    """In the runs that were looked at: the first seed of every variant."""


def select(frames: StudyFrames, budget: int) -> Selection:
    """Dialogues that take at most `budget` characters of JSON together.

    Of the first, middle and last step of each variant's first seed, those first in which an agent had something
    to learn. Variants take turns, so that a small budget leaves some of each.
    """
    found, recorded = [], 0
    for row in frames.trials.drop_duplicates("folder").drop_duplicates(["variant", "models"]).to_dict("records"):
        path = frames.folder / row["folder"] / "dialogues.jsonl"
        steps = int(row["steps"])
        if not path.exists() or not steps:
            continue
        wanted = sorted({1, (1 + steps) // 2, steps})[:STEPS]
        by_step: dict[int, list[DialogueRecord]] = {step: [] for step in wanted}
        for record in read(path, DialogueRecord):
            recorded += 1
            if record.step in by_step:
                by_step[record.step].append(record)
        found.append([_plain(row, record) for record in _interesting_first(by_step)])
    chosen: list[dict[str, Any]] = []
    for together in zip_longest(*found):
        for item in together:
            size = len(json.dumps(item)) if item is not None else budget + 1
            if size <= budget:
                budget -= size
                chosen.append(item)
    index = {(item["variant"], item["models"]): number for number, item in enumerate(chosen[::-1])}
    order = sorted(chosen, key=lambda item: (-index[item["variant"], item["models"]], item["step"]))
    return Selection(tuple(order), recorded)


def _interesting_first(by_step: dict[int, list[DialogueRecord]]) -> Iterator[DialogueRecord]:
    """One of each step in turn, up to PER_STEP of each."""
    ranked = [sorted(records, key=lambda record: not _has_gradient(record))[:PER_STEP] for records in by_step.values()]
    return (record for together in zip_longest(*ranked) for record in together if record is not None)


def _has_gradient(record: DialogueRecord) -> bool:
    return any(turn.advantage for turn in record.turns)


def _plain(row: dict[Any, Any], record: DialogueRecord) -> dict[str, Any]:
    return {
        "variant": row["variant"], "models": row["models"], "seed": row["seed"], "step": record.step,
        "question": _cut(record.question), "gold": record.gold, "difficulty": _short(record.difficulty),
        "turns": [_turn(turn) for turn in record.turns],
    }  # fmt: skip


def _turn(turn: TurnRecord) -> dict[str, Any]:
    values = {
        "agent": turn.agent, "stage": turn.stage, "mode": turn.mode, "text": _cut(turn.text), "verdict": turn.verdict,
        "reward": _short(turn.reward), "calibrated": _short(turn.calibrated_reward),
        "advantage": _short(turn.advantage),
    }  # fmt: skip
    return {key: value for key, value in values.items() if value is not None}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _cut(text: str) -> str:
    longer = len(text) - LONGEST_TEXT
    return visible(text if longer <= 0 else f"{text[:LONGEST_TEXT]} [cut: {longer:,} characters]")
