"""The policy update against TRL's own trainer, side by side in one process.

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
from bench.results import Row, comparison
from bench.shapes import SIZES, make_model, make_tokenizer
from bench.trl_step import make_trainer
from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import PolicyUpdater, TrainedTurn

SIZE = "micro"
VOCABULARY = SIZES[SIZE].vocabulary
SAMPLES, SHORTEST, LONGEST = 8, 12, 48
BATCHES = {
    "sharing: 16 prompts of 24 tokens": (24,) * 16,
    "fusion: 16 prompts of 200 tokens": (200,) * 16,
    "both: 16 of 24 and 16 of 200 tokens": (24,) * 16 + (200,) * 16,
}


def measure() -> list[Row]:
    """One row per kind of batch, and one on what it costs to make a trainer."""
    rows = []
    for name, lengths in BATCHES.items():
        turns = make_turns(lengths)
        updater = PolicyUpdater(make_model(SIZE), "A", UpdateSettings(), 10, LONGEST, 1.0)
        start = time.process_time()
        trainer = make_trainer(make_model(SIZE), make_tokenizer(SIZE), len(turns), SAMPLES, LONGEST)
        construction = time.process_time() - start
        ours, theirs = fastest(partial(updater.update, turns, 1), partial(trainer_step, trainer, turns))
        rows.append(comparison("update", f"{name} x {SAMPLES}", ours, theirs))
    model = make_model(SIZE)
    start = time.process_time()
    PolicyUpdater(copy.deepcopy(model), "A", UpdateSettings(), 10, LONGEST, 1.0)
    return [*rows, comparison("update", "making an updater", time.process_time() - start, construction)]


def make_turns(prompt_lengths: tuple[int, ...]) -> list[TrainedTurn]:
    """Random turns, a group of `SAMPLES` per prompt."""
    rng = np.random.default_rng(0)
    turns = []
    for length in prompt_lengths:
        prompt = tuple(int(token) for token in rng.integers(2, VOCABULARY, size=length))
        for _ in range(SAMPLES):
            size = int(rng.integers(SHORTEST, LONGEST + 1))
            completion = tuple(int(token) for token in rng.integers(2, VOCABULARY, size=size))
            logprobs = np.full(size, -np.log(VOCABULARY), dtype=np.float32)
            turns.append(TrainedTurn(prompt, completion, logprobs, float(rng.normal())))
    return turns


def trainer_step(trainer: Any, turns: list[TrainedTurn]) -> None:
    """TRL's loss on its own forward, backward, clipping and the optimizer's step."""
    prompt_ids, prompt_mask = _padded([turn.prompt_ids for turn in turns], "left")
    completion_ids, completion_mask = _padded([turn.completion_ids for turn in turns], "right")
    old = pad_sequence([torch.from_numpy(turn.logprobs) for turn in turns], batch_first=True)
    trainer.model.train()
    loss = trainer.compute_loss(
        trainer.model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "advantages": torch.tensor([turn.advantage for turn in turns]),
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
