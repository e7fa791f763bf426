"""Stock GRPOTrainers that do an agent's part of a joint step: the same prompts, samples and lengths.

A trainer samples the answers to the sharing and to the fusion prompts through its own `training_step`, which computes
their loss and gradients as well, and takes one optimizer step on both. The analyses, which are not trained, come from
`generate` with the trainer's own settings.

Kinder to TRL than its `train()`: no data loader, no log, no scheduler, short prompts never padded to long ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from ilr_bench.core.config import UpdateSettings

Prompts = Sequence[Sequence[int]]


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
        self.analysis = tokenizer.pad(
            {"input_ids": [list(prompt) for prompt in analysis]}, padding_side="left", return_tensors="pt"
        ).to(trainer.model.device)

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
