"""Sampling against `generate`, side by side in one process.

The same prompts, the same number of samples, the same length: every row is decoded to the limit by both.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.clock import clock_of, fastest
from bench.results import BenchRow, comparison
from bench.shapes import END, PAD, SIZES, UNKNOWN, make_model
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine

SAMPLES, NEW_TOKENS = 8, 48
PROMPT_LENGTHS = (35, 200)
"""Tokens of a question asked alone, and of a dialogue."""
QUESTIONS = {"micro": 16, "26M": 8}
"""Prompts in one call; larger models get 4."""


def measure(size: str, device: str = "cpu") -> list[BenchRow]:
    """One row per prompt length: seconds of either, their ratio, tokens per second of ours."""
    model = make_model(size, device=device)
    engine = TransformersEngine(model, (), PAD, lambda _: "")
    small = size == "micro"
    rows = []
    for what, prompts in workloads(size):
        ours, theirs = fastest(
            partial(
                engine.sample, SamplingRequest(prompts, [SAMPLES] * len(prompts), SamplingOptions(NEW_TOKENS, 1.0), 0)
            ),
            partial(generate, model, prompts),
            repeats=3 if small else 2,
            warm=small,
            clock=clock_of(device),
        )
        rows.append(comparison("sampling", what, ours, theirs, len(prompts) * SAMPLES * NEW_TOKENS))
    return rows


def workloads(size: str) -> Iterator[tuple[str, list[list[int]]]]:
    """A name and random prompts for each length."""
    count = QUESTIONS.get(size, 4)
    for length in PROMPT_LENGTHS:
        rng = np.random.default_rng(length)
        prompts = rng.integers(UNKNOWN + 1, SIZES[size].vocabulary, size=(count, length)).tolist()
        yield f"{size}, {count} prompts of {length} tokens x {SAMPLES}, {NEW_TOKENS} new tokens", prompts


def generate(model: Any, prompts: list[list[int]]) -> None:
    """What transformers offers for the same work."""
    ids = torch.tensor(prompts, device=model.device)
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            num_return_sequences=SAMPLES,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=END,
            pad_token_id=PAD,
            top_k=0,
        )
