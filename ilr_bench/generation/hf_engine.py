"""Sampling from a transformers model: prompts encoded once, all their samples decoded in one batch.

LoRA adapters on a shared base sample in the same batches: a step of decoding reads all weights for a token of every
row, and rows of different adapters need the base's only once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import Linear as LoraLayer
from torch import Tensor
from torch.nn import functional

from ilr_bench.core.signals import send_heartbeat
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest, check_request
from ilr_bench.generation.onednn_linear import fast_linears, replaced_forwards
from ilr_bench.generation.prefix_attention import (
    Decoding,
    Prefix,
    arrange_rows,
    encode,
    joined,
    shared_prefix_attention,
)
from ilr_bench.generation.sampling import draw, rng_streams
from ilr_bench.models.lora import AdapterModel
from ilr_bench.storage.recovery import retry_smaller_batch

REPACK_BELOW = 0.7
"""Fraction of rows still growing below which the batch is packed anew."""


@dataclass(frozen=True)
class SampleSlot:
    """One completion to sample: indices of its prompt and among that prompt's samples."""

    prompt: int
    sample: int


@dataclass(frozen=True)
class PromptBatch:
    """The prompts of all requests, one request after the other."""

    prompts: list[Sequence[int]]
    names: list[tuple[int, int]]
    """Seed and number of each prompt, which name its rows' random streams."""
    adapter: NDArray[np.int64]
    """(prompts,) index of the request, and so of the model."""
    options: SamplingOptions


class MultiLoRA:
    """One model, or several `AdapterModel`s of one base of which `use_one` or `use_per_row` chooses.

    PEFT's own forward gives the same numbers, for one adapter at a time, and takes a tenth longer.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        """Several models have to be adapters of one base."""
        first = models[0]
        self.model: Any = first.base.get_base_model() if isinstance(first, AdapterModel) else first
        """To be called under `active`."""
        self._adapters = [model.adapter for model in models if isinstance(model, AdapterModel)]
        self._parts: list[tuple[slice, str]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it `model` computes with the chosen adapters; PEFT's active adapter stays what it was."""
        layers = [layer for layer in self.model.modules() if isinstance(layer, LoraLayer)] if self._adapters else []
        with replaced_forwards({layer: self._forward(layer) for layer in layers}):
            yield

    def use_one(self, number: int) -> None:
        """Chooses one adapter for all rows of the passes that follow."""
        self._parts = [(slice(None), adapter) for adapter in self._adapters[number : number + 1]]

    def use_per_row(self, adapter_of_row: NDArray[np.int64]) -> None:
        """(rows,) ascending: chooses the adapter of each row of the passes that follow."""
        used, starts = np.unique(adapter_of_row, return_index=True)
        if len(used) == 1:
            self.use_one(int(used[0]))
            return
        ends = [*starts[1:], len(adapter_of_row)]
        self._parts = [
            (slice(int(start), int(end)), self._adapters[number])
            for number, start, end in zip(used, starts, ends, strict=True)
        ]

    def _forward(self, layer: Any) -> Callable[[Tensor], Tensor]:
        def forward(inputs: Tensor) -> Tensor:
            added = [
                functional.linear(
                    functional.linear(inputs[rows], layer.lora_A[name].weight), layer.lora_B[name].weight
                ) * layer.scaling[name]
                for rows, name in self._parts
            ]  # fmt: skip
            product: Tensor = layer.base_layer(inputs)
            return product + (added[0] if len(added) == 1 else torch.cat(added))

        return forward


class TransformersEngine:
    """Samples from a transformers causal language model, on the model's own device.

    Every row has a random stream of its own, named by seed, prompt and sample, so the batch that it is in does not
    change what is drawn.
    """

    name = "transformers"

    def __init__(self, model: Any, end_ids: Iterable[int], pad_id: int, decode: Callable[[Sequence[int]], str]) -> None:
        """decode: token ids to text, needed for stop strings only."""
        self.model = model
        self.end_ids = tuple(sorted(end_ids))
        self.pad_id = pad_id
        self.decode = decode

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """`samples[i]` completions of `prompts[i]`; see `Engine.sample`.

        A batch that does not fit into memory is sampled in halves: with the same random numbers, from probabilities
        that may differ in their last bits. Raises ConfigurationError for an empty prompt and for models without plain
        softmax attention, MemoryShortageError where not even one row fits.
        """
        (completions,) = self.sample_batched([request], [self.model])
        return completions

    def batch_key(self, options: SamplingOptions) -> Hashable | None:
        """Adapters on one base share batches; see `BatchingEngine.batch_key`."""
        if not isinstance(self.model, AdapterModel):
            return None
        return id(self.model.base), options, self.end_ids, self.pad_id

    def sample_batched(
        self, requests: Sequence[SamplingRequest], models: Sequence[Any]
    ) -> list[list[list[Completion]]]:
        """The completions of each request from its model, the rows of all of them in the same batches.

        Several models are adapters of one base, and agree in options and end tokens.
        """
        for request in requests:
            check_request(request)
        options = requests[0].options
        counts = [len(request.prompts) for request in requests]
        prompt_batch = PromptBatch(
            [prompt for request in requests for prompt in request.prompts],
            [(request.seed, request.first + index) for request in requests for index in range(len(request.prompts))],
            np.repeat(np.arange(len(requests)), counts),
            options,
        )
        samples = [count for request in requests for count in request.samples]
        results: list[list[Completion]] = [[] for _ in prompt_batch.prompts]
        if any(samples):
            self._sample(prompt_batch, samples, MultiLoRA(models), results)
        ends = np.cumsum(counts)
        return [results[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def release(self) -> None:
        """Does nothing: memory is freed after every call."""

    def _sample(
        self, prompt_batch: PromptBatch, samples: Sequence[int], multi_lora: MultiLoRA, results: list[list[Completion]]
    ) -> None:
        model, options = multi_lora.model, prompt_batch.options
        training = model.training
        model.eval()
        longest = max(len(prompt) for prompt in prompt_batch.prompts) + options.max_new_tokens
        with torch.inference_mode(), shared_prefix_attention(model, longest), fast_linears(model), multi_lora.active():
            try:
                for rows in _batches(prompt_batch.prompts, samples, options.rows_per_call):
                    decode = partial(self._decode_parts, prompt_batch, rows, multi_lora)
                    completions = retry_smaller_batch(
                        len(rows), decode, f"sampling {len(rows)} rows", "sampling.rows_per_call"
                    )
                    for row, completion in zip(rows, completions, strict=True):
                        results[row.prompt].append(completion)
            finally:
                model.train(training)

    def _decode_parts(
        self, prompt_batch: PromptBatch, rows: list[SampleSlot], multi_lora: MultiLoRA, most: int
    ) -> list[Completion]:
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        return [done for part in parts for done in self._decode_batch(prompt_batch, part, multi_lora)]

    def _encode(self, prompt_batch: PromptBatch, indices: list[int], multi_lora: MultiLoRA) -> Prefix:
        parts = []
        for adapter in np.unique(prompt_batch.adapter[indices]):
            multi_lora.use_one(int(adapter))
            own = [prompt_batch.prompts[index] for index in indices if prompt_batch.adapter[index] == adapter]
            parts.append(encode(multi_lora.model, own, self.pad_id))
        return joined(parts)

    def _decode_batch(
        self, prompt_batch: PromptBatch, rows: list[SampleSlot], multi_lora: MultiLoRA
    ) -> list[Completion]:
        device, options = multi_lora.model.device, prompt_batch.options
        limit = options.max_new_tokens
        indices = sorted({row.prompt for row in rows})
        prompt_of_row = np.searchsorted(indices, [row.prompt for row in rows])
        prefix = self._encode(prompt_batch, indices, multi_lora)
        last = torch.tensor([prompt_batch.prompts[row.prompt][-1] for row in rows] + [self.pad_id], device=device)
        streams = [(*prompt_batch.names[row.prompt], row.sample) for row in rows]
        # One row more: the slots of finished rows write there, so that no step has to leave them out.
        padding = len(rows)
        numbers = torch.from_numpy(rng_streams([*streams, streams[0]], limit)).to(device)
        ends = torch.tensor(self.end_ids, device=device)
        tokens = torch.full((padding + 1, limit), self.pad_id, device=device)
        logprobs = torch.zeros(padding + 1, limit, device=device)
        lengths = torch.zeros(padding + 1, dtype=torch.long, device=device)
        finished = torch.zeros(padding + 1, dtype=torch.bool, device=device)

        groups, slots = arrange_rows(prompt_of_row, np.arange(padding))
        decoding = Decoding(prefix.select(groups), limit)
        adapter_of_place = prompt_batch.adapter[indices]
        multi_lora.use_per_row(adapter_of_place[groups].repeat(len(slots) // len(groups)))
        row_of_slot = torch.from_numpy(slots).to(device)
        inputs = last[row_of_slot]
        positions = decoding.prefix.lengths.repeat_interleave(len(slots) // len(groups))
        for step in range(limit):
            send_heartbeat()
            decoding.step = step
            logits = multi_lora.model(
                input_ids=inputs[:, None],
                position_ids=(positions + step)[:, None],
                use_cache=False,
                shared_prefix=decoding,
            ).logits[:, -1]
            inputs, chosen = draw(logits, options.temperature, numbers[row_of_slot, step])
            tokens[row_of_slot, step] = inputs
            logprobs[row_of_slot, step] = chosen
            lengths[row_of_slot] = step + 1
            ended = torch.isin(inputs, ends)
            if options.stop_strings:
                ended |= self._stopped(tokens[row_of_slot, : step + 1], options.stop_strings)
            finished[row_of_slot] = ended
            row_of_slot = row_of_slot.masked_fill(ended, padding)
            live = int((row_of_slot != padding).sum())
            if live == 0:
                break
            if live < REPACK_BELOW * len(row_of_slot):
                old = row_of_slot.cpu().numpy()
                groups, slots = arrange_rows(prompt_of_row, np.sort(old[old != padding]))
                if len(slots) < len(old):
                    slot_of_row = np.zeros(padding + 1, dtype=np.int64)
                    slot_of_row[old] = np.arange(len(old))
                    kept = torch.from_numpy(slot_of_row[slots]).to(device)
                    decoding.repack(prefix.select(groups), kept)
                    multi_lora.use_per_row(adapter_of_place[groups].repeat(len(slots) // len(groups)))
                    row_of_slot = torch.from_numpy(slots).to(device)
                    inputs = inputs[kept]
                    positions = decoding.prefix.lengths.repeat_interleave(len(slots) // len(groups))
        return _completions(tokens, logprobs, lengths, finished, padding)

    def _stopped(self, tokens: Tensor, stop_strings: tuple[str, ...]) -> Tensor:
        # A token holds at least a quarter of a character, so older tokens cannot be part of a stop string.
        window = 4 * max(len(stop) for stop in stop_strings) + 4
        texts = [self.decode(row) for row in tokens[:, -window:].tolist()]
        return torch.tensor([any(stop in text for stop in stop_strings) for text in texts], device=tokens.device)


def _batches(prompts: Sequence[Sequence[int]], samples: Sequence[int], most: int) -> Iterator[list[SampleSlot]]:
    """Rows in batches of at most `most`, prompts of like length together; a prompt's rows stay in order."""
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    rows = [SampleSlot(index, sample) for index in order for sample in range(samples[index])]
    for start in range(0, len(rows), most):
        yield sorted(rows[start : start + most], key=lambda row: (row.prompt, row.sample))


def _completions(tokens: Tensor, logprobs: Tensor, lengths: Tensor, finished: Tensor, rows: int) -> list[Completion]:
    ids, sizes, ends = tokens.tolist(), lengths.tolist(), finished.tolist()
    values = logprobs.cpu().numpy()
    return [
        Completion(tuple(ids[row][: sizes[row]]), values[row, : sizes[row]].copy(), ends[row]) for row in range(rows)
    ]
