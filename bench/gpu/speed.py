"""How fast sampling, update and offload are, against `generate`, the card's limits and the plan's memory."""

from __future__ import annotations

import copy
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from bench.clock import clock_of, fastest, forget_peak, recent_peak
from bench.gpu.runner import ResultRow, Setup
from bench.joint import time_joint_step
from bench.limits import Group, Limits, limits_of, sampling_bytes, update_operations
from bench.parts import Cell
from bench.sampling import generate
from bench.shapes import PAD, SIZES, UNKNOWN, make_model
from ilr_bench.core.config import RunConfig, UpdateSettings, change
from ilr_bench.core.profiles import profile as configuration
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.swapper import DeviceSwapper
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.study.cost import memory

PROMPTS, SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 8, 8, 200, 256
"""64 rows."""
FEW, MORE = 4, 12
"""New tokens of two profiles; what a token costs is in their difference."""
SYNCHRONISATIONS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
OPERATORS = "operators, also those that others call,"
READS = "aten::_local_scalar_dense"
"""A number that the host waits for, on every device."""
GIB, MIB = 2**30, 2**20
ENGINES = (
    ("1B", torch.bfloat16), ("135M", torch.bfloat16), ("8B", torch.bfloat16), ("135M", torch.float32),
    ("1B", torch.float32),
)  # fmt: skip
UPDATES, TINY_UPDATES = ((8, 200, 256), (1, 3272, 1024)), ((8, 20, 12), (1, 60, 24))
"""Prompts, tokens of each, tokens of each of its eight turns: questions asked alone, and a dialogue at its longest."""
PROFILED = (("135M", torch.float32), ("1B", torch.bfloat16), ("8B", torch.bfloat16))


def joint_step(setup: Setup) -> Iterator[ResultRow]:
    """Stages of a joint step of two agents with random weights."""
    size, questions = ("tiny", 2) if setup.tiny else ("135M", 16)
    cell = Cell((size, size), 8, 8 if setup.tiny else 48, questions, repeats=1, device=setup.device)
    for taken in time_joint_step(cell, with_trl=False):
        row: dict[str, Any] = dict(taken)
        units = (("tokens_per_second", "tokens/s"), ("memory", "MiB"))
        notes = [f"{row[key]:,.0f} {unit}" for key, unit in units if key in row]
        notes += [f"{row[key]:.1%} of the {key} limit" for key in ("compute", "bandwidth") if key in row]
        notes += [f"{row['other']:.3g} s apart"] if "other" in row else []
        shown: ResultRow = {"what": row["what"], "value": row["ours"], "unit": "s"}
        yield shown | {"note": ", ".join(notes)} if notes else shown


def measured_limits(device: str) -> tuple[Limits, list[ResultRow]]:
    """The card's own limits, as measured now."""
    found = limits_of(device)
    kind = "fp32, one thread" if device == "cpu" else "bf16"
    return found, [
        {"what": f"matrix products, {kind}", "value": found.operations / 1e12, "unit": "TFLOP/s"},
        {"what": "memory, a + 2 b", "value": found.bandwidth / 1e9, "unit": "GB/s"},
    ]


def engine(setup: Setup) -> Iterator[ResultRow]:
    """The engine at three sizes in bf16, then in fp32, beside `generate`."""
    limits, rows = measured_limits(setup.device)
    yield from rows
    chosen = (("tiny", torch.float32), ("tiny", torch.bfloat16)) if setup.tiny else ENGINES
    for size, dtype in chosen:
        yield from _engine_rows(setup, size, dtype, limits)
        gc.collect()
        if setup.device == "cuda":
            torch.cuda.empty_cache()


def _engine_rows(setup: Setup, size: str, dtype: torch.dtype, limits: Limits) -> Iterator[ResultRow]:
    new_tokens = 12 if setup.tiny else NEW_TOKENS
    width = torch.finfo(dtype).bits // 8
    name = f"{size}, {_name(dtype)}, {PROMPTS * SAMPLES} rows x {new_tokens}"
    model = make_model(size, device=setup.device, dtype=dtype)
    clock = clock_of(setup.device)
    prompts = _prompts(size)
    sample = _sampler(model, prompts)
    sample(FEW)
    forget_peak(setup.device)
    (seconds,) = fastest(partial(sample, new_tokens), repeats=1, warm=False, clock=clock)
    yield {"what": f"{name}: engine", "value": PROMPTS * SAMPLES * new_tokens / seconds, "unit": "tokens/s",
           "note": f"{seconds:.2f} s, peak {recent_peak(setup.device):,} MiB"}  # fmt: skip
    read = sampling_bytes(SIZES[size], [Group(PROMPT_TOKENS, (new_tokens,) * SAMPLES)] * PROMPTS, width)
    yield {"what": f"{name}: of the memory-bandwidth limit", "value": read / seconds / limits.bandwidth}
    generate(model, prompts, SAMPLES, FEW)
    (theirs,) = fastest(partial(generate, model, prompts, SAMPLES, new_tokens), repeats=1, warm=False, clock=clock)
    yield {"what": f"{name}: times `generate`", "value": theirs / seconds, "note": f"generate: {theirs:.2f} s"}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _prompts(size: str) -> list[list[int]]:
    rng = np.random.default_rng(0)
    found: list[list[int]] = rng.integers(
        UNKNOWN + 1, SIZES[size].vocabulary, size=(PROMPTS, PROMPT_TOKENS)
    ).tolist()  # fmt: skip
    return found


def _sampler(model: Any, prompts: list[list[int]]) -> Callable[[int], object]:
    """Samples so many tokens for every row: without an end token each grows to the limit."""
    sampler = TransformersEngine(model, (), PAD, str)
    return lambda count: sampler.sample(
        SamplingRequest(prompts, [SAMPLES] * len(prompts), SamplingOptions(count, 1.0), 0)
    )


def kernels(setup: Setup) -> Iterator[ResultRow]:
    """Operators, kernels and synchronisations that a step of one token for every row takes."""
    cuda = setup.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    for size, dtype in (("tiny", torch.float32),) if setup.tiny else PROFILED:
        sample = _sampler(make_model(size, device=setup.device, dtype=dtype), _prompts(size))
        sample(FEW)
        counts: list[Counter[str]] = []
        for tokens in (FEW, MORE):
            with profile(activities=activities) as profiled:
                sample(tokens)
            counts.append(_count(profiled.events() or ()))
        kinds = (OPERATORS, "numbers read by the host", *(("kernels", "host waits for the device") if cuda else ()))
        for kind in kinds:
            what = f"{size}, {_name(dtype)}: {kind} per token step"
            yield {"what": what, "value": (counts[1][kind] - counts[0][kind]) / (MORE - FEW)}


def _count(events: Iterable[Any]) -> Counter[str]:
    count: Counter[str] = Counter()
    for event in events:
        count[OPERATORS] += event.name.startswith("aten::")
        count["kernels"] += str(event.device_type).endswith("CUDA") and not event.name.startswith("Mem")
        count["host waits for the device"] += event.name in SYNCHRONISATIONS
        count["numbers read by the host"] += event.name == READS
    return count


def update(setup: Setup) -> Iterator[ResultRow]:
    """The update of 64 turns, and of 8 turns behind a prompt of a dialogue's length: share of the peak, memory."""
    limits, rows = measured_limits(setup.device)
    yield from rows
    size = "tiny" if setup.tiny else "1B"
    samples = 8
    for prompts, prompt_tokens, new_tokens in TINY_UPDATES if setup.tiny else UPDATES:
        model = make_model(size, device=setup.device)
        rows_at_once = _fitting(setup, size, prompt_tokens, new_tokens)
        name = f"{size}, {prompts} x {prompt_tokens:,} tokens x 8 turns of {new_tokens:,}, {rows_at_once} at a time"
        settings = UpdateSettings(precision="bf16", rows_per_micro_batch=rows_at_once, warmup_steps=0)
        learner = GRPOLearner(model, "A", settings, 10, new_tokens, 1.0)
        turns = make_turns(size, prompts, prompt_tokens, samples, new_tokens)
        learner.update(turns, 1)
        forget_peak(setup.device)
        (seconds,) = fastest(
            partial(learner.update, turns, 2), repeats=1, warm=False, clock=clock_of(setup.device)
        )  # fmt: skip
        peak = recent_peak(setup.device)
        work = update_operations(SIZES[size], [Group(prompt_tokens, (new_tokens,) * samples)] * prompts)
        tokens = prompts * samples * new_tokens
        yield {"what": f"{name}: update", "value": seconds, "unit": "s", "note": f"{tokens / seconds:,.0f} tokens/s"}
        yield {"what": f"{name}: of the matrix-product peak", "value": work / seconds / limits.operations}
        planned = _planned(size, rows_at_once, prompt_tokens, new_tokens)
        whose = f"planned {planned / MIB:,.0f} MiB" + ("" if setup.device == "cuda" else ", without the process")
        yield {"what": f"{name}: peak memory", "value": peak, "unit": "MiB", "note": whose}
        if setup.device == "cuda":
            yield {"what": f"{name}: peak memory in parts of the plan", "value": peak * MIB / planned}
        del learner, model
        gc.collect()
        if setup.device == "cuda":
            torch.cuda.empty_cache()


def _fitting(setup: Setup, size: str, prompt_tokens: int, turn: int) -> int:
    """Turns of one prompt in a micro-batch: eight, or as many as the plan says fit on the card."""
    if setup.device == "cpu":
        return 8
    card = torch.cuda.get_device_properties(0).total_memory
    return next((rows for rows in (8, 4, 2) if _planned(size, rows, prompt_tokens, turn) < card), 1)


def _planned(size: str, rows: int, prompt_tokens: int, turn: int) -> float:
    """Bytes: weights, moments, and the update's terms with what the allocator holds beside them."""
    shape = SIZES[size]
    config: RunConfig = change(configuration("micro"), {"update.precision": "bf16"})
    terms = memory.update(config, shape, prompt_tokens, rows * turn, prompt_tokens + turn)
    return 3 * memory.FLOAT * shape.parameters + (1 + memory.SLACK) * sum(terms.values())


def make_turns(size: str, prompts: int, prompt_tokens: int, samples: int, new_tokens: int) -> list[TrainingSample]:
    """Random turns of one length, a group of `samples` per prompt."""
    rng = np.random.default_rng(0)
    vocabulary = SIZES[size].vocabulary
    likely = np.full(new_tokens, -np.log(vocabulary), dtype=np.float32)
    asked = rng.integers(UNKNOWN + 1, vocabulary, size=(prompts, prompt_tokens)).tolist()
    return [
        TrainingSample(
            tuple(prompt),
            tuple(rng.integers(UNKNOWN + 1, vocabulary, size=new_tokens).tolist()),
            likely,
            float(rng.normal()),
            question=str(index),
        )
        for index, prompt in enumerate(asked)
        for _ in range(samples)
    ]


def offload(setup: Setup) -> Iterator[ResultRow]:
    """Two agents with gradients' moments take turns on the card: GB/s, and whether a byte has changed."""
    size = "tiny" if setup.tiny else "0.5B"
    swapper = DeviceSwapper(offload_device="cpu", compute_device=setup.device)
    models, learners = [], []
    for index in range(2):
        model = make_model(size, index)
        swapper.register(model)
        learner = GRPOLearner(model, f"agent{index}", UpdateSettings(warmup_steps=0), 10, 8, 1.0)
        swapper.attach(model, [], learner.optimizer)
        swapper.onload(model)
        learner.update(make_turns(size, 2, 8, 2, 8), 1)
        models.append(model)
        learners.append(learner)
    swapper.onload(models[0])
    before = [[one.cpu().clone() for one in tensors(learner)] for learner in learners]
    moved = sum(one.numel() * one.element_size() for one in before[0])
    clock = clock_of(setup.device)
    start = clock()
    turns = 4
    for turn in range(turns):
        swapper.onload(models[(turn + 1) % 2])
    seconds = clock() - start
    # Every turn takes one agent off the card and another one onto it.
    yield {"what": f"{size}: an agent off and another one on", "value": seconds / turns, "unit": "s",
           "note": f"{moved / GIB:.2f} GiB each way"}  # fmt: skip
    yield {"what": f"{size}: bytes moved", "value": 2 * turns * moved / seconds / 1e9, "unit": "GB/s"}
    after = [[one.cpu() for one in tensors(learner)] for learner in learners]
    unlike = sum(
        not torch.equal(one.view(torch.uint8), other.view(torch.uint8))
        for ours, theirs in zip(before, after, strict=True)
        for one, other in zip(ours, theirs, strict=True)
    )
    yield {"what": f"{size}: tensors with changed bytes", "value": unlike, "limit": 0, "ok": unlike == 0,
           "note": f"of {sum(map(len, before))}"}  # fmt: skip


def tensors(learner: GRPOLearner) -> list[torch.Tensor]:
    """Weights and moments, in one order."""
    weights = [weight.detach().flatten() for weight in learner.model.parameters()]
    states = copy.copy(learner.optimizer.state)
    return weights + [
        value.flatten() for state in states.values() for name, value in sorted(state.items()) if value.ndim
    ]
