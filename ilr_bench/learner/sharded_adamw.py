"""AdamW on several processes, each of which keeps the moments of its share of the weights and steps these.

What ZeRO calls stage 1 (Rajbhandari et al. 2020, arXiv 1910.02054), by whole weights. AdamW treats every element by
itself, so the result has the bits of AdamW in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from ilr_bench.learner.distributed import DistContext

MOMENTS = ("exp_avg", "exp_avg_sq")


def owners(sizes: Sequence[int], processes: int) -> list[int]:
    """The process that steps each weight; the largest first, each to the one that has least so far."""
    loads, taken = [0] * processes, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        taken[index] = min(range(processes), key=loads.__getitem__)
        loads[taken[index]] += sizes[index]
    return taken


class ShardedAdamW(torch.optim.AdamW):
    """Gradients come in whole and equal in all processes, and weights are whole and equal in all after each step."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, name: str, dist: DistContext) -> None:
        """`name`: unlike that of any other optimizer that these processes share at the time."""
        super().__init__(groups, lr=lr)
        self.name, self.dist = name, dist
        self.weights = [weight for group in self.param_groups for weight in group["params"]]
        self.owners = owners([weight.numel() for weight in self.weights], dist.size)
        dist.responders[name] = self

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Steps the own weights, and takes over those that the others have stepped."""
        for weight, owner in zip(self.weights, self.owners, strict=True):
            if owner != self.dist.rank:
                weight.grad = None
        loss: float | None = super().step(closure)
        self.dist.broadcast(self.weights, self.owners)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, with all moments, on the CPU; to be asked for in the process that leads, which asks the others."""
        self.dist.request(self.name)
        return self._gathered()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes its share of what any AdamW on these weights has given."""
        own = {index: kept for index, kept in state["state"].items() if self.owners[index] == self.dist.rank}
        super().load_state_dict(state | {"state": own})

    def respond(self) -> None:
        """Gives the process that leads what it has asked for."""
        self._gathered()

    def _gathered(self) -> dict[str, Any]:
        state = super().state_dict()
        own = state["state"]
        steps: dict[int, float] = {}
        for part in self.dist.gather({index: float(kept["step"]) for index, kept in own.items()}):
            steps |= part
        whole: dict[int, dict[str, Any]] = {}
        for index in sorted(steps):
            # One weight at a time: a device that has room for its share only need not hold more. Agents that take turns
            # on it may have gone home.
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
