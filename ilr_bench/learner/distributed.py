"""One trial on several ranks: which rank takes which questions, what ranks exchange, and a sharded AdamW.

Every rank holds all agents. Questions are dealt out whole, so that no group is split between ranks; turns are gathered,
so that all ranks compute rewards, records and abilities from all of them in one order; gradients are summed, and every
rank takes the same optimizer step, or that of its shard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, distributed

from ilr_bench.core import signals
from ilr_bench.core.errors import ConfigurationError, IlrError, first_line
from ilr_bench.core.signals import Stopped

TIMEOUT = 3600.0
"""Seconds that a rank waits for another one in a collective operation: several times in a step, and for the heartbeats
of rank 0 while that works alone. One that dies is noticed at once."""

BUSY, DONE = "busy", "done"
"""What ranks exchange while rank 0 works and the others wait."""

WHOLE_WEIGHTS = (
    "fsdp_config.fsdp_reshard_after_forward: false under fsdp_version: 2, or fsdp_sharding_strategy: SHARD_GRAD_OP "
    "under fsdp_version: 1, as in configs/accelerate/fsdp.yaml"
)

MOMENTS = ("exp_avg", "exp_avg_sq")

T = TypeVar("T")
Key = TypeVar("Key")


class Responder(Protocol):
    """Has this rank's shard of something that rank 0 may request."""

    def respond(self) -> None:
        """Takes part in gathering it, as rank 0 does after its `DistContext.request`."""


@dataclass(frozen=True)
class _Call:
    """Sent by rank 0 in place of its value: the others respond for `name` first."""

    name: str


@dataclass(frozen=True)
class DistContext:
    """This process's rank among those that train one trial; by default it is the only one."""

    rank: int = 0
    size: int = 1
    timeout: float = TIMEOUT
    others_wait: bool = True
    """Whether the others wait for what rank 0 does after the training; they leave after the last trial."""
    shards: bool = False
    """Whether optimizer states are sharded over the ranks."""
    device: str = "cpu"
    """Where tensors have to be for collective operations."""
    responders: WeakValueDictionary[str, Responder] = field(
        default_factory=WeakValueDictionary, compare=False, repr=False
    )
    """By name, what this rank may be requested to gather."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes records and checkpoints."""
        return self.rank == 0

    def own_range(self, count: int) -> range:
        """This rank's indices of `count`: consecutive, and in numbers that differ by at most one between ranks."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def own_part(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of a list."""
        indices = self.own_range(len(items))
        return items[indices.start : indices.stop]

    def gather(self, own: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.size == 1:
            return [own]
        given = _exchange(own, self.size)
        while isinstance(given[0], _Call):
            self.responders[given[0].name].respond()
            given = _exchange(own, self.size)
        return given

    def request(self, name: str) -> None:
        """Has the other ranks respond for `name` in their next `gather`; for rank 0, which then takes part."""
        if self.size > 1:
            _exchange(_Call(name), self.size)

    def broadcast(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        """Copies each tensor from its owner to all ranks, in place; all of them on `device`."""
        if self.size > 1:
            with _explained():
                for tensor, owner in zip(tensors, owners, strict=True):
                    distributed.broadcast(tensor, owner)

    def from_rank0(self, own: T) -> T:
        """Rank 0's value."""
        return self.gather(own)[0]

    def rank0_first(self, make: Callable[[], T]) -> T:
        """What `make` returns: on rank 0 first, then on the others, which have waited and find its work done."""
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
            signals.subscribe_heartbeat(None)
        self.gather(DONE)

    def wait_rank0(self) -> None:
        """Waits while rank 0 is `rank0_busy`; raises IlrError where it ends, or sends no heartbeat for too long."""
        while self.from_rank0(BUSY) != DONE:
            pass

    @contextmanager
    def until_saved(self) -> Iterator[None]:
        """Around a trial: where all are asked to stop, ranks that hold shards stay until rank 0 has saved."""
        try:
            yield
        except Stopped:
            if self.shards:
                self.gather(BUSY)
            raise

    def all_gather(self, own: Mapping[Key, Sequence[Sequence[T]]]) -> dict[Key, list[list[T]]]:
        """By stage, agent and question: every rank's questions, joined in the order of ranks."""
        parts = self.gather(own)
        return {
            stage: [[item for part in parts for item in part[stage][agent]] for agent in range(len(by_agent))]
            for stage, by_agent in own.items()
        }

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sums the tensors over all ranks, in place, to the same bits everywhere."""
        if self.size > 1:
            with _explained():
                for tensor in tensors:
                    distributed.all_reduce(tensor)


SINGLE = DistContext()


@dataclass
class _RankHeartbeat:
    """Passes heartbeats of rank 0 on to the ranks that wait, a tenth of the timeout apart or more."""

    dist: DistContext
    last_sent: float

    def __call__(self) -> None:
        if time.monotonic() - self.last_sent > self.dist.timeout / 10:
            self.dist.gather(BUSY)
            self.last_sent = time.monotonic()


def _exchange(own: T, size: int) -> list[T]:
    given: list[T | None] = [None] * size
    with _explained():
        distributed.all_gather_object(given, own)
    return given  # type: ignore[return-value]


def dist_from_environment(timeout: float = TIMEOUT) -> DistContext:
    """This process among those that `accelerate launch` (or torchrun) started for one trial, else `SINGLE`.

    `timeout`: seconds after which a rank that the others wait for counts as hung. Raises ConfigurationError where the
    launch asks for sharded weights or partitioned models.
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
        # The shards are made here; left set, it has accelerate wrap models, and transformers load them empty.
        os.environ["ACCELERATE_USE_FSDP"] = "false"
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=timeout))
    return DistContext(state.process_index, state.num_processes, timeout, shards=shards, device=str(state.device))


def _check_shards() -> None:
    """Raises ConfigurationError unless weights stay whole on their device, as sampling needs them."""
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
    """Takes this process out of its group for good."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise IlrError(
            f"another process of this trial has ended or does not answer ({first_line(error)}); its own messages say "
            "why, and the same command continues from the last checkpoint (--patience: how long one is waited for)"
        ) from error


def owners(sizes: Sequence[int], ranks: int) -> list[int]:
    """The rank that steps each weight; the largest first, each to the rank that has least so far."""
    loads, taken = [0] * ranks, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        taken[index] = min(range(ranks), key=loads.__getitem__)
        loads[taken[index]] += sizes[index]
    return taken


class ShardedAdamW(torch.optim.AdamW):
    """AdamW; each rank keeps the moments of its shard of the weights, and steps only these.

    What ZeRO calls stage 1 (Rajbhandari et al. 2020, arXiv 1910.02054), by whole weights. AdamW treats every element by
    itself, so the result has AdamW's bits. Gradients have to be equal on all ranks; weights are after each step.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, name: str, dist: DistContext) -> None:
        """`name`: of no other optimizer that these ranks have at the time."""
        super().__init__(groups, lr=lr)
        self.name, self.dist = name, dist
        self.weights = [weight for group in self.param_groups for weight in group["params"]]
        self.owners = owners([weight.numel() for weight in self.weights], dist.size)
        dist.responders[name] = self

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Steps the own weights, and copies the others from their owners."""
        for weight, owner in zip(self.weights, self.owners, strict=True):
            if owner != self.dist.rank:
                weight.grad = None
        loss: float | None = super().step(closure)
        self.dist.broadcast(self.weights, self.owners)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, with all moments, on the CPU; for rank 0, which requests the other ranks' shards."""
        self.dist.request(self.name)
        return self._gathered()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keeps its shard of the state of any AdamW on these weights."""
        own = {index: kept for index, kept in state["state"].items() if self.owners[index] == self.dist.rank}
        super().load_state_dict(state | {"state": own})

    def respond(self) -> None:
        """Sends this rank's shard to rank 0."""
        self._gathered()

    def _gathered(self) -> dict[str, Any]:
        state = super().state_dict()
        own = state["state"]
        steps: dict[int, float] = {}
        for part in self.dist.gather({index: float(kept["step"]) for index, kept in own.items()}):
            steps |= part
        whole: dict[int, dict[str, Any]] = {}
        for index in sorted(steps):
            # One weight at a time: a device may have memory for one shard only. Agents may be offloaded meanwhile.
            like = self.weights[index].detach()
            moments = [
                own[index][name].to(self.dist.device)
                if index in own
                else torch.empty_like(like, device=self.dist.device)
                for name in MOMENTS
            ]
            self.dist.broadcast(moments, [self.owners[index]] * len(moments))
            if self.dist.is_main:
                found = {name: moment.cpu() for name, moment in zip(MOMENTS, moments, strict=True)}
                whole[index] = {"step": torch.tensor(steps[index])} | found
        return state | {"state": whole}
