"""Sampling against `generate`, side by side in one run: `python -m bench.engine [--sizes micro,26M]`.

The same prompts, the same number of samples, the same length: every row is decoded to the limit by both.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.clock import side_by_side
from bench.rows import Row, comparison
from bench.shapes import END, PAD, SIZES, UNKNOWN, make_model
from ilr_bench.generation.base import SamplingOptions
from ilr_bench.generation.transformers_engine import TransformersEngine

NEW_TOKENS = 48
PROMPT_LENGTHS = (35, 200)
"""Tokens of a question asked alone, and of a dialogue."""
QUESTIONS = {"micro": 16, "26M": 8}
"""Prompts in one call; larger models get 4."""


def measure(size: str, samples: int = 8, repeats: int = 3, device: str = "cpu", warm: bool = True) -> list[Row]:
    """One row per prompt length: seconds of either, their ratio, tokens per second of ours."""
    model = make_model(size, device=device)
    engine = TransformersEngine(model, (), PAD, lambda _: "")
    options = SamplingOptions(NEW_TOKENS, 1.0)
    count = QUESTIONS.get(size, 4)
    rows = []
    for length in PROMPT_LENGTHS:
        rng = np.random.default_rng(length)
        prompts = rng.integers(UNKNOWN + 1, SIZES[size].vocabulary, size=(count, length)).tolist()
        ours, theirs = side_by_side(
            partial(engine.sample, prompts, [samples] * count, options, 0),
            partial(generate, model, prompts, samples),
            repeats=repeats,
            warm=warm,
            device=device,
        )
        what = f"{size}, {count} prompts of {length} tokens x {samples}, {NEW_TOKENS} new tokens"
        rows.append(comparison(what, ours, theirs, count * samples * NEW_TOKENS))
    return rows


def generate(model: Any, prompts: list[list[int]], samples: int) -> None:
    """What transformers offers for the same work."""
    ids = torch.tensor(prompts, device=model.device)
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            num_return_sequences=samples,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=END,
            pad_token_id=PAD,
            top_k=0,
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="micro")
    for size in parser.parse_args().sizes.split(","):
        for row in measure(size):
            print(f"{row['what']}: {row['ours']:.3f} s, generate {row['other']:.3f} s, ratio {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
