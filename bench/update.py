"""The policy update against TRL's own trainer, both in one process.

The same turns, loss, optimizer and clipping; TRL gets them as the one padded batch that it would make of them.
"""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from bench.clock import fastest
from bench.results import BenchRow, comparison
from bench.shapes import SIZES, make_model, make_tokenizer
from bench.trl_step import make_trainer
from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner, TrainingSample

SIZE = "micro"
VOCABULARY = SIZES[SIZE].vocabulary
SAMPLES, SHORTEST, LONGEST = 8, 12, 48
BATCHES = {
    "sharing: 16 prompts of 24 tokens": (24,) * 16,
    "fusion: 16 prompts of 200 tokens": (200,) * 16,
    "both: 16 of 24 and 16 of 200 tokens": (24,) * 16 + (200,) * 16,
}


def time_update() -> list[BenchRow]:
    """One row per kind of batch, and one on what it costs to make a trainer."""
    rows = []
    for name, lengths in BATCHES.items():
        samples = make_turns(lengths)
        learner = GRPOLearner(make_model(SIZE), "A", UpdateSettings(), 10, LONGEST, 1.0)
        start = time.process_time()
        trainer = make_trainer(make_model(SIZE), make_tokenizer(SIZE), len(samples), SAMPLES, LONGEST)
        construction = time.process_time() - start
        ours, theirs = fastest(partial(learner.update, samples, 1), partial(trainer_step, trainer, samples))
        rows.append(comparison("update", f"{name} x {SAMPLES}", ours, theirs))
    model = make_model(SIZE)
    start = time.process_time()
    GRPOLearner(copy.deepcopy(model), "A", UpdateSettings(), 10, LONGEST, 1.0)
    return [*rows, comparison("update", "making an updater", time.process_time() - start, construction)]


def make_turns(prompt_lengths: tuple[int, ...]) -> list[TrainingSample]:
    """Random turns, a group of `SAMPLES` per prompt."""
    rng = np.random.default_rng(0)
    samples = []
    for length in prompt_lengths:
        prompt = tuple(int(token) for token in rng.integers(2, VOCABULARY, size=length))
        for _ in range(SAMPLES):
            size = int(rng.integers(SHORTEST, LONGEST + 1))
            completion = tuple(int(token) for token in rng.integers(2, VOCABULARY, size=size))
            logprobs = np.full(size, -np.log(VOCABULARY), dtype=np.float32)
            samples.append(TrainingSample(prompt, completion, logprobs, float(rng.normal())))
    return samples


def trainer_step(trainer: Any, samples: list[TrainingSample]) -> None:
    """TRL's loss on its own forward, backward, clipping and the optimizer's step."""
    prompt_ids, prompt_mask = _padded([sample.prompt_ids for sample in samples], "left")
    completion_ids, completion_mask = _padded([sample.completion_ids for sample in samples], "right")
    old = pad_sequence([torch.from_numpy(sample.logprobs) for sample in samples], batch_first=True)
    trainer.model.train()
    loss = trainer.compute_loss(
        trainer.model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "advantages": torch.tensor([sample.credit for sample in samples]),
            "old_per_token_logps": old,
            "num_items_in_batch": completion_mask.sum(),
        },
    )
    trainer.accelerator.backward(loss)
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


def _padded(rows: list[tuple[int, ...]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_side=side)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True, padding_side=side)
    return ids, mask
