"""One trial on several processes: who takes which questions, and what the processes tell each other.

Every process holds all agents. A step's questions are dealt out whole, so that no group straddles processes; what was
said of them is gathered, so that rewards, records and abilities are computed from everything, everywhere and in one
order; gradients are added up, and every process takes the same optimizer step, or its share of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, distributed

from ilr_bench.core import signals
from ilr_bench.core.errors import ConfigurationError, IlrError
from ilr_bench.core.signals import Stopped

TIMEOUT = 3600.0
"""Seconds that a process waits for another one that lives, wherever they meet: several times in a step, and while the
first one works for all, at its signs of life. One that dies is noticed at once."""

BUSY, DONE = "busy", "done"
"""What processes say where one works and the others wait."""

WHOLE_WEIGHTS = (
    "fsdp_config.fsdp_reshard_after_forward: false under fsdp_version: 2, or fsdp_sharding_strategy: SHARD_GRAD_OP "
    "under fsdp_version: 1, as in configs/accelerate/fsdp.yaml"
)

T = TypeVar("T")
Key = TypeVar("Key")


class Responder(Protocol):
    """Has a part of what the process that leads may want whole."""

    def respond(self) -> None:
        """Takes this process's part in gathering it, as the process that leads does after its `DistContext.request`."""


@dataclass(frozen=True)
class _Call:
    """Said in the place of anything else by the process that leads: it wants the others to answer first."""

    name: str


@dataclass(frozen=True)
class DistContext:
    """This process's place among those that train one trial; by default it is alone."""

    rank: int = 0
    size: int = 1
    timeout: float = TIMEOUT
    others_wait: bool = True
    """Whether the others wait for what the first one does after the training; they leave after the last trial."""
    shards: bool = False
    """Whether each process keeps a share of the optimizers' states instead of all of them."""
    device: str = "cpu"
    """Where tensors have to be that the processes send each other."""
    responders: WeakValueDictionary[str, Responder] = field(
        default_factory=WeakValueDictionary, compare=False, repr=False
    )
    """By name, what this process may be called for while it meets the others."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all of them have found."""
        return self.rank == 0

    def own_range(self, count: int) -> range:
        """The places that this process takes of `count`: neighbours, and nobody takes two more than another."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def own_part(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share of a list."""
        indices = self.own_range(len(items))
        return items[indices.start : indices.stop]

    def gather(self, own: T) -> list[T]:
        """What every process gives, by rank."""
        if self.size == 1:
            return [own]
        given = _exchange(own, self.size)
        while isinstance(given[0], _Call):
            self.responders[given[0].name].respond()
            given = _exchange(own, self.size)
        return given

    def request(self, name: str) -> None:
        """Has the others answer for `name` where they meet next; for the process that leads, which then joins them."""
        if self.size > 1:
            _exchange(_Call(name), self.size)

    def broadcast(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        """Puts what the owner of each tensor has in its place everywhere; all of them on `device`."""
        if self.size > 1:
            with _explained():
                for tensor, owner in zip(tensors, owners, strict=True):
                    distributed.broadcast(tensor, owner)

    def from_rank0(self, own: T) -> T:
        """What the process that leads gives."""
        return self.gather(own)[0]

    def rank0_first(self, make: Callable[[], T]) -> T:
        """What `make` gives: in the process that leads first, then in those that have waited, who find it made."""
        if self.is_main:
            with self.rank0_busy():
                return make()
        self.wait_rank0()
        return make()

    @contextmanager
    def rank0_busy(self) -> Iterator[None]:
        """Around what rank 0 does by itself while the others `wait_rank0`: its heartbeats reach them."""
        if self.size == 1:
            yield
            return
        signals.subscribe_heartbeat(_RankHeartbeat(self, time.monotonic()))
        try:
            yield
        finally:
            signals.subscribe_heartbeat(_nothing)
        self.gather(DONE)

    def wait_rank0(self) -> None:
        """Waits while another process is `rank0_busy`; raises IlrError where it ends, or is silent for too long."""
        while self.from_rank0(BUSY) != DONE:
            pass

    @contextmanager
    def until_saved(self) -> Iterator[None]:
        """Around a trial: where all are asked to stop, those that keep shares stay until the first one has saved."""
        try:
            yield
        except Stopped:
            if self.shards:
                self.gather(BUSY)
            raise

    def all_gather(self, own: Mapping[Key, Sequence[Sequence[T]]]) -> dict[Key, list[list[T]]]:
        """By stage, agent and question: what every process has of its questions becomes what there is of all."""
        parts = self.gather(own)
        return {
            stage: [[item for part in parts for item in part[stage][agent]] for agent in range(len(by_agent))]
            for stage, by_agent in own.items()
        }

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Puts the sums over all processes in the tensors' place, the same bits everywhere."""
        if self.size > 1:
            with _explained():
                for tensor in tensors:
                    distributed.all_reduce(tensor)


SINGLE = DistContext()


@dataclass
class _RankHeartbeat:
    """Meets those that wait when there is a sign of life, and the last meeting is a while ago."""

    dist: DistContext
    last_sent: float

    def __call__(self) -> None:
        if time.monotonic() - self.last_sent > self.dist.timeout / 10:
            self.dist.gather(BUSY)
            self.last_sent = time.monotonic()


def _nothing() -> None:
    """Takes no note of a sign of life."""


def _exchange(own: T, size: int) -> list[T]:
    given: list[T | None] = [None] * size
    with _explained():
        distributed.all_gather_object(given, own)
    return given  # type: ignore[return-value]


def dist_from_environment(timeout: float = TIMEOUT) -> DistContext:
    """The processes that `accelerate launch` (or torchrun) started for one trial; else this one alone.

    `timeout`: seconds after which one that does not come to where the others wait counts as hung. Raises
    ConfigurationError where the launch asks for weights in shards or for partitioned models.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SINGLE
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if _is_set(f"ACCELERATE_USE_{name}"):
            raise ConfigurationError(
                f"{name} was asked for, but the policy update keeps whole models in every process; launch with "
                "configs/accelerate/gpus.yaml, or with fsdp.yaml beside it, which shares out the optimizers' states; "
                "update.adapter=lora, update.gradient_checkpointing=true or update.rows_per_micro_batch lower the "
                "memory further"
            )
    shards = _is_set("ACCELERATE_USE_FSDP")
    if shards:
        _check_shards()
        # The shares are made here; left set, it has accelerate wrap models, and transformers load them empty.
        os.environ["ACCELERATE_USE_FSDP"] = "false"
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=timeout))
    return DistContext(state.process_index, state.num_processes, timeout, shards=shards, device=str(state.device))


def _check_shards() -> None:
    """Raises ConfigurationError unless weights stay whole and where they are, as sampling needs them."""
    if os.environ.get("FSDP_VERSION", "1") == "2":
        sharded = _is_set("FSDP_RESHARD_AFTER_FORWARD", "true")
    else:
        sharded = os.environ.get("FSDP_SHARDING_STRATEGY", "").upper() not in ("SHARD_GRAD_OP", "2")
    if sharded:
        raise ConfigurationError(
            "FSDP was asked to shard the weights, but every stage samples with whole ones; optimizer states alone are "
            f"shared out: write {WHOLE_WEIGHTS}"
        )
    for name in ("offload_params", "activation_checkpointing", "cpu_ram_efficient_loading"):
        if _is_set(f"FSDP_{name.upper()}"):
            raise ConfigurationError(
                f"FSDP was asked for fsdp_config.fsdp_{name}, but it is not FSDP that holds the models here; write "
                "false, as in configs/accelerate/fsdp.yaml (update.gradient_checkpointing=true, update.adapter=lora "
                "and update.rows_per_micro_batch lower the memory further)"
            )


def _is_set(name: str, default: str = "false") -> bool:
    return os.environ.get(name, default).lower() in ("true", "1")


def leave_process_group() -> None:
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
