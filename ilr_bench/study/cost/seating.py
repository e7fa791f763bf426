"""Whether a trial's agents stay on a graphics card together, take turns on it, or do not fit at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ilr_bench.core.config import RunConfig
from ilr_bench.core.hardware import gpu_memory
from ilr_bench.study.cost.memory import Memory, alone_memory, trial_memory
from ilr_bench.study.cost.timings import cached

Placement = Literal["together", "turns", "refused"]


def placement(whole: Memory, alone: Sequence[Memory], card: int, seen: bool, engine: str) -> Placement:
    """How agents share a card of `card` bytes.

    `whole`: all of them together. `alone`: each by itself, twins on one base as one. Where no lengths were seen the
    peaks are bounds: who might not fit takes turns, and only who cannot fit is refused. vLLM holds on to its part of
    the card, so with it nobody takes turns.
    """
    if whole.on_card(seen=True) <= card:
        return "together"
    if engine == "transformers" and each_fits(alone, card, seen):
        return "turns"
    return "together" if whole.on_card(seen) <= card else "refused"


def each_fits(alone: Sequence[Memory], card: int, seen: bool) -> bool:
    """Whether there are several, and each fits on the card without the others."""
    return len(alone) > 1 and all(one.on_card(seen) <= card for one in alone)


def take_turns(config: RunConfig) -> bool:
    """Whether the agents of a trial have to, on the smallest card here; `config`: with the samples that it will have.

    What runs a trial hands this on to it.
    """
    cards, timing = gpu_memory(), cached(config)
    lengths = {} if timing is None else timing.lengths
    whole = trial_memory(config, lengths)
    if whole is None or not cards:
        return False
    alone = alone_memory(config, lengths)
    return placement(whole, alone, min(cards), bool(lengths), config.sampling.engine) == "turns"
