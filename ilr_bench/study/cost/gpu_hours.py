"""What trials of large models cost in GPU-hours: operations by formula, over the speed that published trainers reach.

    sampling = 2 P tokens + attention      prompts are read once for all answers to them
    update   = 6 P tokens + attention      of the turns that are trained, with their prompts
    hours    = (sampling / (peak x e_s) + update / (peak x e_u)) / 3600

P are the weights that multiply: all but an input embedding of its own. Attention is 4 x layers x width x tokens seen
for each token, three times that in the update. Nothing here was measured by us: no GPU of that size was at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilr_bench.core.config import RunConfig
from ilr_bench.study.cost.architecture import Architecture, architecture
from ilr_bench.study.cost.counts import TRAINED, measurements, workload

PEAK = 989e12
"""Operations per second of an H100 SXM in bf16, without sparsity (its data sheet)."""
GPU_MEMORY = 80 * 10**9
USABLE = 0.9
"""Share of a GPU's memory that a trainer can fill."""
STATE_BYTES = 16
"""Per weight in training: fp32 weight and gradient, and Adam's two moments."""
LARGE = 1_000_000_000
"""Weights from which a model is priced in GPU-hours instead of being timed here."""
QUESTION = 200
"""Tokens of a question with its instructions, in the chat template."""


@dataclass(frozen=True)
class Assumptions:
    """One end of the range."""

    update: float
    """Share of the peak that an update reaches (e_u)."""
    sampling_fraction: float
    """Share of a GRPO step's time that goes to sampling; it fixes e_s."""
    length: float
    """Mean answer as a share of its limit."""

    @property
    def sampling(self) -> float:
        """Share of the peak that sampling reaches (e_s): in a GRPO step, 2 P tokens sampled face 6 P tokens updated."""
        return self.update / 3 * (1 - self.sampling_fraction) / self.sampling_fraction


CHEAP = Assumptions(update=0.37, sampling_fraction=0.50, length=1 / 3)
DEAR = Assumptions(update=0.22, sampling_fraction=0.77, length=1.0)
"""Published trainers on H100s reach 22 to 37 % of the peak in updates and sample for 50 to 77 % of a step. Between
these ends lies what NVIDIA states for NeMo RL 0.4 (docs/about/performance-summary.md there): 97.7 s for a step of
Llama-3.1-8B with 2,048 answers of 1,060 tokens on 16 H100s; the formula, with
prompts of 200 tokens, gives 35 to 127 s."""


@dataclass(frozen=True)
class Operations:
    """Floating-point operations."""

    sampling: float
    update: float

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.sampling + other.sampling, self.update + other.update)

    def hours(self, assumed: Assumptions) -> float:
        """On one GPU."""
        return (self.sampling / assumed.sampling + self.update / assumed.update) / PEAK / 3600


@dataclass(frozen=True)
class GpuEstimate:
    """One trial."""

    hours: tuple[float, float]
    tokens: tuple[float, float]
    """Sampled by all agents in training and evaluation, under either end's assumptions."""
    gpus: tuple[int, ...]
    """By agent, GPUs that hold its weights, gradients and Adam's moments."""


def estimate(config: RunConfig, samples: tuple[int, ...] = ()) -> GpuEstimate | None:
    """Prices a trial; None where the size of one of its models is not known here.

    `samples`: answers per question by agent, where they are not the configuration's.
    """
    shapes = [architecture(model) for model in config.models]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    counts = samples or tuple(config.samples_of(agent) for agent in range(len(known)))
    ends = [_total(config, known, counts, assumed) for assumed in (CHEAP, DEAR)]
    low, high = (operations.hours(assumed) for (operations, _), assumed in zip(ends, (CHEAP, DEAR), strict=True))
    return GpuEstimate((low, high), (ends[0][1], ends[1][1]), tuple(gpus_for(shape) for shape in known))


def gpus_for(shape: Architecture) -> int:
    """GPUs that hold a model in training, its activations and the copy that samples apart."""
    return math.ceil(STATE_BYTES * shape.parameters / (USABLE * GPU_MEMORY))


def is_large(config: RunConfig) -> bool:
    """Whether a trial's models are priced instead of timed."""
    shapes = [architecture(model) for model in config.models]
    return any(shape is not None and shape.parameters >= LARGE for shape in shapes)


def sampled(shape: Architecture, turns: int, tokens: float, prompts: int, prompt: float) -> Operations:
    """`turns` completions of `tokens` tokens on `prompts` prompts of `prompt` tokens."""
    reading = prompts * prompt * (2 * multiplied(shape) + attention(shape, prompt / 2))
    writing = turns * tokens * (2 * multiplied(shape) + attention(shape, prompt + tokens / 2))
    return Operations(reading + writing, 0.0)


def updated(shape: Architecture, turns: int, tokens: float, prompts: int, prompt: float) -> Operations:
    """The same turns, trained once."""
    return Operations(0.0, 3 * sampled(shape, turns, tokens, prompts, prompt).sampling)


def multiplied(shape: Architecture) -> int:
    """Weights that every token is multiplied with (P)."""
    return shape.parameters - (0 if shape.tied else shape.embeddings)


def attention(shape: Architecture, seen: float) -> float:
    """Operations of all layers for one token that sees `seen` others."""
    return 4 * shape.layers * shape.query_size * seen


def _total(
    config: RunConfig, shapes: Sequence[Architecture], samples: tuple[int, ...], assumed: Assumptions
) -> tuple[Operations, float]:
    """Operations, and sampled tokens."""
    total, tokens = Operations(0.0, 0.0), 0.0
    prompts = _prompts(config, len(shapes), assumed.length)
    untrained = [load for agent in range(len(shapes)) for load in measurements(config, agent)]
    for load in [*untrained, *workload(config, samples)]:
        turns, mean = load.turns, assumed.length * load.turns.limit
        asked = shapes[load.agent], turns.count, mean, turns.prompts, prompts.get(load.kind, QUESTION)
        total += sampled(*asked)
        tokens += turns.count * mean
        if load.kind in TRAINED[config.discussion.trained_turns]:
            total += updated(*asked)
    return total, tokens


def _prompts(config: RunConfig, agents: int, length: float) -> dict[str, float]:
    """Tokens of prompts that are longer than a question: with others, or ideas and analyses of all who are heard."""
    heard = agents if config.discussion.hears == "peers" else 1
    idea, analysis = length * config.sampling.max_new_tokens, length * config.sampling.max_analysis_tokens
    longest = config.sampling.max_prompt_tokens
    return {
        "ranking": config.difficulty.batch_size * QUESTION,
        "analysis": min(longest, QUESTION + heard * idea),
        "fusion": min(longest, QUESTION + heard * (idea + analysis)),
    }
