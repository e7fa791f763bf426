"""Sampling against `generate`, side by side in one run: `python -m bench.engine`.

The same prompts, the same number of samples, the same length: every row is decoded to the limit by both. Only
the ratio means something on a machine that does other work as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ilr_bench.generation.base import SamplingOptions
from ilr_bench.generation.transformers_engine import TransformersEngine

PROMPTS, SAMPLES, NEW_TOKENS, VOCABULARY = 16, 8, 48, 128
REPEATS = 3
PROMPT_LENGTHS = (20, 200)


def measure() -> list[dict[str, Any]]:
    """One row per prompt length: seconds of either, their ratio, tokens per second of ours."""
    model = micro_sized_model()
    options = SamplingOptions(NEW_TOKENS, 1.0)
    rows = []
    for length in PROMPT_LENGTHS:
        rng = np.random.default_rng(length)
        prompts = [[int(token) for token in rng.integers(2, VOCABULARY, size=length)] for _ in range(PROMPTS)]
        engine = TransformersEngine(model, (), 0, lambda _: "")
        ours, theirs = side_by_side(
            lambda engine=engine, prompts=prompts: engine.sample(prompts, [SAMPLES] * PROMPTS, options, 0),
            lambda prompts=prompts: generate(model, prompts),
        )
        tokens = PROMPTS * SAMPLES * NEW_TOKENS
        rows.append(
            {
                "what": f"sampling, {PROMPTS} prompts of {length} tokens x {SAMPLES}, {NEW_TOKENS} new tokens",
                "ours": ours,
                "other": theirs,
                "ratio": theirs / ours,
                "tokens_per_second": tokens / ours,
            }
        )
    return rows


def micro_sized_model(seed: int = 0) -> Any:
    """A Llama of the micro profile's size with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=1024,
        )
        return LlamaForCausalLM(config).eval()


def generate(model: Any, prompts: list[list[int]]) -> None:
    """What transformers offers for the same work."""
    ids = torch.tensor(prompts)
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            num_return_sequences=SAMPLES,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=0,
            top_k=0,
        )


def side_by_side(ours: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Fastest seconds of each, taken alternately after one warm-up of both."""
    torch.set_num_threads(1)
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(REPEATS + 1):
        for call, seconds in zip((ours, other), times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def main() -> None:
    """Prints the table."""
    for row in measure():
        print(f"{row['what']}: {row['ours']:.3f} s, generate {row['other']:.3f} s, ratio {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
