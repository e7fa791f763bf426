"""Batches of an evaluation, and the journal of finished ones, so that an interruption generates none of them twice.

Which completions are sampled together is a function of the full list of prompts alone, so results do not depend on
where an evaluation was interrupted. The journal's first line names what the batches answer, each further line holds one
batch; a line begins with its own digest and is on the disk before the next batch begins. When the journal is opened
again, it is cut off before the first line that a kill left half-written or that was altered since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilr_bench.core.config import content_hash
from ilr_bench.core.seeds import derive_seed
from ilr_bench.core.signals import stop_here
from ilr_bench.generation.engine import Completion, Engine, SamplingOptions, SamplingRequest
from ilr_bench.storage.files import explained, readable, write_atomic

NO_LOGPROBS = np.empty(0, dtype=np.float32)
"""Of a completion that a journal gave back: an answer is graded by its text alone, and they would double the file."""


class Journal:
    """The batches of one list of prompts, in a file that its owner deletes once the records are written."""

    def __init__(self, path: Path, key: str) -> None:
        """Takes up the batches that were noted for the same `key` (a hash of all that decides them).

        A journal of another key is begun anew. Raises StoreError where the disk is full or cannot be written.
        """
        self._path = path
        self.done: dict[int, list[Completion]] = {}
        """Number of the batch -> its completions."""
        header = _line({"key": key})
        with readable(path):
            content = path.read_bytes() if path.exists() else b""
        if not content.startswith(header):
            write_atomic(path, header)
            return
        whole = len(header)
        for line in content[whole:].splitlines(keepends=True):
            batch = _batch(line)
            if batch is None:
                break
            self.done[batch[0]] = batch[1]
            whole += len(line)
        if whole < len(content):
            with explained(path):
                os.truncate(path, whole)

    def add(self, number: int, completions: Sequence[Completion]) -> None:
        """Notes a finished batch; it is on the disk after the return. Raises StoreError."""
        line = _line({"batch": number, "spoken": [[list(one.token_ids), one.finished] for one in completions]})
        with explained(self._path), self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.done[number] = list(completions)


def _line(data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return _digest(text) + b" " + text + b"\n"


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _batch(line: bytes) -> tuple[int, list[Completion]] | None:
    """Number and completions of a line, or None where it is not as it was written."""
    digest, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or digest != _digest(text[:-1]):
        return None
    data = json.loads(text)
    return int(data["batch"]), [Completion(tuple(ids), NO_LOGPROBS, bool(finished)) for ids, finished in data["spoken"]]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt, and how it is to be completed."""

    ids: tuple[int, ...]
    samples: int
    options: SamplingOptions
    """`rows_per_call` bounds the batches that the prompt may be in."""


Batch = tuple[int, ...]
"""Indices of prompts, ascending, one for each of their samples in this batch."""


def plan_batches(prompt_batch: Sequence[GenerationRequest], batch_tokens: int | None) -> list[Batch]:
    """Batches of prompts with equal options and of like length, the shortest prompts first.

    `batch_tokens` bounds rows times (longest prompt + longest answer); one row is always allowed.
    """
    batches: list[Batch] = []
    for options in dict.fromkeys(one.options for one in prompt_batch):
        mine = [index for index, one in enumerate(prompt_batch) if one.options == options for _ in range(one.samples)]
        mine.sort(key=lambda index: (len(prompt_batch[index].ids), index))
        batch: list[int] = []
        for index in mine:
            wide = len(prompt_batch[index].ids) + options.max_new_tokens
            full = batch_tokens is not None and (len(batch) + 1) * wide > batch_tokens
            if batch and (full or len(batch) == options.rows_per_call):
                batches.append(tuple(sorted(batch)))
                batch = []
            batch.append(index)
        if batch:
            batches.append(tuple(sorted(batch)))
    return batches


def complete(
    engine: Engine,
    prompt_batch: Sequence[GenerationRequest],
    batch_tokens: int | None,
    seed: int,
    journal: Path | None,
    answered: Callable[[int, int], None],
) -> list[list[Completion]]:
    """`prompt_batch[i].samples` completions of every prompt; batches noted in the file `journal` are not sampled again.

    The longest prompts go first, so that a lack of memory shows at once. `answered` is called with the number of new
    completions and of tokens sampled for them now. Completions from the journal come without log-probabilities.
    Raises StoreError where the journal cannot be written, and Stopped after a batch that is noted.
    """
    batches = plan_batches(prompt_batch, batch_tokens)
    notes = None if journal is None else Journal(journal, _key(prompt_batch, batches, seed))
    done = {} if notes is None else dict(notes.done)
    for number in reversed(range(len(batches))):
        if number in done:
            answered(len(batches[number]), 0)
            continue
        done[number] = _sample(engine, prompt_batch, batches[number], derive_seed(seed, "batch", number))
        if notes is not None:
            notes.add(number, done[number])
            stop_here(f"a batch noted in {journal}")
        answered(len(batches[number]), sum(len(one.token_ids) for one in done[number]))
    completions: list[list[Completion]] = [[] for _ in prompt_batch]
    for number, batch in enumerate(batches):
        for index, one in zip(batch, done[number], strict=True):
            completions[index].append(one)
    return completions


def _sample(engine: Engine, prompt_batch: Sequence[GenerationRequest], batch: Batch, seed: int) -> list[Completion]:
    indices = sorted(set(batch))
    prompts, counts = [prompt_batch[index].ids for index in indices], [batch.count(index) for index in indices]
    sampled = engine.sample(SamplingRequest(prompts, counts, prompt_batch[indices[0]].options, seed))
    return [completion for group in sampled for completion in group]


def _key(prompt_batch: Sequence[GenerationRequest], batches: Sequence[Batch], seed: int) -> str:
    """Hash of all that decides the completions but the weights; the folder belongs to one model."""
    prompts = hashlib.sha256()
    for one in prompt_batch:
        prompts.update(np.array([one.samples, len(one.ids), *one.ids], dtype=np.int64).tobytes())
    options = [asdict(one) for one in dict.fromkeys(one.options for one in prompt_batch)]
    return content_hash([prompts.hexdigest(), options, batches, seed])
