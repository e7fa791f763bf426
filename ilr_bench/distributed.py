"""One trial on several processes: who takes which questions, and what the processes tell each other.

Every process holds all agents. A step's questions are dealt out whole, so that no group straddles processes; what was
said of them is gathered, so that rewards, records and abilities are computed from everything, everywhere and in one
order; gradients are added up, and every process takes the same optimizer step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ilr_bench import heartbeat
from ilr_bench.errors import ConfigurationError, IlrError

PATIENCE = 3600.0
"""Seconds that a process waits for another one that lives, wherever they meet: several times in a step, and while the
first one works for all, at its signs of life. One that dies is noticed at once."""

BUSY, DONE = "busy", "done"
"""What processes say where one works and the others wait."""

T = TypeVar("T")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train one trial; by default it is alone."""

    rank: int = 0
    size: int = 1
    patience: float = PATIENCE
    attended: bool = True
    """Whether the others wait for what the first one does after the training; they leave after the last trial."""

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them have found."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The places that this process takes of `count`: neighbours, and nobody takes two more than another."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def part(self, things: Sequence[T]) -> Sequence[T]:
        """This process's share of a list."""
        places = self.share(len(things))
        return things[places.start : places.stop]

    def gather(self, own: T) -> list[T]:
        """What every process gives, by rank."""
        if self.size == 1:
            return [own]
        given: list[T | None] = [None] * self.size
        with _explained():
            distributed.all_gather_object(given, own)
        return given  # type: ignore[return-value]

    def led(self, own: T) -> T:
        """What the process that leads gives."""
        return self.gather(own)[0]

    def first(self, make: Callable[[], T]) -> T:
        """What `make` gives: in the process that leads first, then in those that have waited, who find it made."""
        if self.leads:
            with self.working():
                return make()
        self.wait()
        return make()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around what the process that leads does alone while the others `wait`: each sign of life reaches them."""
        if self.size == 1:
            yield
            return
        heartbeat.listen(_Meetings(self, time.monotonic()))
        try:
            yield
        finally:
            heartbeat.listen(_nothing)
        self.gather(DONE)

    def wait(self) -> None:
        """Waits while another process is `working`; raises IlrError where it ends, or is silent for too long."""
        while self.led(BUSY) != DONE:
            pass

    def whole(self, own: Mapping[Key, Sequence[Sequence[T]]]) -> dict[Key, list[list[T]]]:
        """By stage, agent and question: what every process has of its questions becomes what there is of all."""
        parts = self.gather(own)
        return {
            stage: [[item for part in parts for item in part[stage][agent]] for agent in range(len(by_agent))]
            for stage, by_agent in own.items()
        }

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Puts the sums over all processes in the tensors' place, the same bits everywhere."""
        if self.size > 1:
            with _explained():
                for tensor in tensors:
                    distributed.all_reduce(tensor)


ALONE = Ranks()


@dataclass
class _Meetings:
    """Meets those that wait when there is a sign of life, and the last meeting is a while ago."""

    ranks: Ranks
    met: float

    def __call__(self) -> None:
        if time.monotonic() - self.met > self.ranks.patience / 10:
            self.ranks.gather(BUSY)
            self.met = time.monotonic()


def _nothing() -> None:
    """Takes no note of a sign of life."""


def launched(patience: float = PATIENCE) -> Ranks:
    """The processes that `accelerate launch` (or torchrun) started for one trial; else this one alone.

    `patience`: seconds after which one that does not come to where the others wait counts as hung. Raises
    ConfigurationError where the launch asks for sharded or partitioned models.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise ConfigurationError(
                f"{name} was asked for, but the policy update keeps whole models in every process; launch with "
                "configs/accelerate/gpus.yaml, and lower the memory by update.adapter=lora, "
                "update.gradient_checkpointing=true or update.rows_per_micro_batch"
            )
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=patience))
    return Ranks(state.process_index, state.num_processes, patience)


def leave() -> None:
    """Takes this process out of its group; nothing is said in it afterwards."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise IlrError(
            f"another process of this trial has ended or does not answer ({reason}); its own messages say why, and the "
            "same command continues from the last checkpoint (--patience: how long one is waited for)"
        ) from error
