"""Dispatches sampling to the agents' engines, and offloads agents that do not fit on the device together.

An agent is loaded before it samples or is updated, with all that its update reads: weights, gradients, optimizer
states, reference policy, value head. The resident one is offloaded first. Numbers do not change by it.
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
    """Agents that are loaded together, since they have one base; most often a single one."""

    modules: list[nn.Module] = field(default_factory=list)
    optimizers: list[Any] = field(default_factory=list)


class DeviceSwapper:
    """Keeps one group of agents at a time on `compute_device`, the others on `offload_device`."""

    def __init__(self, offload_device: str, compute_device: str) -> None:
        self.offload_device = offload_device
        self.compute_device = compute_device
        self.swaps = 0
        """Groups moved so far, to either device."""
        self.resident: OffloadGroup | None = None
        self._groups: dict[int, OffloadGroup] = {}

    def register(self, model: nn.Module) -> None:
        """Adds an agent's model, which has to be on `offload_device`; LoRA agents on a shared base are one group."""
        self._groups.setdefault(_weights(model), OffloadGroup()).modules.append(model)

    def attach(self, model: nn.Module, modules: Sequence[nn.Module], optimizer: Any) -> None:
        """Adds what moves with a registered model: an optimizer of its weights, and modules beside it."""
        group = self._groups[_weights(model)]
        group.modules.extend(modules)
        group.optimizers.append(optimizer)
        # It may have been loaded before it had an optimizer, and a value head is made where the model is.
        _move(group, self.compute_device if group is self.resident else self.offload_device)

    def onload(self, model: nn.Module) -> None:
        """Moves a registered model to `compute_device`, and the resident one off it first."""
        group = self._groups[_weights(model)]
        if group is self.resident:
            return
        if self.resident is not None:
            self._send(self.resident, self.offload_device)
            if torch.device(self.compute_device).type == "cuda":
                # What the allocator keeps of the offloaded group is in blocks of the wrong size for the next one.
                torch.cuda.empty_cache()
        self._send(group, self.compute_device)
        self.resident = group

    def _send(self, group: OffloadGroup, device: str) -> None:
        _move(group, device)
        self.swaps += 1


class SwappingEngine:
    """An engine whose model is loaded onto the computing device before it samples."""

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

    LoRA agents on a shared base are sampled in the same batches where their options are the same.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, (engine, request) in enumerate(requests):
        groups.setdefault(_group_key(engine, request, index), []).append(index)
    found: dict[int, list[list[Completion]]] = {}
    for indices in groups.values():
        engines = [one for index in indices if isinstance(one := _unwrapped(requests[index][0]), TransformersEngine)]
        if len(engines) > 1:
            first = requests[indices[0]][0]
            if isinstance(first, SwappingEngine):
                first.onload()  # loads all agents on this base
            completions = engines[0].sample_batched(
                [requests[index][1] for index in indices], [engine.model for engine in engines]
            )
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
