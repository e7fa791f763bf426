"""Whether a trial's agents stay on a graphics card together, take turns on it, or do not fit at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ilr_bench.config import RunConfig
from ilr_bench.costs.memory import Memory
from ilr_bench.costs.timings import known, requests
from ilr_bench.costs.trials import alone_memory, lengths, needed_memory

Seating = Literal["together", "turns", "refused"]


def seating(whole: Memory, alone: Sequence[Memory], card: int, timed: bool, engine: str) -> Seating:
    """How agents share a card of `card` bytes.

    `whole`: all of them together. `alone`: each by itself, twins on one base as one. Without timed lengths the peaks
    are bounds: who might not fit takes turns, and only who cannot fit is refused. vLLM holds on to its part of the
    card, so with it nobody takes turns.
    """
    if whole.on_card(timed=True) <= card:
        return "together"
    if engine == "transformers" and each_fits(alone, card, timed):
        return "turns"
    return "together" if whole.on_card(timed) <= card else "refused"


def each_fits(alone: Sequence[Memory], card: int, timed: bool) -> bool:
    """Whether there are several, and each fits on the card without the others."""
    return len(alone) > 1 and all(one.on_card(timed) <= card for one in alone)


def seating_of(config: RunConfig, cards: Sequence[int]) -> Seating:
    """`seating` of a trial by what is known here, on the smallest of `cards`; together where there is nothing to judge.

    config: with the samples that it will have.
    """
    found = lengths(config, known(requests(config)))
    samples = tuple(config.samples_of(place) for place in range(len(config.models)))
    whole = needed_memory(found, samples)
    if whole is None or not cards:
        return "together"
    return seating(whole, alone_memory(found, samples), min(cards), found.timed, config.sampling.engine)
