"""Large linear layers on the CPU, computed by oneDNN.

torch multiplies single-precision matrices with MKL, which uses AVX2 only on processors that are not Intel's: half of
what AVX-512 can do (92 against 200 GFLOPS a core of Zen 5). oneDNN, which is in every CPU build of torch for
`torch.compile`, uses what the processor has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_WEIGHT = 2**16
"""Entries of the smallest weight that gains: below, oneDNN's 12 microseconds a call are more than it saves."""


@contextmanager
def fast_linears(model: Any) -> Iterator[None]:
    """Within it the model's large linear layers compute the same but for the last bits, in less time.

    Gradients flow, also in a backward pass that begins after it has ended.
    """
    with replaced_forwards({module: _fast(module) for module in model.modules() if _gains(module)}):
        yield


@contextmanager
def replaced_forwards(forwards: Mapping[Any, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Within it each module has the forward given here."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, forward in before.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _gains(module: nn.Module) -> bool:
    if type(module) is not nn.Linear or not torch._C._has_mkldnn:
        return False
    weight = module.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LEAST_WEIGHT


def _fast(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    def forward(inputs: Tensor) -> Tensor:
        # Autocast chooses a precision of its own, and torch takes oneDNN for it already.
        if torch.is_autocast_enabled("cpu") or inputs.dtype != torch.float32:
            return functional.linear(inputs, module.weight, module.bias)
        product: Tensor = _Product.apply(inputs, module.weight)  # type: ignore[no-untyped-call]
        return product if module.bias is None else product + module.bias

    return forward


class _Product(torch.autograd.Function):
    """inputs (..., in) times the transpose of weight (out, in)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiply(inputs, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        rows, flat = gradient.flatten(0, -2), inputs.flatten(0, -2)
        to_inputs = _multiply(rows, weight.t()).view_as(inputs) if ctx.needs_input_grad[0] else None
        to_weight = _multiply(rows.t(), flat.t()) if ctx.needs_input_grad[1] else None
        return to_inputs, to_weight


def _multiply(inputs: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
    return product
