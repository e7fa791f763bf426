"""`python twins_memory.py AGENTS [RANK]`: what LoRA twins on a random 26M Llama hold after a few training steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.models.lora import attach_lora

SHAPE: dict[str, Any] = {
    "hidden_size": 512, "num_hidden_layers": 7, "num_attention_heads": 8, "intermediate_size": 1408,
    "vocab_size": 8192, "tie_word_embeddings": True,
}  # fmt: skip
TURNS, PROMPT, COMPLETION, STEPS = 8, 32, 16, 3


def process(field: str) -> int:
    """Bytes of this process, `VmRSS` now or `VmHWM` at its largest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(agents: int, rank: int) -> dict[str, int]:
    settings = UpdateSettings(adapter="lora", lora_rank=rank)
    before = process("VmRSS")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    names = [f"twin.{index}" for index in range(agents)]
    views = attach_lora(model, settings, names)
    learners = [
        GRPOLearner(view, name, settings, STEPS, COMPLETION, 1.0) for view, name in zip(views, names, strict=True)
    ]
    samples = [
        TrainingSample(tuple(range(5, 5 + PROMPT)), tuple(range(9, 9 + COMPLETION)), None, 1.0 - 2 * (index % 2))
        for index in range(TURNS)
    ]
    for step in range(1, STEPS + 1):  # by then the allocator asks for nothing more
        for learner in learners:
            assert learner.update(samples, step).gradient_norm > 0
    weights = {id(weight): weight for view in views for weight in view.parameters()}
    moments = [
        value
        for learner in learners
        for state in learner.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    return {
        "parameters": sum(weight.nbytes for weight in weights.values()),
        "optimizer": sum(moment.nbytes for moment in moments),
        "gradients": sum(weight.grad.nbytes for weight in weights.values() if weight.grad is not None),
        "process": before,
        "peak": process("VmHWM"),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
