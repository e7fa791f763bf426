"""Sampling from a transformers model: prompts encoded once, all their samples decoded in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilr_bench.generation.base import Completion, SamplingOptions, check_request
from ilr_bench.generation.drawing import draw, uniforms
from ilr_bench.generation.linears import fast_linears
from ilr_bench.generation.shared_prefix import Decoding, encode, pack, shared_prefix_attention
from ilr_bench.heartbeat import beat
from ilr_bench.recovery import halving

REPACK_BELOW = 0.7
"""Share of rows still growing below which the batch is packed anew."""


@dataclass(frozen=True)
class Row:
    """One completion to be: which prompt, and which of its samples."""

    prompt: int
    sample: int


class TransformersEngine:
    """Samples from a transformers causal language model, on the model's own device.

    Every row draws its random numbers from a stream of its own, named by seed, prompt and sample, so neither
    the size of a batch nor the rows beside it decide what is drawn.
    """

    name = "transformers"

    def __init__(self, model: Any, end_ids: Iterable[int], pad_id: int, decode: Callable[[Sequence[int]], str]) -> None:
        """decode: text of token ids, needed for stop strings only."""
        self.model = model
        self.end_ids = tuple(sorted(end_ids))
        self.pad_id = pad_id
        self.decode = decode

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        samples: Sequence[int],
        options: SamplingOptions,
        seed: int,
        first: int = 0,
    ) -> list[list[Completion]]:
        """`samples[i]` completions of `prompts[i]`; see `Engine.sample`.

        A batch that does not fit into memory is sampled in halves: the same draws, from probabilities that may differ
        in their last bits. Raises ConfigurationError for an empty prompt and for models that cannot share a prompt,
        MemoryShortageError where not even one row fits.
        """
        check_request(prompts, samples, options)
        results: list[list[Completion]] = [[] for _ in prompts]
        if not any(samples):
            return results
        training = self.model.training
        self.model.eval()
        longest = max(len(prompt) for prompt in prompts) + options.max_new_tokens
        with (
            torch.inference_mode(),
            shared_prefix_attention(self.model, longest),
            fast_linears(self.model),
        ):
            try:
                for rows in _batches(prompts, samples, options.rows_per_call):
                    decode = partial(self._decode_parts, prompts, rows, options, seed, first)
                    completions = halving(len(rows), decode, f"sampling {len(rows)} rows", "sampling.rows_per_call")
                    for row, completion in zip(rows, completions, strict=True):
                        results[row.prompt].append(completion)
            finally:
                self.model.train(training)
        return results

    def rest(self) -> None:
        """Nothing: what sampling needs is given back after every call."""

    def _decode_parts(
        self,
        prompts: Sequence[Sequence[int]],
        rows: list[Row],
        options: SamplingOptions,
        seed: int,
        first: int,
        most: int,
    ) -> list[Completion]:
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        return [done for part in parts for done in self._decode_batch(prompts, part, options, seed, first)]

    def _decode_batch(
        self, prompts: Sequence[Sequence[int]], rows: list[Row], options: SamplingOptions, seed: int, first: int
    ) -> list[Completion]:
        device, limit = self.model.device, options.max_new_tokens
        places = sorted({row.prompt for row in rows})
        prompt_of_row = np.searchsorted(places, [row.prompt for row in rows])
        prefix = encode(self.model, [prompts[place] for place in places], self.pad_id)
        last = torch.tensor([prompts[row.prompt][-1] for row in rows] + [self.pad_id], device=device)
        named = [(first + row.prompt, row.sample) for row in rows]
        numbers = torch.from_numpy(uniforms(named + named[:1], limit, seed)).to(device)
        ends = torch.tensor(self.end_ids, device=device)

        # One row too many: the slots of finished rows write there, so that no step has to sort them out.
        nobody = len(rows)
        tokens = torch.full((nobody + 1, limit), self.pad_id, device=device)
        logprobs = torch.zeros(nobody + 1, limit, device=device)
        lengths = torch.zeros(nobody + 1, dtype=torch.long, device=device)
        finished = torch.zeros(nobody + 1, dtype=torch.bool, device=device)

        groups, slots = pack(prompt_of_row, np.arange(nobody))
        decoding = Decoding(prefix.select(groups), limit)
        row_of_slot = torch.from_numpy(slots).to(device)
        inputs = last[row_of_slot]
        positions = decoding.prefix.lengths.repeat_interleave(len(slots) // len(groups))
        for step in range(limit):
            beat()
            decoding.step = step
            logits = self.model(
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
            row_of_slot = row_of_slot.masked_fill(ended, nobody)
            live = int((row_of_slot != nobody).sum())
            if live == 0:
                break
            if live < REPACK_BELOW * len(row_of_slot):
                old = row_of_slot.cpu().numpy()
                groups, slots = pack(prompt_of_row, np.sort(old[old != nobody]))
                if len(slots) < len(old):
                    slot_of_row = np.zeros(nobody + 1, dtype=np.int64)
                    slot_of_row[old] = np.arange(len(old))
                    kept = torch.from_numpy(slot_of_row[slots]).to(device)
                    decoding.repack(prefix.select(groups), kept)
                    row_of_slot = torch.from_numpy(slots).to(device)
                    inputs = inputs[kept]
                    positions = decoding.prefix.lengths.repeat_interleave(len(slots) // len(groups))
        return _completions(tokens, logprobs, lengths, finished, nobody)

    def _stopped(self, tokens: Tensor, stop_strings: tuple[str, ...]) -> Tensor:
        # A token holds at least a quarter of a character, so older tokens cannot be part of a stop string.
        window = 4 * max(len(stop) for stop in stop_strings) + 4
        texts = [self.decode(row) for row in tokens[:, -window:].tolist()]
        return torch.tensor([any(stop in text for stop in stop_strings) for text in texts], device=tokens.device)


def _batches(prompts: Sequence[Sequence[int]], samples: Sequence[int], most: int) -> Iterator[list[Row]]:
    """Rows in batches of at most `most`, prompts of like length together; a prompt's rows stay in order."""
    order = sorted(range(len(prompts)), key=lambda place: (len(prompts[place]), place))
    rows = [Row(place, sample) for place in order for sample in range(samples[place])]
    batch: list[Row] = []
    for start in range(0, len(rows), most):
        batch = rows[start : start + most]
        yield sorted(batch, key=lambda row: (row.prompt, row.sample))


def _completions(tokens: Tensor, logprobs: Tensor, lengths: Tensor, finished: Tensor, rows: int) -> list[Completion]:
    ids, sizes, ends = tokens.tolist(), lengths.tolist(), finished.tolist()
    values = logprobs.cpu().numpy()
    return [
        Completion(tuple(ids[row][: sizes[row]]), values[row, : sizes[row]].copy(), ends[row]) for row in range(rows)
    ]
