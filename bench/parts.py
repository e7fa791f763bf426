"""What is measured, part by part: each in a process of its own, with a stated estimate of its seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from bench.rows import Row
from ilr_bench.costs.fits import available_memory
from ilr_bench.profiles import profile

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
    measure: Callable[[], list[Row]]
    memory: int = 2 * 2**30
    """Bytes that it may need."""


def parts(full: bool, device: str) -> list[Part]:
    """`full`: the whole grid; on a GPU, the step that it is asked for."""
    if device != "cpu":
        return [Part("limits", 20, partial(limit_rows, device)), *gpu_parts(device)]
    sizes = {"micro": 15.0, "26M": 90.0} | ({"135M": 300.0} if full else {})
    models = profile("micro").models
    found = [
        Part("start-up", 120, start_up),
        Part("limits", 10, partial(limit_rows, device)),
        *(Part(f"sampling {size}", seconds, partial(sampling, size)) for size, seconds in sizes.items()),
        Part("update", 20, update),
        *(
            Part(f"micro profile, {count} agents", 15 + 3 * count, partial(micro_profile, models[:count]))
            for count in range(1, len(models) + 1)
        ),
        *(joint_part(cell) for cell in cells(full)),
        Part("grading", 20, grading),
        Part("jail", 10, jail),
    ]
    if find_spec("vllm") is not None:
        found += [Part(f"vllm {size}", 2 * seconds, partial(vllm, size, device)) for size, seconds in sizes.items()]
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


def joint_part(cell: tuple[str, int, int, int]) -> Part:
    """One joint step beside TRL's trainers."""
    size, agents, samples, tokens = cell
    # Turns of either side, read once each: mostly TRL's padded forward and backward passes.
    context = 120 + (2 * agents + 3) * tokens
    weights = WEIGHTS[size]
    operations = 6 * weights * agents * QUESTIONS[size] * samples * context
    overhead = 3e-5 * agents * QUESTIONS[size] * samples * context
    seconds = 3.5 * (operations / 6e10 + overhead)
    repeats = 1 if seconds > LONG else 2
    return Part(
        f"joint step, {size}, {agents} agents, n = {samples}, {tokens} tokens",
        20 + seconds * (repeats + 1) / 3,
        partial(joint, size, agents, samples, tokens, repeats),
        joint_memory(size, agents),
    )


def joint_memory(size: str, agents: int) -> int:
    """Bytes: weights and Adam's moments of either side and of an agent apart, and batches, which are split beyond."""
    return int(12 * WEIGHTS[size] * (2 * agents + 1) + (1 + BATCHES[size]) * 2**30)


def gpu_parts(device: str) -> list[Part]:
    """Two different models, 16 questions x 8 answers x 3 stages, and sampling against `generate` and vLLM."""
    served = GPU_MODELS if find_spec("vllm") is not None else ()
    return [
        *(Part(f"sampling {size}", 60, partial(sampling, size, device)) for size in GPU_MODELS),
        *(Part(f"vllm {size}", 120, partial(vllm, size, device)) for size in served),
        Part("joint step", 120, partial(gpu_step, device)),
    ]


# Each of these imports what it needs by itself: a part runs in a process that should hold nothing else.


def start_up() -> list[Row]:
    """See `bench.startup`."""
    from bench import startup

    return _grouped("start-up", startup.measure())


def limit_rows(device: str) -> list[Row]:
    """See `bench.limits`."""
    from bench import limits

    half = device != "cpu"
    what = "bf16, the GPU" if half else "fp32, one thread"
    return _grouped("limits", limits.rows(limits.measure(device, half), what))


def sampling(size: str, device: str = "cpu") -> list[Row]:
    """See `bench.engine`."""
    from bench import engine

    small = size == "micro"
    return _grouped("sampling", engine.measure(size, repeats=3 if small else 2, device=device, warm=small))


def update() -> list[Row]:
    """See `bench.update`."""
    from bench import update as measured

    return _grouped("update", measured.measure())


def micro_profile(models: tuple[str, ...]) -> list[Row]:
    """See `bench.step`."""
    from bench import step

    return _grouped("micro profile", step.measure(models, steps=5))


def joint(size: str, agents: int, samples: int, tokens: int, repeats: int) -> list[Row]:
    """See `bench.joint`."""
    from bench import joint as measured
    from bench import limits

    cell = measured.Cell((size,) * agents, samples, tokens, QUESTIONS[size], repeats)
    needed, free = joint_memory(size, agents), available_memory()
    if needed > free:
        lacking = f"not run: needs about {needed / 2**30:.0f} GiB of {free / 2**30:.0f} free"
        return _grouped("peers", [{"what": f"{cell.name}: against stock TRL", "note": lacking}])
    return measured.measure(cell, limits.measure())


def gpu_step(device: str) -> list[Row]:
    """Two different models."""
    from bench import joint as measured
    from bench import limits

    cell = measured.Cell(GPU_MODELS, SAMPLES, 256, 16, 3, device)
    return measured.measure(cell, limits.measure(device, half=True))


def grading() -> list[Row]:
    """See `bench.grading`."""
    from bench import grading as measured

    return _grouped("verdicts", measured.measure())


def jail() -> list[Row]:
    """See `bench.jail`."""
    from bench import jail as measured

    return _grouped("verdicts", measured.measure())


def vllm(size: str, device: str) -> list[Row]:
    """See `bench.vllm`."""
    from bench import vllm as measured

    return _grouped("vllm", measured.measure(size, repeats=3 if size == "micro" else 2, device=device))


def _grouped(group: str, rows: list[Row]) -> list[Row]:
    return [{"group": group, **row} for row in rows]
