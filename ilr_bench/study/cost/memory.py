"""Peak memory of one trial as a sum of terms that can be checked one by one; and what it leaves on the disk.

What is there for the whole run stands once: the interpreter with its libraries, weights, optimizer states. On top
comes the largest of the phases: sampling a stage (keys, values, logits) or an update (gradients, activations,
attention, logits of the largest micro-batch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ilr_bench.core.config import RunConfig, Stage
from ilr_bench.generation.engine import LARGEST_LOGITS, LOGITS_CHUNK, VLLM_CACHE
from ilr_bench.study.cost.architecture import Architecture, architecture
from ilr_bench.study.cost.counts import (
    TRAINED,
    Turns,
    ability_turns,
    answer_turns,
    evaluated_benchmarks,
    ranking_turns,
    rounds,
    step_turns,
)
from ilr_bench.study.plan import PlannedTrial

MIB = 2**20
BASE = 830 * MIB
"""Python, torch, transformers, TRL, PEFT and lm-eval in one process before any model (measured, see the tests)."""
VLLM = 220 * MIB
"""vLLM's own libraries in the same process (measured on a CPU)."""
SLACK = 0.25
"""Of the largest phase: what the allocator holds beside what is in use. The peaks of whole runs stand about that much
above the sum of the terms."""
FLOAT, HALF = 4, 2


@dataclass(frozen=True)
class LengthStats:
    """How long turns of a kind are."""

    prompt: int
    """Longest prompt in tokens."""
    tokens: float
    """Mean completion."""


LengthsByKind = Mapping[str, LengthStats]
"""`sharing`, `ranking`, `evaluation/NAME`, ... -> how long; a kind that is missing is as long as the settings allow."""


@dataclass(frozen=True)
class Memory:
    """Bytes by term."""

    base: int
    """Of the process, whatever it trains; never on a GPU."""
    resident: Mapping[str, int]
    """There from the first step to the last."""
    phases: Mapping[str, Mapping[str, int]]
    """Phase -> its terms; one phase at a time."""
    instances: int = 0
    """Of vLLM, one for every agent that it serves. On a CPU they stay, on a GPU they sleep while agents train."""
    copies: int = 0
    """Their copies of the weights."""

    @property
    def largest(self) -> str:
        """The phase that needs most; empty without any."""
        return max(self.phases, key=self._terms, default="")

    @property
    def slack(self) -> int:
        """What the allocator holds in vain."""
        return int(SLACK * self._terms(self.largest))

    @property
    def peak(self) -> int:
        """Resident memory of the process at its largest, on a machine without a GPU."""
        most = self._terms(self.largest) + self.slack
        return self.base + sum(self.resident.values()) + most + self.vllm("cpu")

    @property
    def least(self) -> int:
        """What is needed however short the turns are: process, weights, optimizer states, gradients."""
        return self.base + sum(self.resident.values()) + self._gradients + self.vllm("cpu")

    def vllm(self, device: str) -> int:
        """What vLLM's instances hold on a `cpu` or on `cuda`."""
        return self.copies + self.instances * VLLM_CACHE[device]

    def on_card(self, seen: bool) -> int:
        """Bytes that a GPU has to hold; unless lengths were `seen`, whatever the turns are like."""
        sampling_bytes = (
            max((self._terms(phase) for phase in self.phases if phase != "update"), default=0) if seen else 0
        )
        update_bytes = self._terms("update") if seen else self._gradients
        slack = SLACK if seen else 0
        most = max(
            sampling_bytes + int(slack * sampling_bytes) + self.vllm("cuda"), update_bytes + int(slack * update_bytes)
        )
        return sum(self.resident.values()) + most

    @property
    def _gradients(self) -> int:
        return self.phases.get("update", {}).get("gradients", 0)

    def _terms(self, phase: str) -> int:
        return sum(self.phases.get(phase, {}).values())


def peak_memory(trial: PlannedTrial) -> int:
    """Bytes that one trial needs at its largest, by its settings alone; 0 where a model's size is not known here."""
    needed = trial_memory(trial.config)
    return 0 if needed is None else needed.peak


def trial_memory(
    config: RunConfig,
    extents: LengthsByKind = MappingProxyType({}),
    samples: tuple[int, ...] = (),
    indices: Sequence[int] | None = None,
) -> Memory | None:
    """The terms of a trial; None where the size of one of its models is not known here.

    `extents` as they were seen; `samples` by agent where they are not the configuration's; `indices` of the agents that
    are in memory, all of them unless given.
    """
    indices = range(len(config.models)) if indices is None else indices
    models = [config.models[index] for index in indices]
    found = [architecture(model) for model in models]
    shapes = [shape for shape in found if shape is not None]
    if len(shapes) < len(found):
        return None
    phases: dict[str, Mapping[str, int]] = {}
    served = config.sampling.engine == "vllm"
    for index, shape in zip(indices, shapes, strict=True):
        n = samples[index] if samples else config.samples_of(index)
        # Twins sample a stage in the same batches.
        adapters = models.count(config.models[index]) if config.update.adapter == "lora" else 1
        for phase, every in _phases(config, shape, extents, n, adapters):
            terms = _drawing(every) if served and phase != "update" else every
            if sum(terms.values()) > sum(phases.get(phase, {}).values()):
                phases[phase] = terms
    resident = _resident(config, dict(zip(models, shapes, strict=True)), shapes)
    if not served:
        return Memory(BASE, resident, phases)
    copies = (HALF if config.update.precision == "bf16" else FLOAT) * sum(shape.parameters for shape in shapes)
    return Memory(BASE + VLLM, resident, phases, len(shapes), copies)


def alone_memory(config: RunConfig, extents: LengthsByKind, samples: tuple[int, ...] = ()) -> tuple[Memory, ...]:
    """What each agent needs without the others, twins on one base as one; empty where a model's size is not known."""
    found = [trial_memory(config, extents, samples, indices) for indices in shared_groups(config)]
    return tuple(memory for memory in found if memory is not None) if None not in found else ()


def _drawing(terms: Mapping[str, int]) -> dict[str, int]:
    """Of a batch that vLLM samples: the rest is in its cache."""
    return {term: count for term, count in terms.items() if term.startswith("logits")}


def disk_bytes(config: RunConfig, keep: int = 1) -> int | None:
    """What a trial writes: checkpoints (those kept, the best, and the one being written) and its records."""
    shapes = [architecture(model) for model in config.models]
    if any(shape is None for shape in shapes):
        return None
    weights = sum(_trained(config, shape) for shape in shapes if shape is not None)
    saved = (keep + 2) * weights * (FLOAT + 2 * FLOAT) if config.training.steps else 0
    turns = config.training.steps * sum(
        turns.count * (200 + 4 * turns.limit)
        for index in range(len(config.models))
        for turns in step_turns(config, config.samples_of(index)).values()
    )
    answers = sum(
        rows * config.evaluation.samples * (600 + 4 * answer_turns(config, benchmark, rows).limit)
        for benchmark, rows in evaluated_benchmarks(config)
    )
    return saved + turns + answers * len(config.models)


def sampling(shape: Architecture, rows: int, prompts: int, longest: int, limit: int) -> dict[str, int]:
    """A batch of `rows` completions of at most `limit` tokens, on `prompts` prompts of at most `longest` tokens."""
    pair = 2 * shape.key_size * shape.layers * FLOAT
    layer = shape.query_size + 2 * shape.key_size + 2 * shape.hidden + 2 * shape.intermediate
    return {
        "keys and values of prompts": prompts * longest * pair,
        "keys and values of turns": rows * limit * pair,
        # Logits, log-probabilities, and the distribution and its running sum in double precision.
        "logits of one token each": rows * shape.vocabulary * (2 * FLOAT + 2 * 2 * FLOAT),
        # One layer's activations while prompts are read, or one layer's scores while a token is added.
        "one layer": max(prompts * longest * layer * FLOAT, 3 * rows * shape.heads * (longest + limit) * FLOAT),
    }


def update(
    config: RunConfig, shape: Architecture, prompt_tokens: float, turn_tokens: float, longest: float
) -> dict[str, int]:
    """One micro-batch: `turn_tokens` tokens of turns behind `prompt_tokens` tokens of different prompts.

    `longest`: tokens that a turn's last token sees.
    """
    half = config.update.precision == "bf16"
    width = HALF if half else FLOAT
    trained = _trained(config, shape)
    kept = activations(shape, width, config.update.adapter == "lora")
    scores = shape.heads * longest * 2 * FLOAT
    layers = shape.layers
    tokens = prompt_tokens + turn_tokens
    logits = turn_tokens * shape.vocabulary
    if shape.plain_head and logits >= LARGEST_LOGITS:
        logits = LOGITS_CHUNK
    if config.update.gradient_checkpointing:
        stays, layers = tokens * shape.layers * shape.hidden * FLOAT, 1
    else:
        stays = 0.0
    return {
        "gradients": FLOAT * trained,
        "weights in half precision": HALF * shape.parameters if half else 0,
        "activations": int(stays + tokens * layers * kept),
        "attention scores": int(turn_tokens * layers * scores),
        # As the model gives them, as float, their logarithms, and their gradient.
        "logits": int(logits * (HALF + 3 * FLOAT if half else 3 * FLOAT)),
    }


def activations(shape: Architecture, width: int, lora: bool) -> int:
    """Bytes that one layer keeps of one token for the way back.

    Two norms keep their input, its normalised form and their output in single precision; attention keeps queries,
    keys and values twice (as they come, and arranged by prompt) and its output; the gated layer keeps four vectors.
    """
    hidden, query, key, middle = shape.hidden, shape.query_size, shape.key_size, shape.intermediate
    norms = 6 * hidden * FLOAT + (2 * hidden * width if width != FLOAT else 0)
    inside = (2 * (query + 2 * key) + query + 4 * middle) * width
    # Each of the seven adapters keeps its input in the precision that it computes in.
    adapters = (5 * hidden + query + middle) * width if lora else 0
    return norms + inside + adapters


def _trained(config: RunConfig, shape: Architecture) -> int:
    return shape.lora_parameters(config.update.lora_rank) if config.update.adapter == "lora" else shape.parameters


def shared_groups(config: RunConfig) -> list[list[int]]:
    """Places of the agents by the weights that they share: LoRA agents of one model, else each alone."""
    if config.update.adapter != "lora":
        return [[index] for index in range(len(config.models))]
    return [
        [index for index, other in enumerate(config.models) if other == model] for model in dict.fromkeys(config.models)
    ]


def _resident(config: RunConfig, by_model: Mapping[str, Architecture], shapes: list[Architecture]) -> dict[str, int]:
    trains = config.training.steps > 0
    lora = config.update.adapter == "lora"
    bases = by_model.values() if lora else shapes
    trained = sum(_trained(config, shape) for shape in shapes)
    reference = bool(config.update.beta) and not lora
    return {
        "weights": FLOAT * sum(shape.parameters for shape in bases),
        "adapters": FLOAT * trained if lora else 0,
        "reference policy": FLOAT * sum(shape.parameters for shape in shapes) if reference else 0,
        "Adam's two moments": 2 * FLOAT * trained if trains else 0,
    }


def _phases(
    config: RunConfig, shape: Architecture, extents: LengthsByKind, samples: int, adapters: int
) -> list[tuple[str, dict[str, int]]]:
    sampled, evaluation, longest = config.sampling, config.evaluation, config.sampling.max_prompt_tokens

    def extent(kind: str, limit: int) -> LengthStats:
        return extents.get(kind, LengthStats(longest, limit))

    turns_by_stage = step_turns(config, samples) if config.training.steps else {}
    turns = [("ranking", ranking_turns(config)), ("ability", ability_turns(config)), *turns_by_stage.items()]
    phases = []
    for kind, asked in turns:
        rows = min(asked.count * (adapters if kind in turns_by_stage else 1), sampled.rows_per_call)
        prompts = -(-rows * asked.prompts // asked.count)
        phases.append((kind, sampling(shape, rows, prompts, extent(kind, asked.limit).prompt, asked.limit)))
    for benchmark, count in evaluated_benchmarks(config):
        asked = answer_turns(config, benchmark, count)
        longest_prompt = extent(f"evaluation/{benchmark.name}", asked.limit).prompt
        rows = min(asked.count, evaluation.rows_per_call)
        if evaluation.batch_tokens is not None and not rounds(config):
            rows = max(1, min(rows, evaluation.batch_tokens // (longest_prompt + asked.limit)))
        prompts = min(rows, count)
        phases.append(("evaluation", sampling(shape, rows, prompts, longest_prompt, asked.limit)))
    if turns_by_stage:
        phases.append(("update", _largest_update(config, shape, turns_by_stage, extent)))
    return phases


def _largest_update(
    config: RunConfig,
    shape: Architecture,
    turns_by_stage: Mapping[Stage, Turns],
    extent: Callable[[str, int], LengthStats],
) -> dict[str, int]:
    """Turns are laid together by the length of their prompts, so the longest ones share a micro-batch."""
    capacity = config.update.rows_per_micro_batch
    stages = sorted(TRAINED[config.discussion.trained_turns], key=lambda stage: -extent(stage, 0).prompt)
    prompts = tokens = longest = 0.0
    rows = 0
    for stage in stages:
        turns, limit = turns_by_stage[stage], turns_by_stage[stage].limit
        taken = min(capacity - rows, turns.count)
        stats = extent(stage, limit)
        prompts += -(-taken * turns.prompts // turns.count) * stats.prompt
        tokens += taken * stats.tokens
        longest = max(longest, stats.prompt + limit) if taken else longest
        rows += taken
    return update(config, shape, prompts, tokens, longest)
