"""What the paper printed (arXiv 2509.26306): one run per cell, no intervals, models of 7 to 14 billion weights."""

from __future__ import annotations

TITLE = "The paper's numbers (8B to 14B models on its own benchmarks; not comparable in level with those above)"

MAIN_COLUMNS = ("GSM8K", "MATH-500", "Minerva", "Olympiad", "AIME", "Avg")
MAIN = {
    "Llama-3.1-8B, base": (82.87, 49.80, 22.79, 13.63, 1.67, 34.15),
    "Llama-3.1-8B, GRPO": (85.60, 54.00, 26.47, 20.89, 5.00, 38.39),
    "Llama-3.1-8B, ILR": (89.39, 55.80, 30.15, 22.22, 10.00, 41.51),
}

ABLATION_COLUMNS = ("Llama-3.1-8B", "Qwen2.5-7B", "Qwen2.5-14B")
"""In the groups Llama-8B + Qwen-7B (the first two) and Qwen-7B + Qwen-14B (the last)."""
ABLATION: dict[str, tuple[float | None, ...]] = {
    "base": (34.15, 51.76, 55.57),
    "grpo": (38.39, None, None),
    "di_only": (39.12, 53.95, 58.57),
    "pc_only": (40.14, 54.04, 58.07),
    "ilr": (41.51, 54.44, 59.30),
}
"""Avg in %, by our names of the variants; None where the number could not be found."""
