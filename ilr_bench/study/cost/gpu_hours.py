"""What trials of large models cost in GPU-hours: operations by formula, over the speed that published trainers reach.

    sampling = 2 P tokens + attention      prompts are read once for all answers to them
    update   = 6 P tokens + attention      of the turns that are trained, with their prompts
    hours    = (sampling / (peak x e_s) + update / (peak x e_u)) / 3600

P are the weights that multiply: all but an input embedding of its own. Attention is 4 x layers x width x tokens seen
for each token, three times that in the update. Nothing here was measured by us: no GPU of that size was at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ilr_bench.core.config import RunConfig
from ilr_bench.study.cost.counts import measurements, workload
from ilr_bench.study.cost.memory import Architecture, architecture, architectures

PEAK = 989e12
"""Operations per second of an H100 SXM in bf16, without sparsity (its data sheet)."""
GPU_MEMORY = 80 * 10**9
USABLE = 0.9
"""Fraction of a GPU's memory that a trainer can fill."""
STATE_BYTES = 16
"""Per weight in training: fp32 weight and gradient, and Adam's two moments."""
LARGE = 1_000_000_000
"""Weights from which a model is priced in GPU-hours instead of being timed here."""
QUESTION = 200
"""Tokens of a question with its instructions, in the chat template."""


@dataclass(frozen=True)
class Assumptions:
    """One end of the range, in fractions."""

    update: float
    """Of the peak that an update reaches (e_u)."""
    sampling_fraction: float
    """Of a GRPO step's time that goes to sampling; it fixes e_s."""
    length: float
    """Of its limit that a mean answer takes."""

    def hours(self, sampling: float, update: float) -> float:
        """On one GPU, of operations; e_s follows from a GRPO step, where 2 P tokens sampled face 6 P updated."""
        sampling_speed = self.update / 3 * (1 - self.sampling_fraction) / self.sampling_fraction
        return (sampling / sampling_speed + update / self.update) / PEAK / 3600


CHEAP = Assumptions(update=0.37, sampling_fraction=0.50, length=1 / 3)
DEAR = Assumptions(update=0.22, sampling_fraction=0.77, length=1.0)
"""Published trainers on H100s reach 22 to 37 % of the peak in updates and sample for 50 to 77 % of a step. Between
these ends lies what NVIDIA states for NeMo RL 0.4 (docs/about/performance-summary.md there): 97.7 s for a step of
Llama-3.1-8B with 2,048 answers of 1,060 tokens on 16 H100s; the formula, with
prompts of 200 tokens, gives 35 to 127 s."""


@dataclass(frozen=True)
class GpuEstimate:
    """One trial, at either end: GPU-hours, and tokens that all agents sample in training and evaluation."""

    hours: tuple[float, float]
    tokens: tuple[float, float]
    gpus: tuple[int, ...]
    """By agent, GPUs that hold its weights, gradients and Adam's moments."""


def estimate(config: RunConfig, samples: tuple[int, ...] = ()) -> GpuEstimate | None:
    """Prices a trial; None where the size of one of its models is not known here.

    `samples`: answers per question by agent, where they are not the configuration's.
    """
    shapes = architectures(config.models)
    if shapes is None:
        return None
    agents = range(len(shapes))
    loads = [load for agent in agents for load in measurements(config, agent)]
    loads += workload(config, samples or tuple(config.samples_of(agent) for agent in agents))
    hours, tokens = [], []
    for end in (CHEAP, DEAR):
        prompts = _prompts(config, end.length)
        sampling = update = sampled = 0.0
        for load in loads:
            turns, mean = load.turns, end.length * load.turns.limit
            prompt = prompts.get(load.kind, QUESTION)
            done = operations(shapes[load.agent], turns.count, mean, turns.prompts, prompt)
            sampling, sampled = sampling + done, sampled + turns.count * mean
            if load.kind in config.discussion.trained:
                update += 3 * done
        hours.append(end.hours(sampling, update))
        tokens.append(sampled)
    return GpuEstimate((hours[0], hours[1]), (tokens[0], tokens[1]), tuple(map(gpus_for, shapes)))


def gpus_for(shape: Architecture) -> int:
    """GPUs that hold a model in training; its activations and the sampler's copy come on top."""
    return math.ceil(STATE_BYTES * shape.parameters / (USABLE * GPU_MEMORY))


def is_large(config: RunConfig) -> bool:
    """Whether a trial's models are priced instead of timed."""
    if config.sampling.engine == "tinker":
        return True
    shapes = [architecture(model) for model in config.models]
    return any(shape is not None and shape.parameters >= LARGE for shape in shapes)


def operations(shape: Architecture, turns: int, tokens: float, prompts: int, prompt: float) -> float:
    """Floating-point operations that sample `turns` completions of `tokens` tokens, on prompts of `prompt` tokens.

    To train them takes three times as many.
    """
    weights = shape.parameters - (0 if shape.tied else shape.embeddings)
    attention = 4 * shape.layers * shape.query_size  # per token that a token sees
    reading = prompts * prompt * (2 * weights + attention * prompt / 2)
    return reading + turns * tokens * (2 * weights + attention * (prompt + tokens / 2))


def _prompts(config: RunConfig, length: float) -> dict[str, float]:
    """Tokens of prompts that are longer than a question: with others, or ideas and analyses of all that are heard."""
    heard = len(config.models) if config.discussion.hears == "peers" else 1
    idea, analysis = length * config.sampling.max_new_tokens, length * config.sampling.max_analysis_tokens
    longest = config.sampling.max_prompt_tokens
    return {
        "ranking": config.difficulty.batch_size * QUESTION,
        "analysis": min(longest, QUESTION + heard * idea),
        "fusion": min(longest, QUESTION + heard * (idea + analysis)),
    }
