"""Dispatches a stage's requests to the agents' engines: remote ones work at the same time, LoRA agents in batches."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import Future

from ilr_bench.generation.engine import BatchingEngine, Completion, Engine, RemoteEngine, SamplingRequest


def sample_all(requests: Sequence[tuple[Engine, SamplingRequest]]) -> list[list[list[Completion]]]:
    """The completions of each request, as its engine alone would sample them but for the last bits.

    LoRA agents on a shared base are sampled in the same batches where their options are the same.
    """
    pending: dict[int, Future[list[list[Completion]]]] = {}
    groups: dict[Hashable, list[int]] = {}
    for index, (engine, request) in enumerate(requests):
        if isinstance(engine, RemoteEngine):
            pending[index] = engine.submit(request)
        else:
            groups.setdefault(_group_key(engine, request, index), []).append(index)
    found: dict[int, list[list[Completion]]] = {}
    for indices in groups.values():
        engines = [engine for index in indices if isinstance(engine := requests[index][0], BatchingEngine)]
        if len(engines) > 1:
            completions = engines[0].sample_batched(
                [requests[index][1] for index in indices], [engine.model for engine in engines]
            )
        else:
            completions = [requests[index][0].sample(requests[index][1]) for index in indices]
        found.update(zip(indices, completions, strict=True))
    found |= {index: future.result() for index, future in pending.items()}
    return [found[index] for index in range(len(requests))]


def _group_key(engine: Engine, request: SamplingRequest, index: int) -> Hashable:
    key = engine.batch_key(request.options) if isinstance(engine, BatchingEngine) else None
    return index if key is None else key
