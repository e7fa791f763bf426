"""Sampling from a transformers model: prompts encoded once, all their samples decoded in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilr_bench.core.signals import beat
from ilr_bench.generation.engine import Completion, Request, SamplingOptions, check_request
from ilr_bench.generation.multi_lora import Voices
from ilr_bench.generation.onednn_linear import fast_linears
from ilr_bench.generation.prefix_attention import Decoding, Prefix, encode, joined, pack, shared_prefix_attention
from ilr_bench.generation.sampling import draw, uniforms
from ilr_bench.storage.recovery import halving

REPACK_BELOW = 0.7
"""Share of rows still growing below which the batch is packed anew."""


@dataclass(frozen=True)
class Row:
    """One completion to be: which prompt, and which of its samples."""

    prompt: int
    sample: int


@dataclass(frozen=True)
class Asked:
    """The prompts of all requests, one request after the other."""

    prompts: list[Sequence[int]]
    names: list[tuple[int, int]]
    """Seed and number of each prompt: what names its rows' random numbers."""
    voice: NDArray[np.int64]
    """(prompts,) which request's model answers."""
    options: SamplingOptions


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

    def sample(self, request: Request) -> list[list[Completion]]:
        """`samples[i]` completions of `prompts[i]`; see `Engine.sample`.

        A batch that does not fit into memory is sampled in halves: the same draws, from probabilities that may differ
        in their last bits. Raises ConfigurationError for an empty prompt and for models that cannot share a prompt,
        MemoryShortageError where not even one row fits.
        """
        (completions,) = self.sample_beside([request], [self.model])
        return completions

    def sample_beside(self, requests: Sequence[Request], models: Sequence[Any]) -> list[list[list[Completion]]]:
        """What each request asks of its model, the rows of all of them in the same batches.

        Several models are adapters of one base, and agree in options and end tokens.
        """
        for request in requests:
            check_request(request)
        options = requests[0].options
        counts = [len(request.prompts) for request in requests]
        asked = Asked(
            [prompt for request in requests for prompt in request.prompts],
            [(request.seed, request.first + place) for request in requests for place in range(len(request.prompts))],
            np.repeat(np.arange(len(requests)), counts),
            options,
        )
        samples = [count for request in requests for count in request.samples]
        results: list[list[Completion]] = [[] for _ in asked.prompts]
        if any(samples):
            self._sample(asked, samples, Voices(models), results)
        ends = np.cumsum(counts)
        return [results[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def rest(self) -> None:
        """Nothing: what sampling needs is given back after every call."""

    def _sample(self, asked: Asked, samples: Sequence[int], voices: Voices, results: list[list[Completion]]) -> None:
        model, options = voices.model, asked.options
        training = model.training
        model.eval()
        longest = max(len(prompt) for prompt in asked.prompts) + options.max_new_tokens
        with torch.inference_mode(), shared_prefix_attention(model, longest), fast_linears(model), voices.speaking():
            try:
                for rows in _batches(asked.prompts, samples, options.rows_per_call):
                    decode = partial(self._decode_parts, asked, rows, voices)
                    completions = halving(len(rows), decode, f"sampling {len(rows)} rows", "sampling.rows_per_call")
                    for row, completion in zip(rows, completions, strict=True):
                        results[row.prompt].append(completion)
            finally:
                model.train(training)

    def _decode_parts(self, asked: Asked, rows: list[Row], voices: Voices, most: int) -> list[Completion]:
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        return [done for part in parts for done in self._decode_batch(asked, part, voices)]

    def _encode(self, asked: Asked, places: list[int], voices: Voices) -> Prefix:
        parts = []
        for voice in np.unique(asked.voice[places]):
            voices.alone(int(voice))
            own = [asked.prompts[place] for place in places if asked.voice[place] == voice]
            parts.append(encode(voices.model, own, self.pad_id))
        return joined(parts)

    def _decode_batch(self, asked: Asked, rows: list[Row], voices: Voices) -> list[Completion]:
        device, options = voices.model.device, asked.options
        limit = options.max_new_tokens
        places = sorted({row.prompt for row in rows})
        prompt_of_row = np.searchsorted(places, [row.prompt for row in rows])
        prefix = self._encode(asked, places, voices)
        last = torch.tensor([asked.prompts[row.prompt][-1] for row in rows] + [self.pad_id], device=device)
        streams = [(*asked.names[row.prompt], row.sample) for row in rows]
        # One row too many: the slots of finished rows write there, so that no step has to sort them out.
        nobody = len(rows)
        numbers = torch.from_numpy(uniforms([*streams, streams[0]], limit)).to(device)
        ends = torch.tensor(self.end_ids, device=device)
        tokens = torch.full((nobody + 1, limit), self.pad_id, device=device)
        logprobs = torch.zeros(nobody + 1, limit, device=device)
        lengths = torch.zeros(nobody + 1, dtype=torch.long, device=device)
        finished = torch.zeros(nobody + 1, dtype=torch.bool, device=device)

        groups, slots = pack(prompt_of_row, np.arange(nobody))
        decoding = Decoding(prefix.select(groups), limit)
        voice_of_place = asked.voice[places]
        voices.beside(voice_of_place[groups].repeat(len(slots) // len(groups)))
        row_of_slot = torch.from_numpy(slots).to(device)
        inputs = last[row_of_slot]
        positions = decoding.prefix.lengths.repeat_interleave(len(slots) // len(groups))
        for step in range(limit):
            beat()
            decoding.step = step
            logits = voices.model(
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
                    voices.beside(voice_of_place[groups].repeat(len(slots) // len(groups)))
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
