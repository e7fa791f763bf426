"""Updates by a server: gradients, weights and metrics of the local learner on the same tokens, and refused lies."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_tinker import FakeServer, FakeService
from safetensors.numpy import save
from tiny_models import tiny_model
from update_gradients import gradients_of, to_train
from update_turns import LONGEST, logprobs, random_samples, updater

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import ConfigurationError, NumericalError, ServiceError, StoreError
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.learner.tinker_learner import TinkerLearner
from ilr_bench.models import tinker_adapter
from ilr_bench.models.loading import load_weights
from ilr_bench.models.tinker import Address, TinkerPolicy

LORA = UpdateSettings(adapter="lora", lora_rank=4, learning_rate=1e-2, warmup_steps=0)


def learner_on(server: FakeServer, settings: UpdateSettings = LORA, temperature: float = 1.0) -> TinkerLearner:
    policy = TinkerPolicy("A", "base", FakeService(server), Address("http://localhost:1"), 512, settings.lora_rank, 0)
    found: Any = lambda: server.reduction  # noqa: E731
    return TinkerLearner(policy, settings, 10, LONGEST, temperature, found)


def some_samples(model: Any) -> list[TrainingSample]:
    """Two rows without advantage among them, one without tokens, and ratios beyond the clip range on both sides."""
    samples = random_samples(model, ((3, 4), (40, 3), (1, 2)))
    rng = np.random.default_rng(1)
    moved = [
        replace(one, logprobs=(one.logprobs + rng.normal(0, 0.3, len(one.completion_ids))).astype(np.float32))
        for one in samples
        if one.logprobs is not None
    ]
    moved[2] = replace(moved[2], credit=0.0)
    return [*moved, replace(moved[0], completion_ids=(), logprobs=np.zeros(0, dtype=np.float32))]


@pytest.mark.parametrize("reduction", ["sum", "sequence_mean"])
@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize(("beta", "foreign"), [(0.0, False), (0.0, True), (0.2, False), (0.2, True)])
def test_gradients_loss_and_metrics_are_the_local_learners(
    reduction: str, loss_type: Any, beta: float, foreign: bool
) -> None:
    model = tiny_model(scale=0.1)
    settings = replace(LORA, loss_type=loss_type, beta=beta, epsilon_high=0.1)
    samples = some_samples(model)
    if foreign:
        samples[1] = replace(samples[1], logprobs=None)
    local = updater(to_train(model, settings), settings)
    expected = gradients_of(updater(to_train(model, settings), settings), samples)
    metrics = local.update(samples, 1)
    served = learner_on(FakeServer(model, reduction=reduction), settings)
    found = served.submit(samples, 1).result()
    gradient = served.policy.trainer.gradient
    assert max(float(one.abs().max()) for one in expected.values()) > 1e-4
    assert gradient.keys() == expected.keys()
    for name, one in gradient.items():
        assert torch.allclose(one, expected[name], atol=1e-6, rtol=1e-4), name
    assert found.loss == pytest.approx(metrics.loss, rel=1e-4, abs=1e-6)
    assert found.gradient_norm == pytest.approx(metrics.gradient_norm, rel=1e-4)
    assert found.kl == pytest.approx(metrics.kl, rel=1e-3, abs=1e-7) if beta else found.kl is None
    assert (found.trained_tokens, found.skipped_turns) == (metrics.trained_tokens, metrics.skipped_turns)
    assert found.learning_rate == metrics.learning_rate


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["sum", "sequence_mean"])
def test_several_steps_end_in_the_local_learners_weights(beta: float, reduction: str) -> None:
    model = tiny_model(scale=0.1)
    settings = replace(LORA, iterations=3, beta=beta, warmup_steps=4, weight_decay=0.1)
    samples = some_samples(model)
    nothing = [replace(one, credit=0.0) for one in samples]
    local, served = (
        updater(to_train(model, settings), settings),
        learner_on(FakeServer(model, reduction=reduction), settings),
    )
    for step, batch in enumerate((samples, nothing, samples), start=1):
        expected, found = local.update(batch, step), served.submit(batch, step).result()
        assert found.loss == pytest.approx(expected.loss, rel=1e-3, abs=1e-6)
        assert found.learning_rate == expected.learning_rate
    ours = {name: weight for name, weight in local.model.named_parameters() if weight.requires_grad}
    theirs = dict(served.policy.trainer.model.named_parameters())
    for name, weight in ours.items():
        assert torch.allclose(weight, theirs[name], atol=2e-5), name


def test_an_update_without_kl_is_sent_whole_before_anything_is_awaited() -> None:
    server = FakeServer(tiny_model(scale=0.1))
    served = learner_on(server, replace(LORA, iterations=2))
    pending = served.submit(some_samples(server.model), 1)
    assert server.requests == ["create", *["forward_backward", "optim_step"] * 2, "publish"]
    assert pending.result().trained_tokens > 0
    assert pending.result() is pending.result()


def test_a_state_brings_back_weights_moments_and_schedule(tmp_path: Path) -> None:
    model = tiny_model(scale=0.1)
    server = FakeServer(model)
    samples = some_samples(model)
    settings = replace(LORA, warmup_steps=4)
    whole = learner_on(server, settings)
    whole.submit(samples, 1).result()
    whole.save(tmp_path)
    expected = whole.submit(samples, 2).result()
    again = learner_on(server, settings)
    again.load(tmp_path)
    assert again.submit(samples, 2).result() == expected
    with pytest.raises(StoreError, match="rank 4, not of base with rank 8"):
        learner_on(server, replace(settings, lora_rank=8)).load(tmp_path)
    server.states.clear()
    with pytest.raises(ServiceError, match="lives on that server: bring the server back"):
        learner_on(server, settings).load(tmp_path)


def test_after_the_last_step_the_adapter_comes_home_at_our_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(tiny_model(scale=0.1))
    monkeypatch.setattr(
        tinker_adapter, "_fetched", lambda request, what: server.archives[request.full_url.partition("/v1/")[2]]
    )
    served = learner_on(server)
    served.submit(some_samples(server.model), 9).result()
    served.save(tmp_path)
    assert server.archives == {}
    served.submit(some_samples(server.model), 10).result()
    served.save(tmp_path)
    home = to_train(server.model, LORA)
    load_weights(home, tmp_path)
    trained = dict(served.policy.trainer.model.named_parameters())
    moved = 0.0
    for name, weight in home.named_parameters():
        assert torch.allclose(weight, trained[name], atol=1e-7), name
        moved = max(moved, float(weight.detach().abs().max()) if ".lora_B." in name else 0.0)
    assert moved > 1e-3
    assert logprobs(home, some_samples(server.model)[0]) == pytest.approx(
        logprobs(served.policy.trainer.model, some_samples(server.model)[0]), abs=1e-6
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [({"r": 8, "lora_alpha": 32}, "its export has rank 8, not 4"), (None, "its export holds nothing")],
)
def test_an_export_of_something_else_is_refused(
    config: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = learner_on(FakeServer(tiny_model(scale=0.1)))
    whole = {"adapter_model.safetensors": save({}), "adapter_config.json": json.dumps(config).encode()}
    files = {} if config is None else whole
    monkeypatch.setattr(tinker_adapter, "_own_files", lambda policy, name: files)
    with pytest.raises(ServiceError, match=said):
        tinker_adapter.bring_home(served.policy, "x", tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = tiny_model(scale=0.1)
    samples = some_samples(model)
    server = FakeServer(model)
    bad = replace(samples[0], logprobs=np.full(len(samples[0].completion_ids), np.nan, dtype=np.float32))
    with pytest.raises(NumericalError, match=r"agent A, step 3: the model's log-probabilities are not finite"):
        learner_on(server).submit([bad, *samples[1:]], 3)
    assert server.requests == []
    with pytest.raises(NumericalError, match="agent A, step 1: the loss is"):
        learner_on(server).submit([replace(samples[0], credit=float("inf")), *samples[1:]], 1).result()


def without_logprobs(answer: Any) -> Any:
    return SimpleNamespace(loss_fn_outputs=[{} for _ in answer.loss_fn_outputs], metrics={})


def one_short(answer: Any) -> Any:
    return SimpleNamespace(loss_fn_outputs=answer.loss_fn_outputs[1:], metrics={})


def cut(answer: Any) -> Any:
    from tinker import types

    shorter = [
        {"logprobs": types.TensorData.from_numpy(one["logprobs"].to_numpy()[1:])} for one in answer.loss_fn_outputs
    ]
    return SimpleNamespace(loss_fn_outputs=shorter, metrics={})


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (without_logprobs, "an update without log-probabilities"),
        (one_short, "outputs for 8 sequences"),
        (cut, "log-probabilities of a sequence of"),
    ],
)
def test_a_server_that_answers_something_else_is_refused(lie: Any, said: str) -> None:
    model = tiny_model(scale=0.1)
    server = FakeServer(model, distort=lambda kind, answer: lie(answer) if kind == "forward_backward" else answer)
    with pytest.raises(ServiceError, match=said):
        learner_on(server).submit(some_samples(model), 1).result()


def test_a_server_that_trains_another_model_is_refused() -> None:
    server = FakeServer(tiny_model(scale=0.1), trains="other")
    with pytest.raises(ServiceError, match="trains other, not base"):
        learner_on(server).submit(some_samples(server.model), 1)


def test_another_temperature_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"sampling.temperature=0.7: servers give log-probabilities"):
        learner_on(FakeServer(None), temperature=0.7)


def test_the_fake_forgets_nothing_between_copies() -> None:
    model = tiny_model(scale=0.1)
    before = copy.deepcopy(model.state_dict())
    learner_on(FakeServer(model)).submit(some_samples(model), 1).result()
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
