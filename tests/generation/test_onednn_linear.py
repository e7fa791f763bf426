"""Large linear layers through oneDNN: the same numbers and gradients as torch's own product."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import PAD, tiny_model
from torch import nn
from update_gradients import assert_same, gradients_of, to_train

from ilr_bench.core.config import UpdateSettings
from ilr_bench.generation import onednn_linear
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.onednn_linear import LEAST_WEIGHT, fast_linears
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample


def layer(bias: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, LEAST_WEIGHT // 256, bias=bias))


@pytest.fixture(autouse=True)
def _own_generator() -> Any:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def every_layer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn_linear, "LEAST_WEIGHT", 1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 16, 100])
def test_layers_compute_what_torch_computes(rows: int, bias: bool) -> None:
    model = layer(bias)
    inputs = torch.randn(rows, 1, 256)
    with torch.inference_mode():
        expected = model(inputs)
        with fast_linears(model):
            found, again = model(inputs), model(inputs)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, again)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 256), (1, 40, 256), (2, 3, 256)])
def test_trained_layers_have_the_gradients_that_torch_gives_them(shape: tuple[int, ...], bias: bool) -> None:
    found = []
    for fast in (False, True):
        model = layer(bias)
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        if fast:
            with fast_linears(model):
                output = model(inputs)
        else:
            output = model(inputs)
        output.square().sum().backward()
        found.append([output, inputs.grad, *(weight.grad for weight in model.parameters())])
    for plain, quick in zip(*found, strict=True):
        assert torch.allclose(plain, quick, rtol=1e-5, atol=1e-4)


def test_frozen_weights_get_no_gradient() -> None:
    model = layer(bias=False).requires_grad_(False)
    inputs = torch.randn(5, 256, requires_grad=True)
    with fast_linears(model):
        model(inputs).sum().backward()
    assert inputs.grad is not None
    assert model[0].weight.grad is None


def test_layers_are_left_as_they_were_also_when_nested_and_after_an_error() -> None:
    model = layer(bias=True)
    with fast_linears(model):
        outer = model[0].forward
        with pytest.raises(ZeroDivisionError), fast_linears(model):
            raise ZeroDivisionError
        assert model[0].forward is outer
    assert "forward" not in model[0].__dict__


def test_small_layers_half_precision_and_other_modules_are_left_alone() -> None:
    model = nn.Sequential(
        nn.Linear(64, LEAST_WEIGHT // 64 - 1), nn.Linear(256, 256).to(torch.bfloat16), nn.Embedding(256, 256)
    )
    with fast_linears(model):
        assert not any("forward" in module.__dict__ for module in model)


def test_autocast_computes_in_its_own_precision() -> None:
    model, inputs = layer(bias=True), torch.randn(5, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(inputs)
        with fast_linears(model):
            found = model(inputs)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("every_layer_counts")
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_whole_model_samples_the_same_tokens(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(kind)
    options = SamplingOptions(20, 1.0)
    asked, counts = [[5, 6, 7], [8] * 30], [9, 12]
    found = TransformersEngine(model, (), PAD, str).sample(SamplingRequest(asked, counts, options, 3))
    monkeypatch.setattr(onednn_linear, "LEAST_WEIGHT", 2**40)
    plain = TransformersEngine(model, (), PAD, str).sample(SamplingRequest(asked, counts, options, 3))
    for one, other in zip(chain(*found), chain(*plain), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_update_has_the_gradients_of_torchs_own_product(
    adapter: Any, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = UpdateSettings(adapter=adapter, lora_rank=4, gradient_checkpointing=checkpointing)
    base = tiny_model("qwen2", scale=0.1)
    samples = [
        TrainingSample((5, 6, 7), (8 + k, 9, 10), np.full(3, -2, dtype=np.float32), (-1.0) ** k, "q") for k in range(6)
    ]
    found = []
    for least in (1, 2**40):
        monkeypatch.setattr(onednn_linear, "LEAST_WEIGHT", least)
        learner = GRPOLearner(to_train(base, settings), "A", settings, 10, 8, 1.0)
        found.append(gradients_of(learner, samples))
    assert_same(*found)
