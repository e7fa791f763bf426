"""One trial on several processes: who takes which questions, and what the processes tell each other.

Every process holds all agents. A step's questions are dealt out whole, so that no group straddles processes; what was
said of them is gathered, so that rewards, records and abilities are computed from everything, everywhere and in one
order; gradients are added up, and every process takes the same optimizer step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ilr_bench.errors import ConfigurationError, IlrError

PATIENCE = timedelta(days=1)
"""How long a process waits for another one that lives: the first of them may be scoring the trial before. One that
dies is noticed at once."""

T = TypeVar("T")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train one trial; by default it is alone."""

    rank: int = 0
    size: int = 1

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


def launched() -> Ranks:
    """The processes that `accelerate launch` (or torchrun) started for one trial; else this one alone.

    Raises ConfigurationError where the launch asks for sharded or partitioned models.
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

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    return Ranks(state.process_index, state.num_processes)


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
            "same command continues from the last checkpoint"
        ) from error
