"""Drawing inside vLLM as the transformers engine draws: the same random numbers, all rows of a step in one call.

vLLM's own seeded draws make a call for every row. Here a row needs one number a step, and its log-probability comes
with the draw. vLLM is told to take the likeliest token, and finds the drawn one to be it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ilr_bench.generation.sampling import draw, uniforms


class Draws:
    """What the rows of one call draw, step by step."""

    def __init__(self) -> None:
        """Rows come with `begin`."""
        self.temperature = 0.0
        self.uniforms = self.logprobs = torch.zeros(0, 0)

    def begin(
        self,
        names: Sequence[tuple[int, int, int]],
        temperature: float,
        limit: int,
        device: Any,
    ) -> None:
        """names[i] names the stream of row i; `limit`: most tokens of a row."""
        self.temperature = temperature
        self.uniforms = torch.from_numpy(uniforms(names, limit)).to(device)
        self.logprobs = torch.zeros(len(names), limit, device=device)

    def take(self, logits: Tensor, places: list[int], steps: list[int]) -> Tensor:
        """(rows,) next tokens of the rows at `places`, whose tokens so far are `steps`; keeps their log-probabilities.

        A row that is asked for the same step again gets the same token.
        """
        at = torch.tensor(places, device=logits.device), torch.tensor(steps, device=logits.device)
        chosen, logprobs = draw(logits, self.temperature, self.uniforms[at])
        self.logprobs[at] = logprobs
        return chosen


def processor(draws: Draws) -> type:
    """The class through which vLLM (model runner V1) asks `draws` for the rows whose places `extra_args` tell."""
    # Imported with vLLM, which is not everywhere and takes seconds.
    from vllm.v1.sample.logits_processor import LogitsProcessor, process_dict_updates

    class Drawn(LogitsProcessor):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
            self.rows: dict[int, tuple[int, list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            process_dict_updates(
                self.rows,
                batch_update,
                lambda params, _, said: (params.extra_args["row"], said) if params.extra_args else None,
            )

        def apply(self, logits: Tensor) -> Tensor:
            if self.rows:
                slots = list(self.rows)
                places, said = zip(*self.rows.values(), strict=True)
                chosen = draws.take(logits[slots], list(places), [len(tokens) for tokens in said])
                logits[slots, chosen] = torch.inf
            return logits

    return Drawn
