"""Every module that takes a device: on the device against the CPU, or against a plain forward pass on the device.

Small models in fp32, so that a difference is a mistake and not rounding. One check that fails does not stop the
others.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.gpu.runner import ResultRow, Setup
from bench.shapes import END, PAD, SIZES, make_model
from ilr_bench.core.config import CriticSettings, UpdateSettings
from ilr_bench.core.errors import IlrError
from ilr_bench.generation.engine import LOGITS_CHUNK, Completion, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.swapper import DeviceSwapper
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.logprobs import chunked_logprobs, logprobs_of
from ilr_bench.learner.ppo import PPOLearner
from ilr_bench.learner.samples import StepMetrics, TrainingSample
from ilr_bench.models.loading import load_weights, save_weights
from ilr_bench.models.lora import attach_lora
from ilr_bench.storage.recovery import retry_smaller_batch

SIZE, LARGE = "micro", "26M"
"""A vocabulary of 128, and one of 8,192, which is drawn from block by block."""
NEW_TOKENS = 16
Gradients = dict[str, torch.Tensor]


def check(setup: Setup) -> Iterator[ResultRow]:
    """A row per check: the largest difference, and the largest that is right."""
    device = setup.device
    for what, most, measure in CHECKS:
        row: ResultRow = {"what": what, "limit": most}
        try:
            value = measure(device)
            row |= {"value": value, "ok": value <= most}
        # What torch, transformers and our own code raise; the next check may well be fine.
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IlrError) as error:
            traceback.print_exc()
            row |= {"ok": False, "note": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
        yield row


def prompts(size: str, count: int = 6) -> list[list[int]]:
    """Random prompts of different lengths, two of which begin alike."""
    rng = np.random.default_rng(0)
    made = [rng.integers(3, SIZES[size].vocabulary, size=12 + 9 * index).tolist() for index in range(count)]
    return [*made[:-1], [*made[-2][:40], 5, 6, 7]]


def sampled(model: Any, size: str, temperature: float) -> list[list[Completion]]:
    """Three samples of each prompt."""
    asked = prompts(size)
    request = SamplingRequest(asked, [3] * len(asked), SamplingOptions(NEW_TOKENS, temperature), 7)
    return TransformersEngine(model, (END,), PAD, str).sample(request)


def turns(size: str, temperature: float = 1.0) -> list[TrainingSample]:
    """Turns sampled on the CPU, with advantages of either sign."""
    rng = np.random.default_rng(1)
    groups = sampled(make_model(size), size, temperature)
    return [
        TrainingSample(tuple(prompt), turn.token_ids, turn.logprobs, float(rng.normal()), question=str(index))
        for index, (prompt, group) in enumerate(zip(prompts(size), groups, strict=True))
        for turn in group
    ]


def plain_logprobs(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """(answer,) log-probabilities by one ordinary forward pass."""
    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return logprobs_of(logits, ids[0, len(prompt) :], 1.0)


def same_model(size: str, device: str) -> Any:
    """The CPU's weights, on the device."""
    return make_model(size).to(device)


def logprobs_against_forward(size: str, device: str) -> float:
    """Of sampled tokens, as the engine gives them, against a plain forward pass on the device."""
    model = same_model(size, device)
    differences = [
        np.abs(plain_logprobs(model, prompt, turn.token_ids).cpu().numpy() - turn.logprobs).max()
        for prompt, group in zip(prompts(size), sampled(model, size, 1.0), strict=True)
        for turn in group
    ]
    return float(max(differences))


def tokens_against_cpu(size: str, temperature: float, device: str) -> float:
    """Fraction of completions that are not the CPU's."""
    ours, theirs = sampled(same_model(size, device), size, temperature), sampled(make_model(size), size, temperature)
    pairs = [pair for groups in zip(ours, theirs, strict=True) for pair in zip(*groups, strict=True)]
    return float(np.mean([one.token_ids != other.token_ids for one, other in pairs]))


def learner_on(device: str, critic: bool = False, model: Any = None, **changes: Any) -> GRPOLearner:
    """A learner of the small model on the device."""
    model = same_model(SIZE, device) if model is None else model
    settings = dataclasses.replace(UpdateSettings(warmup_steps=0), **changes)
    if critic:
        torch.manual_seed(0)
        return PPOLearner(model, "A", settings, 10, NEW_TOKENS, 1.0, critic=CriticSettings(kind="value_head"))
    return GRPOLearner(model, "A", settings, 10, NEW_TOKENS, 1.0)


def gradients(learner: GRPOLearner, samples: Sequence[TrainingSample], step: int = 1) -> tuple[Gradients, StepMetrics]:
    """Of one update, as the optimizer gets them."""
    found: Gradients = {}

    def keep(*_: Any) -> None:
        named = dict(learner.model.named_parameters())
        found.update({name: one.grad.detach().cpu().clone() for name, one in named.items() if one.grad is not None})

    handle = learner.optimizer.optimizer.register_step_pre_hook(keep)
    metrics = learner.update(samples, step)
    handle.remove()
    return found, metrics


def distance(ours: Gradients, theirs: Gradients) -> float:
    """Largest difference of any weight's gradient, in parts of the largest gradient."""
    if ours.keys() != theirs.keys() or not ours:
        raise ValueError(f"gradients of {len(ours)} and {len(theirs)} tensors")
    largest = max(float(one.abs().max()) for one in theirs.values())
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) / largest


def update_against_cpu(device: str, critic: bool = False, **changes: Any) -> float:
    """Gradients of the same update on the device and on the CPU."""
    samples = turns(SIZE)
    on_device, _ = gradients(learner_on(device, critic, **changes), samples)
    on_cpu, _ = gradients(learner_on("cpu", critic, **changes), samples)
    return distance(on_device, on_cpu)


def half_precision(device: str) -> float:
    """Gradients under bf16 autocast against fp32, both on the device."""
    samples = turns(SIZE)
    half, _ = gradients(learner_on(device, precision="bf16"), samples)
    whole, _ = gradients(learner_on(device), samples)
    return distance(half, whole)


def checkpointing(device: str) -> float:
    """Gradients with layers computed again, against layers kept, in micro-batches of 4 rows and of all."""
    samples = turns(SIZE)
    again, _ = gradients(learner_on(device, gradient_checkpointing=True, rows_per_micro_batch=4), samples)
    kept, _ = gradients(learner_on(device), samples)
    return distance(again, kept)


def reference_policy(device: str) -> float:
    """The KL term against the starting policy before any step is zero: its value."""
    _, metrics = gradients(learner_on(device, beta=0.1), turns(SIZE))
    return abs(float(metrics.kl if metrics.kl is not None else np.inf))


def chunked(device: str) -> float:
    """Log-probabilities and gradients of logits in chunks, against all of them at once."""
    vocabulary = 2**16
    tokens = 5 * LOGITS_CHUNK // vocabulary // 2
    head = torch.nn.Linear(64, vocabulary, bias=False, device=device)
    hidden = torch.randn(tokens, 64, device=device, requires_grad=True)
    targets = torch.arange(tokens, device=device) * 17
    parts = chunked_logprobs(head, hidden, targets, 1.0, head.out_features)
    whole = logprobs_of(head(hidden), targets, 1.0)
    ours, theirs = (torch.autograd.grad(one.sum(), hidden)[0] for one in (parts, whole))
    return max(float((parts - whole).detach().abs().max()), float((ours - theirs).abs().max()))


def adapters_in_one_batch(device: str) -> float:
    """Log-probabilities of two LoRA agents that sample together, against each alone."""
    views = changed_adapters(device)
    asked = SamplingRequest(prompts(SIZE), [2] * 6, SamplingOptions(NEW_TOKENS, 1.0), 3)
    engine = TransformersEngine(views[0], (END,), PAD, str)
    together = engine.sample_batched([asked, asked], views)
    worst = 0.0
    for view, groups in zip(views, together, strict=True):
        alone = TransformersEngine(view, (END,), PAD, str).sample(asked)
        for one, other in zip(chain(*groups), chain(*alone), strict=True):
            if one.token_ids != other.token_ids:
                return float("inf")
            worst = max(worst, float(np.abs(one.logprobs - other.logprobs).max()))
    return worst


def changed_adapters(device: str) -> list[Any]:
    """Two LoRA agents on one base that are no longer the base itself."""
    views = attach_lora(same_model(SIZE, device), UpdateSettings(adapter="lora", lora_rank=4), ("A", "B"))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for view in views:
            for weight in view.adapter_weights().values():
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return views


def adapter_update(device: str) -> float:
    """Gradients of a LoRA update on the device against the CPU."""
    samples = turns(SIZE)
    ours, theirs = (
        gradients(learner_on(where, model=changed_adapters(where)[0], adapter="lora"), samples)[0]
        for where in (device, "cpu")
    )
    return distance(ours, theirs)


@contextmanager
def exact() -> Iterator[None]:
    """Within it equal updates give equal bits where torch can; Adam makes a last bit as large as its rate."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@exact()
def round_trip(device: str) -> float:
    """Weights and optimizer saved and loaded into fresh ones: the next update's gradients and weights are the same."""
    samples = turns(SIZE)
    learner = learner_on(device)
    gradients(learner, samples)
    with tempfile.TemporaryDirectory() as folder:
        save_weights(learner.model, Path(folder))
        file = io.BytesIO()
        torch.save(learner.state_dict(), file)
        fresh = learner_on(device, model=make_model(SIZE, seed=9).to(device))
        load_weights(fresh.model, Path(folder))
        file.seek(0)
        fresh.load_state_dict(torch.load(file, map_location=device, weights_only=True))
        difference = weights_apart(fresh.model, learner.model)
        ours, theirs = gradients(fresh, samples, 2)[0], gradients(learner, samples, 2)[0]
    return max(difference, distance(ours, theirs), weights_apart(fresh.model, learner.model))


def weights_apart(ours: Any, theirs: Any) -> float:
    """Largest difference of two models of one shape."""
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return max(float((one.detach().cpu() - other.detach().cpu()).abs().max()) for one, other in pairs)


@exact()
def taking_turns(device: str) -> float:
    """Agents offloaded between their updates end with the weights of agents that stay on the device."""
    samples = turns(SIZE)
    swapper = DeviceSwapper(offload_device="cpu", compute_device=device)
    models = [make_model(SIZE, seed=index) for index in range(2)]
    resident = [learner_on(device, model=copy.deepcopy(model).to(device)) for model in models]
    moving = []
    for model in models:
        swapper.register(model)
        moving.append(learner_on(device, model=model))
        swapper.attach(model, [], moving[-1].optimizer)
    for step in (1, 2):
        for one, other in zip(moving, resident, strict=True):
            swapper.onload(one.model)
            one.update(samples, step)
            other.update(samples, step)
    return max(weights_apart(one.model, other.model) for one, other in zip(moving, resident, strict=True))


def out_of_memory(device: str) -> float:
    """MiB that stay allocated after a batch that did not fit was halved until it did."""
    if device == "cpu":
        return 0.0

    def attempt(rows: int) -> int:
        if rows > 1:
            torch.empty(rows, 2**40, dtype=torch.uint8, device=device)
        return rows

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    if retry_smaller_batch(8, attempt, "check", "rows") != 1:
        raise ValueError("eight terabytes fitted")
    return (torch.cuda.memory_allocated() - before) / 2**20


def with_size(measure: Callable[..., float], *arguments: Any) -> Callable[[str], float]:
    """A measure of the device alone."""
    return lambda device: measure(*arguments, device)


CHECKS: tuple[tuple[str, float, Callable[[str], float]], ...] = (
    ("engine: log-probabilities against a forward pass", 1e-4, with_size(logprobs_against_forward, SIZE)),
    (
        "engine, large vocabulary: log-probabilities against a forward pass",
        1e-4,
        with_size(logprobs_against_forward, LARGE),
    ),
    ("engine: greedy completions unlike the CPU's", 0.0, with_size(tokens_against_cpu, SIZE, 0.0)),
    ("engine: sampled completions unlike the CPU's", 0.06, with_size(tokens_against_cpu, SIZE, 1.0)),
    ("engine, large vocabulary: sampled completions unlike the CPU's", 0.06, with_size(tokens_against_cpu, LARGE, 1.0)),
    ("GRPO update: gradients against the CPU", 1e-4, update_against_cpu),
    ("PPO update: gradients against the CPU", 1e-4, lambda device: update_against_cpu(device, critic=True)),
    ("update in bf16: gradients against fp32", 0.1, half_precision),
    ("layers computed again: gradients against kept ones", 1e-4, checkpointing),
    ("reference policy: KL before any step", 1e-6, reference_policy),
    ("logits in chunks: values and gradients against the whole", 1e-4, chunked),
    ("LoRA agents in one batch against each alone", 1e-4, adapters_in_one_batch),
    ("LoRA update: gradients against the CPU", 1e-4, adapter_update),
    ("checkpoint round trip: weights and gradients apart", 1e-6, round_trip),
    ("agents that take turns against agents that stay: weights apart", 1e-6, taking_turns),
    ("out of memory: MiB left behind", 0.5, out_of_memory),
)
