"""What is measured, part by part: each in a process of its own, with a stated estimate of its seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bench.results import BenchRow
from ilr_bench.core.profiles import profile

QUESTIONS = {"micro": 8, "26M": 2, "135M": 1}
"""Of a joint step on a CPU."""
SAMPLES, TOKENS = 8, 48
WEIGHTS = {"micro": 2e5, "26M": 2.7e7, "135M": 1.35e8}
BATCHES = {"micro": 1, "26M": 6, "135M": 8}
"""GiB of the batches of a joint step: TRL's at 16 answers, with what the allocator holds beside them (measured)."""
GPU_MODELS = ("135M", "0.5B")
LONG = 150.0
"""Seconds of a joint step's part from which on each side takes its step once: noise is small where a step is long."""


@dataclass(frozen=True)
class Part:
    """Some rows that are measured together."""

    name: str
    estimate: float
    """Seconds on an idle core, roughly."""
    module: str
    """Of `bench`; imported by the part's own process alone, which should hold nothing else."""
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def rows(self) -> list[BenchRow]:
        """The rows, taken in this process."""
        take: Callable[..., list[BenchRow]] = getattr(import_module(f"bench.{self.module}"), self.function)
        return take(**self.arguments)


@dataclass(frozen=True)
class Cell:
    """What one joint step is asked to do."""

    sizes: tuple[str, ...]
    """Each agent's model, see `bench.shapes`."""
    samples: int = SAMPLES
    new_tokens: int = TOKENS
    questions: int = 16
    repeats: int = 2
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Sizes, agents, samples, length, questions."""
        models = self.sizes[0] if len(set(self.sizes)) == 1 else " and ".join(self.sizes)
        agents = f"{len(self.sizes)} agent{'s' if len(self.sizes) > 1 else ''}"
        return f"{models}, {agents}, {self.questions} questions x {self.samples}, {self.new_tokens} tokens"

    @property
    def memory(self) -> int:
        """Bytes on a CPU: weights, gradients and moments of both sides and of an agent apart, and split batches."""
        weights = [WEIGHTS.get(size, 0.0) for size in self.sizes]
        batches = max(BATCHES.get(size, 0) for size in self.sizes)
        return int(12 * (2 * sum(weights) + max(weights)) + (1 + batches) * 2**30)


def parts(full: bool, device: str) -> list[Part]:
    """`full`: the whole grid; on a GPU, the step that it is asked for."""
    limits = Part("limits", 10 if device == "cpu" else 20, "limits", "measure_limits", {"device": device})
    if device != "cpu":
        return [limits, *gpu_parts(device)]
    sizes = {"micro": 15.0, "26M": 90.0} | ({"135M": 300.0} if full else {})
    models = profile("micro").models
    found = [
        Part("start-up", 120, "startup", "time_startup"),
        limits,
        *(
            Part(f"sampling {size}", seconds, "sampling", "time_sampling", {"size": size})
            for size, seconds in sizes.items()
        ),
        Part("update", 20, "stock_trl", "time_update"),
        *(
            Part(
                f"micro profile, {count} agents",
                15 + 3 * count,
                "micro_profile",
                "time_micro_profile",
                {"models": models[:count]},
            )
            for count in range(1, len(models) + 1)
        ),
        *(joint_part(*cell) for cell in cells(full)),
        Part("grading", 20, "verdicts", "grading"),
        Part("jail", 10, "verdicts", "jail"),
    ]
    if find_spec("vllm") is not None:
        found += [
            Part(f"vllm {size}", 2 * seconds, "sampling", "time_vllm", {"size": size})
            for size, seconds in sizes.items()
        ]
    return found


def cells(full: bool) -> list[tuple[str, int, int, int]]:
    """(size, agents, samples, tokens) of the joint steps: a line along each axis; `full`: all agents x samples."""
    line = [("micro", count, SAMPLES, TOKENS) for count in (1, 2, 3, 4)]
    line += [("micro", 2, count, TOKENS) for count in (4, 16)]
    line += [("micro", 2, SAMPLES, count) for count in (24, 96)]
    line += [("26M", count, SAMPLES, TOKENS) for count in (1, 2)]
    if full:
        sizes = ("micro", "26M", "135M")
        line += [(size, count, n, TOKENS) for size in sizes for n in (4, 8, 16) for count in (1, 2, 3, 4)]
        line += [(size, 2, SAMPLES, count) for size in sizes for count in (24, 96)]
    return list(dict.fromkeys(line))


def joint_part(size: str, agents: int, samples: int, tokens: int) -> Part:
    """One joint step beside TRL's trainers."""
    # Turns of either side, read once each: mostly TRL's padded forward and backward passes.
    context = 120 + (2 * agents + 3) * tokens
    turns = agents * QUESTIONS[size] * samples * context
    seconds = 3.5 * turns * (6 * WEIGHTS[size] / 6e10 + 3e-5)
    repeats = 1 if seconds > LONG else 2
    cell = Cell((size,) * agents, samples, tokens, QUESTIONS[size], repeats)
    name = f"joint step, {size}, {agents} agents, n = {samples}, {tokens} tokens"
    return Part(name, 20 + seconds * (repeats + 1) / 3, "joint", "time_joint_step", {"cell": cell})


def gpu_parts(device: str) -> list[Part]:
    """Two different models, 16 questions x 8 answers x 3 stages, and sampling against `generate` and vLLM."""
    kinds = {"sampling": 60} | ({"vllm": 120} if find_spec("vllm") is not None else {})
    cell = Cell(GPU_MODELS, new_tokens=256, repeats=3, device=device)
    return [
        *(
            Part(f"{kind} {size}", seconds, "sampling", f"time_{kind}", {"size": size, "device": device})
            for kind, seconds in kinds.items()
            for size in GPU_MODELS
        ),
        Part("joint step", 120, "joint", "time_joint_step", {"cell": cell}),
    ]
