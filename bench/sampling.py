"""Sampling against `generate`, and by vLLM against bare vLLM and our own engine; all of a row in one process.

The same prompts, the same number of samples, the same length: every row is decoded to the limit by all. Bare vLLM gets
them as `LLM.generate` takes them, without log-probabilities and without a seed for every row, and forgets its cached
prompts before every call, as the engine does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.clock import clock_of, fastest
from bench.results import BenchRow, comparison
from bench.shapes import END, PAD, SIZES, UNKNOWN, make_model
from ilr_bench.generation.engine import VLLM_CACHE, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine

SAMPLES, NEW_TOKENS = 8, 48
PROMPT_LENGTHS = (35, 200)
"""Tokens of a question asked alone, and of a dialogue."""
QUESTIONS = {"micro": 16, "26M": 8}
"""Prompts in one call; larger models get 4."""


def time_sampling(size: str, device: str = "cpu") -> list[BenchRow]:
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


def generate(model: Any, prompts: list[list[int]], samples: int = SAMPLES, new_tokens: int = NEW_TOKENS) -> None:
    """What transformers offers for the same work: `samples` answers of `new_tokens` to each prompt."""
    ids = torch.tensor(prompts, device=model.device)
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            num_return_sequences=samples,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            eos_token_id=END,
            pad_token_id=PAD,
            top_k=0,
        )


def time_vllm(size: str, device: str = "cpu") -> list[BenchRow]:
    """Two rows per prompt length, against bare vLLM and against the transformers engine, and what a handover takes."""
    from ilr_bench.generation.vllm_engine import VllmEngine

    model = make_model(size, device=device)
    options = SamplingOptions(NEW_TOKENS, 1.0)
    rows: list[BenchRow] = []
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        engine = VllmEngine(model, Path(folder), (), lambda _: "")
        own = TransformersEngine(model, (), PAD, lambda _: "")
        engine.sample(SamplingRequest([[UNKNOWN + 1]], [1], options, 0))
        bare = start_vllm(folder, device)
        for what, prompts in workloads(size):
            request = SamplingRequest(prompts, [SAMPLES] * len(prompts), options, 0)
            ours, theirs, plain = fastest(
                partial(engine.sample, request),
                partial(generate_by_vllm, bare, prompts),
                partial(own.sample, request),
                repeats=3 if size == "micro" else 2,
                clock=clock_of(device),
            )
            sampled = len(prompts) * SAMPLES * NEW_TOKENS
            against = "vLLM engine against"
            rows.append(comparison("vllm", f"{against} bare vLLM, {what}", ours, theirs, sampled))
            rows.append(comparison("vllm", f"{against} the transformers engine, {what}", ours, plain, sampled))
        seconds = handover(engine, model, device)
    return [*rows, {"group": "vllm", "what": f"handing over the weights, {size}", "ours": seconds}]


def start_vllm(folder: str, device: str) -> Any:
    """An instance as anyone would start it for this model."""
    from vllm import LLM

    from ilr_bench.generation.vllm_engine import BLOCK

    return LLM(
        model=folder,
        skip_tokenizer_init=True,
        load_format="dummy",
        dtype="float32",
        enforce_eager=device == "cpu",
        block_size=BLOCK,
        kv_cache_memory_bytes=VLLM_CACHE[device],
    )


def generate_by_vllm(bare: Any, prompts: list[list[int]]) -> None:
    """What vLLM offers for the same work."""
    from vllm import SamplingParams, TokensPrompt

    bare.reset_prefix_cache()
    asked = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
    params = SamplingParams(n=SAMPLES, temperature=1.0, max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False)
    bare.generate(asked, params, use_tqdm=False)


def handover(engine: Any, model: Any, device: str) -> float:
    """Seconds from changed weights to an engine that is ready: those of one token more than without a change."""
    one_token = partial(engine.sample, SamplingRequest([[UNKNOWN + 1]], [1], SamplingOptions(1, 1.0), 0))
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(10):
        if repeat % 2:
            with torch.no_grad():
                next(model.parameters()).add_(0.0)
        seconds[repeat % 2].extend(fastest(one_token, repeats=1, warm=False, clock=clock_of(device)))
    return min(seconds[1]) - min(seconds[0])
