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

from ilr_bench.generation.engine import Completion, Engine, Request
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.models.lora import AdapterView

STAYS = "step"
"""AdamW keeps its count of steps in host memory, wherever its moments are."""


@dataclass
class Party:
    """Agents that come and go together, since they share weights; most often one."""

    modules: list[nn.Module] = field(default_factory=list)
    optimizers: list[Any] = field(default_factory=list)


class Residence:
    """Lets one party at a time be on the device `work`; the others are on the device `home`."""

    def __init__(self, home: str, work: str) -> None:
        self.home = home
        self.work = work
        self.moves = 0
        """Parties moved so far, to either device."""
        self.present: Party | None = None
        self._parties: dict[int, Party] = {}

    def admit(self, model: nn.Module) -> None:
        """Takes an agent's model in; it has to be at home. Twins on one base are one party."""
        self._parties.setdefault(_weights(model), Party()).modules.append(model)

    def take_along(self, model: nn.Module, modules: Sequence[nn.Module], optimizer: Any) -> None:
        """What comes and goes with an admitted model: an optimizer of its weights, and modules beside it."""
        party = self._parties[_weights(model)]
        party.modules.extend(modules)
        party.optimizers.append(optimizer)
        # It may have come to be measured before it had an optimizer, and a value head is made where the model is.
        _move(party, self.work if party is self.present else self.home)

    def enter(self, model: nn.Module) -> None:
        """Has an admitted model on the device that computes, and nobody else."""
        party = self._parties[_weights(model)]
        if party is self.present:
            return
        if self.present is not None:
            self._send(self.present, self.home)
            if torch.device(self.work).type == "cuda":
                # What the allocator keeps of the one that left is in pieces of the wrong size for the one that comes.
                torch.cuda.empty_cache()
        self._send(party, self.work)
        self.present = party

    def _send(self, party: Party, device: str) -> None:
        _move(party, device)
        self.moves += 1


class VisitingEngine:
    """An engine whose model is brought to the device that computes before it samples."""

    def __init__(self, engine: Engine, enter: Callable[[], None]) -> None:
        self.engine = engine
        self.enter = enter
        self.name = engine.name

    def sample(self, request: Request) -> list[list[Completion]]:
        """See `Engine.sample`."""
        self.enter()
        return self.engine.sample(request)

    def rest(self) -> None:
        """See `Engine.rest`."""
        self.engine.rest()


def _weights(model: nn.Module) -> int:
    """The same for all models on one set of weights."""
    return id(model.base if isinstance(model, AdapterView) else model)


def _move(party: Party, device: str) -> None:
    for module in party.modules:
        module.to(device)
    for optimizer in party.optimizers:
        for state in optimizer.state.values():
            for name, value in state.items():
                if name != STAYS:
                    state[name] = value.to(device)


def sample_all(requests: Sequence[tuple[Engine, Request]]) -> list[list[list[Completion]]]:
    """The completions of each request, as its engine alone would sample them but for the last bits.

    Twins, adapters of one base, share batches where their options are the same.
    """
    companies: dict[Hashable, list[int]] = {}
    for place, (engine, request) in enumerate(requests):
        companies.setdefault(_company(engine, request, place), []).append(place)
    found: dict[int, list[list[Completion]]] = {}
    for places in companies.values():
        asked = [requests[place][1] for place in places]
        engines = [home for place in places if isinstance(home := _at_home(requests[place][0]), TransformersEngine)]
        if len(engines) > 1:
            first = requests[places[0]][0]
            if isinstance(first, VisitingEngine):
                first.enter()  # who shares a base comes and goes together
            said = engines[0].sample_beside(asked, [engine.model for engine in engines])
        else:
            said = [requests[place][0].sample(requests[place][1]) for place in places]
        found.update(zip(places, said, strict=True))
    return [found[place] for place in range(len(requests))]


def _company(engine: Engine, request: Request, place: int) -> Hashable:
    engine = _at_home(engine)
    if isinstance(engine, TransformersEngine) and isinstance(engine.model, AdapterView):
        return id(engine.model.base), request.options, engine.end_ids, engine.pad_id
    return place


def _at_home(engine: Engine) -> Engine:
    return engine.engine if isinstance(engine, VisitingEngine) else engine
