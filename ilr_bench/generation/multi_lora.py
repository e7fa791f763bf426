"""Forward passes of one model, or of several LoRA adapters on one base in the same pass.

A step of decoding reads all weights for a token of every row. Twins differ in their adapters alone, so their rows can
share that reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peft.tuners.lora import Linear as LoraLayer
from torch import Tensor, cat
from torch.nn import functional

from ilr_bench.generation.onednn_linear import replaced_forwards
from ilr_bench.models.lora import AdapterModel


class MultiLoRA:
    """One model, or several `AdapterModel`s of one base: `model` computes what `use_one` or `use_per_row` says.

    PEFT's own forward gives the same numbers, for one adapter at a time, and takes a tenth longer.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        """Several models have to be adapters of one base."""
        first = models[0]
        self.model: Any = first.base.get_base_model() if isinstance(first, AdapterModel) else first
        """What is called, under `speaking`."""
        self._adapters = [model.adapter for model in models if isinstance(model, AdapterModel)]
        self._parts: list[tuple[slice, str]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it the model obeys; whoever was active in PEFT before is so again afterwards."""
        layers = [layer for layer in self.model.modules() if isinstance(layer, LoraLayer)] if self._adapters else []
        with replaced_forwards({layer: self._forward(layer) for layer in layers}):
            yield

    def use_one(self, number: int) -> None:
        """All that follows is said by one voice."""
        self._parts = [(slice(None), adapter) for adapter in self._adapters[number : number + 1]]

    def use_per_row(self, adapter_of_row: NDArray[np.int64]) -> None:
        """(rows,) ascending: which voice says which rows of the passes that follow."""
        used, starts = np.unique(adapter_of_row, return_index=True)
        if len(used) == 1:
            self.use_one(int(used[0]))
            return
        ends = [*starts[1:], len(adapter_of_row)]
        self._parts = [
            (slice(int(start), int(end)), self._adapters[number])
            for number, start, end in zip(used, starts, ends, strict=True)
        ]

    def _forward(self, layer: Any) -> Callable[[Tensor], Tensor]:
        def forward(inputs: Tensor) -> Tensor:
            added = [
                functional.linear(
                    functional.linear(inputs[rows], layer.lora_A[name].weight), layer.lora_B[name].weight
                ) * layer.scaling[name]
                for rows, name in self._parts
            ]  # fmt: skip
            product: Tensor = layer.base_layer(inputs)
            return product + (added[0] if len(added) == 1 else cat(added))

        return forward
