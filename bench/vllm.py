"""Sampling by vLLM against bare vLLM and our own engine, in one process: `python -m bench.vllm [--sizes micro,26M]`.

Bare vLLM gets the same prompts and samples as `LLM.generate` takes them, without log-probabilities and without a seed
for every row, and forgets its cached prompts before every call, as the engine does.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.clock import now, side_by_side
from bench.rows import Row, comparison
from bench.shapes import PAD, SIZES, UNKNOWN, make_model
from ilr_bench.generation.base import Request, SamplingOptions
from ilr_bench.generation.sizes import VLLM_CACHE
from ilr_bench.generation.transformers_engine import TransformersEngine
from ilr_bench.generation.vllm_engine import BLOCK, VllmEngine

NEW_TOKENS = 48
PROMPT_LENGTHS = (35, 200)
"""Tokens of a question asked alone, and of a dialogue."""
QUESTIONS = {"micro": 16, "26M": 8}
"""Prompts in one call; larger models get 4."""


def measure(size: str, samples: int = 8, repeats: int = 3, device: str = "cpu") -> list[Row]:
    """Two rows per prompt length, against bare vLLM and against the transformers engine, and what a handover takes."""
    model = make_model(size, device=device)
    count = QUESTIONS.get(size, 4)
    options = SamplingOptions(NEW_TOKENS, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        engine = VllmEngine(model, Path(folder), (), lambda _: "")
        own = TransformersEngine(model, (), PAD, lambda _: "")
        engine.sample(Request([[UNKNOWN + 1]], [1], options, 0))
        bare = start(folder, device)
        rows = []
        for length in PROMPT_LENGTHS:
            rng = np.random.default_rng(length)
            prompts = rng.integers(UNKNOWN + 1, SIZES[size].vocabulary, size=(count, length)).tolist()
            ours, theirs, plain = side_by_side(
                partial(engine.sample, prompts, [samples] * count, options, 0),
                partial(generate, bare, prompts, samples),
                partial(own.sample, prompts, [samples] * count, options, 0),
                repeats=repeats,
                device=device,
            )
            what = f"{size}, {count} prompts of {length} tokens x {samples}, {NEW_TOKENS} new tokens"
            sampled = count * samples * NEW_TOKENS
            rows += [
                comparison(f"vLLM engine against bare vLLM, {what}", ours, theirs, sampled),
                comparison(f"vLLM engine against the transformers engine, {what}", ours, plain, sampled),
            ]
        rows.append({"what": f"handing over the weights, {size}", "ours": handover(engine, model, device)})
    return rows


def start(folder: str, device: str) -> Any:
    """An instance as anyone would start it for this model."""
    from vllm import LLM

    return LLM(
        model=folder,
        skip_tokenizer_init=True,
        load_format="dummy",
        dtype="float32",
        enforce_eager=device == "cpu",
        block_size=BLOCK,
        kv_cache_memory_bytes=VLLM_CACHE[device],
    )


def generate(bare: Any, prompts: list[list[int]], samples: int) -> None:
    """What vLLM offers for the same work."""
    from vllm import SamplingParams, TokensPrompt

    bare.reset_prefix_cache()
    asked = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
    params = SamplingParams(n=samples, temperature=1.0, max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False)
    bare.generate(asked, params, use_tqdm=False)


def handover(engine: VllmEngine, model: Any, device: str) -> float:
    """Seconds from changed weights to an engine that is ready: those of one token more than without a change."""
    options = SamplingOptions(1, 1.0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(10):
        if repeat % 2:
            with torch.no_grad():
                next(model.parameters()).add_(0.0)
        before = now(device)
        engine.sample(Request([[UNKNOWN + 1]], [1], options, 0))
        seconds[repeat % 2].append(now(device) - before)
    return min(seconds[1]) - min(seconds[0])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="micro,26M")
    for size in parser.parse_args().sizes.split(","):
        for row in measure(size):
            if "other" in row:
                print(f"{row['what']}: {row['ours']:.3f} s, other {row['other']:.3f} s, ratio {row['ratio']:.2f}")
            else:
                print(f"{row['what']}: {row['ours']:.3f} s")


if __name__ == "__main__":
    main()
