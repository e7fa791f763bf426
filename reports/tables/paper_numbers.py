"""What the paper printed (arXiv 2509.26306): one run per cell, no intervals, models of 7 to 14 billion weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..rows import AVERAGE, PAPER_MATHS, Columns, TableRow

SOURCE = "arXiv 2509.26306: one run, one answer per question, no interval"
LLAMA, QWEN, LARGE_QWEN = "Llama-3.1-8B", "Qwen2.5-7B", "Qwen2.5-14B"


@dataclass(frozen=True)
class Published:
    """Numbers of one row of the paper, accuracies in %."""

    model: str
    variant: str
    """By our name."""
    values: Mapping[str, float]
    """By our names of the columns."""
    partner: str | None = None
    """The other model of the group, where the row depends on it."""


def _main(*values: float) -> dict[str, float]:
    return dict(zip((*PAPER_MATHS, AVERAGE), values, strict=True))


PUBLISHED = (
    Published(LLAMA, "base", _main(82.87, 49.80, 22.79, 13.63, 1.67, 34.15)),
    Published(LLAMA, "grpo", _main(85.60, 54.00, 26.47, 20.89, 5.00, 38.39)),
    Published(LLAMA, "di_only", {AVERAGE: 39.12}, QWEN),
    Published(LLAMA, "pc_only", {AVERAGE: 40.14}, QWEN),
    Published(LLAMA, "ilr", _main(89.39, 55.80, 30.15, 22.22, 10.00, 41.51), QWEN),
    Published(QWEN, "base", {AVERAGE: 51.76}),
    Published(QWEN, "ppo", {AVERAGE: 53.75}),
    Published(QWEN, "di_only", {AVERAGE: 53.95}, LLAMA),
    Published(QWEN, "pc_only", {AVERAGE: 54.04}, LLAMA),
    Published(QWEN, "ilr", {AVERAGE: 54.44}, LLAMA),
    Published(QWEN, "ilr", {AVERAGE: 54.59}, LARGE_QWEN),
    Published(LARGE_QWEN, "base", {AVERAGE: 55.57}),
    Published(LARGE_QWEN, "ppo", {AVERAGE: 58.27}),
    Published(LARGE_QWEN, "di_only", {AVERAGE: 58.57}, QWEN),
    Published(LARGE_QWEN, "pc_only", {AVERAGE: 58.07}, QWEN),
    Published(LARGE_QWEN, "ilr", {AVERAGE: 59.30}, QWEN),
    Published(LLAMA, "infer_single", {"math500": 49.80}),
    Published(LLAMA, "infer_debate", {"math500": 64.00}),
    Published(LLAMA, "infer_idea3", {"math500": 63.40}),
    Published(LARGE_QWEN, "infer_single", {"math500": 81.20}),
    Published(LARGE_QWEN, "infer_debate", {"math500": 79.20}),
    Published(LARGE_QWEN, "infer_idea3", {"math500": 82.00}),
)
"""All numbers that could be found (docs/method.md). The groups of the inference comparison are not stated."""


def published(row: TableRow, columns: Columns) -> dict[str, float]:
    """The paper's numbers of the same model, variant and group in our columns; empty where it has no such row.

    A model is known by its name (`Qwen2.5-7B` in `Qwen/Qwen2.5-7B-Instruct`). Avg counts where it is the mean of the
    same five benchmarks.
    """
    others = [_paper_name(model) for model in row.models.split("+")]
    own = _paper_name(row.section)
    found: dict[str, float] = {}
    for item in PUBLISHED:
        in_group = item.partner is None or sorted(map(str, others)) == sorted((item.model, item.partner))
        if (item.model, item.variant) == (own, row.variant) and in_group:
            found |= item.values
    if set(columns.maths) != set(PAPER_MATHS):
        found.pop(AVERAGE, None)
    return {name: value for name, value in found.items() if name in columns.all}


def _paper_name(model: str) -> str | None:
    return next((name for name in (LLAMA, QWEN, LARGE_QWEN) if name.lower() in model.lower()), None)
