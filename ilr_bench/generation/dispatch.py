"""Who is on the device that computes: agents that do not fit on it together take turns there.

An agent comes when it is to sample or to be updated, with all that its update reads: weights, gradients, optimizer
states, reference policy, value head. Whoever was there goes home first. Numbers do not change by it.

Requests to several engines: what can be sampled in the same batches is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ilr_bench.generation.engine import Completion, Engine, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.models.lora import AdapterModel

HOST_STATE = "step"
"""AdamW keeps its count of steps in host memory, wherever its moments are."""


@dataclass
class OffloadGroup:
    """Agents that come and go together, since they share weights; most often one."""

    modules: list[nn.Module] = field(default_factory=list)
    optimizers: list[Any] = field(default_factory=list)


class DeviceSwapper:
    """Lets one party at a time be on the device `compute_device`; the others are on the device `offload_device`."""

    def __init__(self, offload_device: str, compute_device: str) -> None:
        self.offload_device = offload_device
        self.compute_device = compute_device
        self.swaps = 0
        """Parties moved so far, to either device."""
        self.resident: OffloadGroup | None = None
        self._groups: dict[int, OffloadGroup] = {}

    def register(self, model: nn.Module) -> None:
        """Takes an agent's model in; it has to be at home. Twins on one base are one party."""
        self._groups.setdefault(_weights(model), OffloadGroup()).modules.append(model)

    def attach(self, model: nn.Module, modules: Sequence[nn.Module], optimizer: Any) -> None:
        """What comes and goes with an admitted model: an optimizer of its weights, and modules beside it."""
        group = self._groups[_weights(model)]
        group.modules.extend(modules)
        group.optimizers.append(optimizer)
        # It may have come to be measured before it had an optimizer, and a value head is made where the model is.
        _move(group, self.compute_device if group is self.resident else self.offload_device)

    def onload(self, model: nn.Module) -> None:
        """Has an admitted model on the device that computes, and nobody else."""
        group = self._groups[_weights(model)]
        if group is self.resident:
            return
        if self.resident is not None:
            self._send(self.resident, self.offload_device)
            if torch.device(self.compute_device).type == "cuda":
                # What the allocator keeps of the one that left is in pieces of the wrong size for the one that comes.
                torch.cuda.empty_cache()
        self._send(group, self.compute_device)
        self.resident = group

    def _send(self, group: OffloadGroup, device: str) -> None:
        _move(group, device)
        self.swaps += 1


class SwappingEngine:
    """An engine whose model is brought to the device that computes before it samples."""

    def __init__(self, engine: Engine, onload: Callable[[], None]) -> None:
        self.engine = engine
        self.onload = onload
        self.name = engine.name

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """See `Engine.sample`."""
        self.onload()
        return self.engine.sample(request)

    def release(self) -> None:
        """See `Engine.release`."""
        self.engine.release()


def _weights(model: nn.Module) -> int:
    """The same for all models on one set of weights."""
    return id(model.base if isinstance(model, AdapterModel) else model)


def _move(group: OffloadGroup, device: str) -> None:
    for module in group.modules:
        module.to(device)
    for optimizer in group.optimizers:
        for state in optimizer.state.values():
            for name, value in state.items():
                if name != HOST_STATE:
                    state[name] = value.to(device)


def sample_all(requests: Sequence[tuple[Engine, SamplingRequest]]) -> list[list[list[Completion]]]:
    """The completions of each request, as its engine alone would sample them but for the last bits.

    Twins, adapters of one base, share batches where their options are the same.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, (engine, request) in enumerate(requests):
        groups.setdefault(_group_key(engine, request, index), []).append(index)
    found: dict[int, list[list[Completion]]] = {}
    for indices in groups.values():
        asked = [requests[index][1] for index in indices]
        engines = [home for index in indices if isinstance(home := _unwrapped(requests[index][0]), TransformersEngine)]
        if len(engines) > 1:
            first = requests[indices[0]][0]
            if isinstance(first, SwappingEngine):
                first.onload()  # who shares a base comes and goes together
            completions = engines[0].sample_batched(asked, [engine.model for engine in engines])
        else:
            completions = [requests[index][0].sample(requests[index][1]) for index in indices]
        found.update(zip(indices, completions, strict=True))
    return [found[index] for index in range(len(requests))]


def _group_key(engine: Engine, request: SamplingRequest, index: int) -> Hashable:
    engine = _unwrapped(engine)
    if isinstance(engine, TransformersEngine) and isinstance(engine.model, AdapterModel):
        return id(engine.model.base), request.options, engine.end_ids, engine.pad_id
    return index


def _unwrapped(engine: Engine) -> Engine:
    return engine.engine if isinstance(engine, SwappingEngine) else engine
