"""Requests to several engines: what can be sampled in the same batches is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ilr_bench.generation.base import Completion, Engine, Request
from ilr_bench.generation.transformers_engine import TransformersEngine
from ilr_bench.models.adapters import AdapterView
from ilr_bench.residence import VisitingEngine


def sample_all(requests: Sequence[Request]) -> list[list[list[Completion]]]:
    """The completions of each request, as its engine alone would sample them but for the last bits.

    Twins, adapters of one base, share batches where their options are the same.
    """
    companies: dict[Hashable, list[int]] = {}
    for place, request in enumerate(requests):
        companies.setdefault(_company(request, place), []).append(place)
    found: dict[int, list[list[Completion]]] = {}
    for places in companies.values():
        together = [requests[place] for place in places]
        engines = [engine for one in together if isinstance(engine := _at_home(one.engine), TransformersEngine)]
        if len(engines) > 1:
            first = together[0].engine
            if isinstance(first, VisitingEngine):
                first.enter()  # who shares a base comes and goes together
            said = engines[0].sample_beside(together, [engine.model for engine in engines])
        else:
            said = [one.engine.sample(one.prompts, one.samples, one.options, one.seed, one.first) for one in together]
        found.update(zip(places, said, strict=True))
    return [found[place] for place in range(len(requests))]


def _company(request: Request, place: int) -> Hashable:
    engine = _at_home(request.engine)
    if isinstance(engine, TransformersEngine) and isinstance(engine.model, AdapterView):
        return id(engine.model.base), request.options, engine.end_ids, engine.pad_id
    return place


def _at_home(engine: Engine) -> Engine:
    return engine.engine if isinstance(engine, VisitingEngine) else engine
