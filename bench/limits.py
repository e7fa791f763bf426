"""The arithmetic limit: what this machine multiplies and reads in a second, and what a joint step asks of it.

Operations: 2 per weight and token forward, 6 forward and backward; attention 4 per layer, query unit and token seen,
three times that in an update; logits of answers only. A shared prompt counts once, as it need not be computed twice.
Bytes of sampling: the weights once per token step, and the keys and values that its rows see (those of a shared prompt
once for all its rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from bench.clock import clock_of, fastest
from bench.results import BenchRow
from ilr_bench.generation.onednn_linear import fast_linears
from ilr_bench.study.cost.memory import Architecture

SIDES = (512, 1024, 2048)
"""Of the square matrices tried on a CPU; on a GPU eight times as long."""
TRIAD_BYTES = 2**28


@dataclass(frozen=True)
class Limits:
    """Of one thread of this machine, or of its GPU."""

    operations: float
    """Per second, in the matrix products that it is best at."""
    bandwidth: float
    """Bytes per second."""


def limits_of(device: str) -> Limits:
    """Matrix products (fp32, on a GPU bf16), best size and library; a + 2 b in arrays that no cache holds."""
    kind, clock = torch.float32 if device == "cpu" else torch.bfloat16, clock_of(device)
    best = 0.0
    for side in SIDES if device == "cpu" else tuple(8 * side for side in SIDES):
        layer = torch.nn.Linear(side, side, bias=False, device=device, dtype=kind)
        one = torch.randn(side, side, device=device, dtype=kind)
        with torch.inference_mode(), fast_linears(layer):
            times = fastest(partial(torch.matmul, one, one), partial(layer, one), repeats=5, clock=clock)
        best = max(best, 2 * side**3 / min(times))
    first, second = (torch.ones(TRIAD_BYTES // 4, device=device) for _ in range(2))
    out = torch.empty_like(first)
    (seconds,) = fastest(lambda: torch.add(first, second, alpha=2, out=out), repeats=5, clock=clock)
    return Limits(best, 3 * TRIAD_BYTES / seconds)


def measure_limits(device: str) -> list[BenchRow]:
    """Both limits, for the table."""
    found, what = limits_of(device), "fp32, one thread" if device == "cpu" else "bf16, the GPU"
    return [
        {"group": "limits", "what": f"matrix products, {what}, GFLOP/s", "value": found.operations / 1e9},
        {"group": "limits", "what": f"memory, {what}, a + 2 b, GB/s", "value": found.bandwidth / 1e9},
    ]


@dataclass(frozen=True)
class Group:
    """Answers to one prompt, in tokens."""

    prompt: int
    answers: tuple[int, ...]


def sampling_operations(shape: Architecture, groups: Sequence[Group]) -> float:
    """Of one forward pass over prompts and answers."""
    body = shape.parameters - shape.embeddings * (1 if shape.tied else 2)
    seen = sum(group.prompt**2 / 2 + sum(_seen(group.prompt, size) for size in group.answers) for group in groups)
    answers = sum(sum(group.answers) for group in groups)
    tokens = answers + sum(group.prompt for group in groups)
    return 2.0 * body * tokens + 2.0 * shape.embeddings * answers + 4.0 * shape.layers * shape.query_size * seen


def update_operations(shape: Architecture, groups: Sequence[Group]) -> float:
    """Of one forward and backward pass over the same."""
    return 3 * sampling_operations(shape, groups)


def sampling_bytes(shape: Architecture, groups: Sequence[Group], size: int = 4) -> float:
    """Weights and caches read while the answers grow together; `size`: bytes of a number."""
    steps = max((answer for group in groups for answer in group.answers), default=0)
    weights = (shape.parameters - (0 if shape.tied else shape.embeddings)) * size * (steps + 1)
    longest = [max(group.answers, default=0) for group in groups]
    prompts = sum(group.prompt * long for group, long in zip(groups, longest, strict=True))
    own = sum(_seen(0, answer) for group in groups for answer in group.answers)
    return float(weights + 2 * shape.key_size * shape.layers * size * (prompts + own))


def _seen(prompt: int, answer: int) -> float:
    """Tokens that an answer's tokens see, summed."""
    return float(np.sum(prompt + np.arange(1, answer + 1)))
