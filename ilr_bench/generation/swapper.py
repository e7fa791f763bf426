"""Offloads agents that do not fit on the device together.

An agent is loaded before it samples or is updated, with all that its update reads: weights, gradients, optimizer
states, reference policy, value head. The resident one is offloaded first. Numbers do not change by it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from ilr_bench.generation.engine import BatchingEngine, Completion, Engine, SamplingOptions, SamplingRequest
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

    @property
    def model(self) -> Any:
        """The wrapped engine's."""
        return getattr(self.engine, "model", None)

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """See `Engine.sample`."""
        self.onload()
        return self.engine.sample(request)

    def batch_key(self, options: SamplingOptions) -> Hashable | None:
        """See `BatchingEngine.batch_key`; agents that share a base are loaded together."""
        return self.engine.batch_key(options) if isinstance(self.engine, BatchingEngine) else None

    def sample_batched(
        self, requests: Sequence[SamplingRequest], models: Sequence[Any]
    ) -> list[list[list[Completion]]]:
        """See `BatchingEngine.sample_batched`, for engines that have a `batch_key`."""
        self.onload()
        return cast(BatchingEngine, self.engine).sample_batched(requests, models)

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
