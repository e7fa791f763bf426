"""How large a model is, and peak memory of one trial as a sum of terms that can be checked one by one; its disk too.

What is there for the whole run counts once: the interpreter with its libraries, weights, optimizer states. On top
comes the largest of the phases: sampling a stage (keys, values, logits) or an update (gradients, activations,
attention, logits of the largest micro-batch). No weights are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import StoreError
from ilr_bench.generation.engine import LARGEST_LOGITS, LOGITS_CHUNK, PLAIN_HEADS, VLLM_CACHE
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.files import read_json
from ilr_bench.study.cost.counts import (
    Turns,
    ability_turns,
    answer_turns,
    evaluated_benchmarks,
    ranking_turns,
    rounds,
    step_turns,
)

MIB, GIB = 2**20, 2**30
BASE = 830 * MIB
"""Python, torch, transformers, TRL, PEFT and lm-eval in one process before any model (measured, see the tests)."""
VLLM = 220 * MIB
"""vLLM's own libraries in the same process (measured on a CPU)."""
SLACK = 0.25
"""Of the largest phase: what the allocator holds beside what is in use. The peaks of whole runs are about that much
above the sum of the terms."""
FLOAT, HALF = 4, 2


@dataclass(frozen=True)
class Architecture:
    """The numbers of a decoder with gated layers (Llama, Qwen2 and their kin) that its costs follow from."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether input and output embeddings are the same weights."""
    biased: bool = False
    """Whether the projections to queries, keys and values have biases, as in Qwen2."""
    plain_head: bool = True
    """Whether its logits are its last linear layer's output and nothing else (`ilr_bench.generation.engine`)."""

    @property
    def query_size(self) -> int:
        """Width of all queries of a layer together."""
        return self.heads * self.head_size

    @property
    def key_size(self) -> int:
        """Width of all keys of a layer together; values are as wide."""
        return self.key_heads * self.head_size

    @property
    def parameters(self) -> int:
        """All weights. Exact for Llama and Qwen2; other families have a few norms more."""
        attention = 2 * self.hidden * (self.query_size + self.key_size)
        biases = (self.query_size + 2 * self.key_size) if self.biased else 0
        layer = attention + biases + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.embeddings * (1 if self.tied else 2) + self.hidden

    @property
    def embeddings(self) -> int:
        """Weights of one table of embeddings."""
        return self.vocabulary * self.hidden

    def lora_parameters(self, rank: int) -> int:
        """Weights of one adapter on every linear layer of the blocks."""
        ends = 2 * (self.hidden + self.query_size) + 2 * (self.hidden + self.key_size)
        return self.layers * rank * (ends + 3 * (self.hidden + self.intermediate))


FACTS = {
    "meta-llama/Llama-3.1-8B-Instruct": Architecture(4096, 32, 32, 8, 128, 14_336, 128_256, tied=False),
    "Qwen/Qwen2.5-7B-Instruct": Architecture(3584, 28, 28, 4, 128, 18_944, 152_064, tied=False, biased=True),
    "Qwen/Qwen2.5-14B-Instruct": Architecture(5120, 48, 40, 8, 128, 13_824, 152_064, tied=False, biased=True),
    "smollm2": Architecture(576, 30, 9, 3, 64, 1536, 49_152, tied=True),
    "gemma3-270m": Architecture(640, 18, 4, 1, 256, 2048, 262_144, tied=True, plain_head=False),
}
"""Models that can be priced before they are here, from the config.json that their publishers give."""


def architecture(model: str) -> Architecture | None:
    """The architecture behind a model's name or folder; None where nothing about it is here. Reads no weights."""
    folder = Path(model).expanduser()
    if model in FACTS and not folder.is_dir():
        return FACTS[model]
    # Brings numpy, which `--help` has no use for.
    from ilr_bench.models.micro.recipes import RECIPES

    if folder.is_dir():
        path = folder / "config.json"
    elif model in RECIPES:
        shape, biased = RECIPES[model].shape, RECIPES[model].family == "qwen2"
        width, heads = shape.hidden, shape.heads
        sizes = (width, shape.layers, heads, heads, width // heads, shape.intermediate, shape.vocabulary)
        return Architecture(*sizes, tied=True, biased=biased)
    elif model in MODELS:
        path = MODELS.get(model).folder() / "config.json"
    elif model.count("/") == 1:
        # Takes a moment to import, and registered models need none of it.
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(model, "config.json")
        path = Path(found if isinstance(found, str) else "")
    else:
        return None
    try:
        return from_config(read_json(path, ""))
    except StoreError:
        return None


def from_config(config: Mapping[str, Any]) -> Architecture | None:
    """From the content of a config.json; None where it describes another kind of model."""
    config = config.get("text_config", config)
    try:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return Architecture(
            hidden=hidden,
            layers=config["num_hidden_layers"],
            heads=heads,
            key_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or hidden // heads,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
            biased=config.get("model_type") == "qwen2" or bool(config.get("attention_bias")),
            plain_head=config.get("model_type") in PLAIN_HEADS,
        )
    except (KeyError, TypeError):
        return None


def architectures(models: Iterable[str]) -> list[Architecture] | None:
    """Of several models; None where the size of one is not known here."""
    found = [architecture(model) for model in models]
    known = [shape for shape in found if shape is not None]
    return known if len(known) == len(found) else None


@dataclass(frozen=True)
class LengthStats:
    """How long turns of a kind are: the longest prompt, and the mean completion, in tokens."""

    prompt: int
    tokens: float


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
    """Of vLLM, one per agent. On a CPU they stay in memory, on a GPU they are offloaded while agents train."""
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
        return self.host + self._terms(self.largest) + self.slack + self.vllm("cpu")

    @property
    def least(self) -> int:
        """What is needed however short the turns are: process, weights, optimizer states, gradients."""
        return self.host + self._gradients + self.vllm("cpu")

    @property
    def host(self) -> int:
        """Process, weights and optimizer states: what is left in the host's memory when other agents use the card."""
        return self.base + sum(self.resident.values())

    def vllm(self, device: str) -> int:
        """What vLLM's instances hold on a `cpu` or on `cuda`."""
        return self.copies + self.instances * VLLM_CACHE[device]

    def on_card(self, seen: bool) -> int:
        """Bytes that a GPU has to hold; unless lengths were `seen`, whatever the turns are like."""
        samples, trains = self.vllm("cuda"), self._gradients
        if seen:
            most = max((self._terms(phase) for phase in self.phases if phase != "update"), default=0)
            samples, trains = samples + int((1 + SLACK) * most), int((1 + SLACK) * self._terms("update"))
        return sum(self.resident.values()) + max(samples, trains)

    @property
    def _gradients(self) -> int:
        return self.phases.get("update", {}).get("gradients", 0)

    def _terms(self, phase: str) -> int:
        return sum(self.phases.get(phase, {}).values())


def trial_memory(
    config: RunConfig,
    lengths: LengthsByKind = MappingProxyType({}),
    samples: tuple[int, ...] = (),
    indices: Sequence[int] | None = None,
) -> Memory | None:
    """The terms of a trial; None where the size of one of its models is not known here.

    `lengths` as they were seen; `samples` by agent where they are not the configuration's; `indices` of the agents that
    are in memory, all of them unless given.
    """
    if config.sampling.engine == "tinker":
        return None  # a server's
    indices = range(len(config.models)) if indices is None else indices
    models = [config.models[index] for index in indices]
    shapes = architectures(models)
    if shapes is None:
        return None
    update, phases = config.update, dict[str, Mapping[str, int]]()
    served, lora = config.sampling.engine == "vllm", update.adapter == "lora"
    for index, shape in zip(indices, shapes, strict=True):
        n = samples[index] if samples else config.samples_of(index)
        # LoRA agents of one model sample a stage in the same batches.
        adapters = models.count(config.models[index]) if lora else 1
        for phase, terms in _phases(config, shape, lengths, n, adapters):
            if served and phase != "update":  # the rest is in vLLM's cache
                terms = {term: count for term, count in terms.items() if term.startswith("logits")}
            if sum(terms.values()) > sum(phases.get(phase, {}).values()):
                phases[phase] = terms
    weights, trained = sum(shape.parameters for shape in shapes), sum(_trained(config, shape) for shape in shapes)
    bases = dict(zip(models, shapes, strict=True)).values() if lora else shapes
    resident = {
        "weights": FLOAT * sum(shape.parameters for shape in bases),
        "adapters": FLOAT * trained if lora else 0,
        "reference policy": FLOAT * weights if update.beta and not lora else 0,
        "Adam's two moments": 2 * FLOAT * trained if config.training.steps else 0,
    }
    if not served:
        return Memory(BASE, resident, phases)
    return Memory(BASE + VLLM, resident, phases, len(shapes), (HALF if update.precision == "bf16" else FLOAT) * weights)


def alone_memory(config: RunConfig, lengths: LengthsByKind, samples: tuple[int, ...] = ()) -> tuple[Memory, ...]:
    """What each of `shared_groups` needs without the others; empty where a model's size is not known."""
    found = [trial_memory(config, lengths, samples, indices) for indices in shared_groups(config)]
    return tuple(memory for memory in found if memory is not None) if None not in found else ()


def shared_groups(config: RunConfig) -> list[list[int]]:
    """Indices of the agents by the weights that they have in common: LoRA agents of one model, else each alone."""
    models = config.models
    if config.update.adapter != "lora":
        return [[index] for index in range(len(models))]
    return [[index for index, other in enumerate(models) if other == model] for model in dict.fromkeys(models)]


def disk_bytes(config: RunConfig, keep: int = 1) -> int | None:
    """What a trial writes: checkpoints (those kept, the best, and the one being written) and its records."""
    shapes = architectures(config.models)
    if shapes is None:
        return None
    steps = config.training.steps
    saved = (keep + 2) * 3 * FLOAT * sum(_trained(config, shape) for shape in shapes) if steps else 0
    loads = [step_turns(config, config.samples_of(index)).values() for index in range(len(shapes))]
    records = steps * sum(turns.count * (200 + 4 * turns.limit) for load in loads for turns in load)
    answers = [answer_turns(config, benchmark, rows) for benchmark, rows in evaluated_benchmarks(config)]
    return saved + records + len(shapes) * sum(turns.count * (600 + 4 * turns.limit) for turns in answers)


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
    half, lora = config.update.precision == "bf16", config.update.adapter == "lora"
    tokens, layers, inputs = prompt_tokens + turn_tokens, shape.layers, 0.0
    if config.update.gradient_checkpointing:
        layers, inputs = 1, tokens * shape.layers * shape.hidden * FLOAT
    logits = turn_tokens * shape.vocabulary
    if shape.plain_head and logits >= LARGEST_LOGITS:
        logits = LOGITS_CHUNK
    return {
        "gradients": FLOAT * _trained(config, shape),
        "weights in half precision": HALF * shape.parameters if half else 0,
        "activations": int(inputs + tokens * layers * activations(shape, HALF if half else FLOAT, lora)),
        "attention scores": int(turn_tokens * layers * shape.heads * longest * 2 * FLOAT),
        # As the model gives them, as float, their logarithms, and their gradient.
        "logits": int(logits * (HALF + 3 * FLOAT if half else 3 * FLOAT)),
    }


def activations(shape: Architecture, width: int, lora: bool) -> int:
    """Bytes that one layer keeps of one token for the backward pass.

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


def _phases(
    config: RunConfig, shape: Architecture, lengths: LengthsByKind, samples: int, adapters: int
) -> Iterator[tuple[str, dict[str, int]]]:
    """The largest batches of one agent by phase; `adapters` agents sample a stage in the same batches."""
    evaluation, longest = config.evaluation, config.sampling.max_prompt_tokens

    def stats(kind: str, turns: Turns) -> LengthStats:
        return lengths.get(kind, LengthStats(longest, turns.limit))

    by_stage = step_turns(config, samples) if config.training.steps else {}
    for kind, turns in [("ranking", ranking_turns(config)), ("ability", ability_turns(config)), *by_stage.items()]:
        rows = min(turns.count * (adapters if kind in by_stage else 1), config.sampling.rows_per_call)
        prompts = -(-rows * turns.prompts // turns.count)
        yield kind, sampling(shape, rows, prompts, stats(kind, turns).prompt, turns.limit)
    for benchmark, count in evaluated_benchmarks(config):
        turns = answer_turns(config, benchmark, count)
        prompt = stats(f"evaluation/{benchmark.name}", turns).prompt
        rows = min(turns.count, evaluation.rows_per_call)
        if evaluation.batch_tokens is not None and not rounds(config):
            rows = max(1, min(rows, evaluation.batch_tokens // (prompt + turns.limit)))
        yield "evaluation", sampling(shape, rows, min(rows, count), prompt, turns.limit)
    if by_stage:
        # Micro-batches are sorted by the length of the prompts, so the longest turns are in one.
        trained = {stage: stats(stage, by_stage[stage]) for stage in config.discussion.trained}
        rows, tokens, prompt_tokens, context = config.update.rows_per_micro_batch, 0.0, 0, 0
        for stage, one in sorted(trained.items(), key=lambda item: -item[1].prompt):
            turns, taken = by_stage[stage], min(rows, by_stage[stage].count)
            prompt_tokens += -(-taken * turns.prompts // turns.count) * one.prompt
            tokens += taken * one.tokens
            context = max(context, one.prompt + turns.limit) if taken else context
            rows -= taken
        yield "update", update(config, shape, prompt_tokens, tokens, context)
