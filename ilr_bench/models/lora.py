"""Agents on a shared base: several LoRA adapters on one set of frozen weights, each usable as a model of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn
from torch.nn import Parameter

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.seeds import derive_seed


class AdapterModel(nn.Module):
    """One adapter of a shared base, usable as a causal language model.

    Calling it computes with its own adapter; its parameters are the frozen base and its own adapter, so an optimizer
    over those that require gradients trains this adapter alone. The backward pass must come before another
    `AdapterModel` of the same base is called.
    """

    def __init__(self, base: PeftModel, adapter: str) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def activate(self) -> None:
        """Makes this adapter the one that the base computes with."""
        if self.base.active_adapter != self.adapter:
            self.base.set_adapter(self.adapter)
            # PEFT freezes the adapters that are not in use; the optimizers of the other agents keep theirs.
            _require_gradients(self.base)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's forward pass with this adapter."""
        self.activate()
        return self.base.get_base_model()(*args, **kwargs)

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within it the model is the base alone: the reference policy."""
        self.activate()
        with self.base.disable_adapter():
            yield

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The base's parameters and this adapter's, without those of other adapters."""
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if not _is_adapter_weight(name) or self.adapter in name.split("."):
                yield name, parameter

    def adapter_weights(self) -> dict[str, Tensor]:
        """This adapter's tensors (not copies) under PEFT's names, which do not hold the adapter's."""
        weights: dict[str, Tensor] = get_peft_model_state_dict(self.base, adapter_name=self.adapter)
        return weights

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)


def attach_lora(model: Any, settings: UpdateSettings, names: Sequence[str], seed: int = 0) -> list[AdapterModel]:
    """One new LoRA adapter on every linear layer of `model` for each agent; the base is frozen in place.

    Adapters start as the base model itself (B is zero), with A matrices that depend on `seed` and the agent's index.
    """
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    # PEFT reads dots in adapter names as module paths, and agents have names such as `smollm2.1`.
    adapters = [f"agent{index}" for index in range(len(names))]
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "lora", 0))
        base = get_peft_model(model, config, adapter_name=adapters[0])
        for index, adapter in enumerate(adapters[1:], start=1):
            torch.manual_seed(derive_seed(seed, "lora", index))
            base.add_adapter(adapter, config)
    if not isinstance(base, PeftModel):
        raise TypeError(f"{type(model).__name__} with LoRA became a {type(base).__name__}")
    _require_gradients(base)
    return [AdapterModel(base, adapter).train(model.training) for adapter in adapters]


def _require_gradients(base: PeftModel) -> None:
    for name, parameter in base.named_parameters():
        if _is_adapter_weight(name):
            parameter.requires_grad_(True)


def _is_adapter_weight(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))
