"""Requests to several engines: what can be sampled in the same batches is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ilr_bench.generation.dispatch import VisitingEngine
from ilr_bench.generation.engine import Completion, Engine, Request
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.models.lora import AdapterView


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
