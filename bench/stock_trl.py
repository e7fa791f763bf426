"""Stock GRPOTrainers: an agent's part of a joint step by one, and its loss on batches that our update gets as well.

A trainer samples the answers to the sharing and to the fusion prompts through its own `training_step`, which computes
their loss and gradients as well, and takes one optimizer step on both. The analyses, which are not trained, come from
`generate` with the trainer's own settings. For an update alone it gets the same turns as the one padded batch that it
would make of them, with the same loss, optimizer and clipping.

Kinder to TRL than its `train()`: no data loader, no log, no scheduler, short prompts never padded to long ones.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from bench.clock import fastest
from bench.results import BenchRow, comparison
from bench.shapes import SIZES, make_model, make_tokenizer
from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample

Prompts = Sequence[Sequence[int]]
SIZE = "micro"
VOCABULARY = SIZES[SIZE].vocabulary
SAMPLES, SHORTEST, LONGEST = 8, 12, 48
BATCHES = {
    "sharing: 16 prompts of 24 tokens": (24,) * 16,
    "fusion: 16 prompts of 200 tokens": (200,) * 16,
    "both: 16 of 24 and 16 of 200 tokens": (24,) * 16 + (200,) * 16,
}


def make_trainer(
    model: Any, tokenizer: Any, rows: int, samples: int, new_tokens: int, pieces: int = 1, half: bool = False
) -> Any:
    """TRL's trainer as it is, for optimizer steps on two sets of prompts, `samples` answers each.

    A set's answers are sampled in one call and trained in `pieces` batches of `rows` answers. Every answer is
    `new_tokens` long, since the end token is not sampled before.
    """
    settings = UpdateSettings()
    arguments = GRPOConfig(
        output_dir=tempfile.gettempdir(),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=2 * pieces,
        steps_per_generation=pieces,
        num_generations=samples,
        max_completion_length=new_tokens,
        generation_kwargs={"min_new_tokens": new_tokens},
        learning_rate=settings.learning_rate,
        max_grad_norm=settings.max_grad_norm,
        bf16=half,
        gradient_checkpointing=False,
        report_to=[],
        use_cpu=model.device.type == "cpu",
    )
    trainer = GRPOTrainer(
        model,
        reward_funcs=varied_reward,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": ["w3"]}),
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 2 * pieces
    return trainer


def varied_reward(completions: list[str], **_: Any) -> list[float | None]:
    """Costs nothing, and no group is without a signal."""
    return [float(index % 2) for index in range(len(completions))]


class StockTrainer:
    """One agent's trainer and what it is asked."""

    def __init__(self, trainer: Any, tokenizer: Any, sharing: Prompts, analysis: Prompts, fusion: Prompts) -> None:
        self.trainer = trainer
        self.sharing, self.fusion = (self._rows(prompts, tokenizer) for prompts in (sharing, fusion))
        ids, mask = (part.to(trainer.model.device) for part in _padded(analysis, "left"))
        self.analysis = {"input_ids": ids, "attention_mask": mask}

    def step(self) -> int:
        """Sharing, analysis, fusion, update; returns the number of sampled tokens."""
        trainer = self.trainer
        before = int(trainer.state.num_input_tokens_seen)
        model = trainer.model
        model.train()
        pieces = trainer.args.steps_per_generation
        for _ in range(pieces):
            trainer.training_step(model, self.sharing, None)
        with torch.no_grad():
            model.generate(**self.analysis, generation_config=trainer.generation_config)
        for _ in range(pieces):
            trainer.training_step(model, self.fusion, None)
        trainer.accelerator.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return int(trainer.state.num_input_tokens_seen) - before

    def _rows(self, prompts: Prompts, tokenizer: Any) -> list[dict[str, str]]:
        """Prompts as its data loader hands them over: as text, each repeated for its answers."""
        texts = [tokenizer.decode(list(prompt)) for prompt in prompts]
        if tokenizer(text=texts)["input_ids"] != [list(prompt) for prompt in prompts]:
            raise AssertionError("the trainer would read other prompts than our agents did")
        return [{"prompt": text} for text in texts for _ in range(self.trainer.num_generations)]


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


def _padded(rows: Prompts, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_side=side)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True, padding_side=side)
    return ids, mask
