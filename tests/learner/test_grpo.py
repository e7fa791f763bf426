"""The update of one agent: same gradient whatever is skipped or split, exact resumption, and refusal of NaN."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_model
from update_turns import equal, gradients, logprobs, random_samples, updater, weights

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import MissingInputError, NumericalError
from ilr_bench.learner.logprobs import micro_batches
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.learner.trl_loss import require_trl
from ilr_bench.models.lora import attach_lora

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")


@pytest.mark.parametrize("loss_type", LOSSES)
def test_turns_without_advantage_are_skipped_without_changing_the_gradient(loss_type: Any) -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    samples = [replace(sample, credit=0.0) if index % 3 else sample for index, sample in enumerate(samples)]
    settings = UpdateSettings(loss_type=loss_type)
    # A KL weight too small to matter keeps every turn in the forward.
    kept, skipped = replace(settings, beta=1e-30), settings
    equal(gradients(model, kept, samples), gradients(model, skipped, samples))
    metrics = updater(model, settings).update(samples, 1)
    assert metrics.skipped_turns == sum(sample.credit == 0 for sample in samples)
    assert metrics.trained_tokens == sum(len(sample.completion_ids) for sample in samples if sample.credit)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_micro_batches_do_not_change_the_gradient(kind: Any, loss_type: Any, beta: float) -> None:
    model = tiny_model(kind, scale=0.1)
    samples = random_samples(model, ((3, 5), (60, 4), (1, 2), (64, 1)))
    whole = gradients(model, UpdateSettings(loss_type=loss_type, beta=beta), samples)
    for rows in (1, 3):
        split = UpdateSettings(loss_type=loss_type, beta=beta, rows_per_micro_batch=rows)
        equal(whole, gradients(model, split, samples))


def test_micro_batches_hold_every_turn_once_and_no_more_rows_than_asked_for() -> None:
    model = tiny_model()
    samples = random_samples(model, ((3, 7), (90, 4), (5, 1), (88, 6)))
    batches = micro_batches(samples, 4)
    indices = sorted(int(index) for batch in batches for index in batch.sample_of_slot if index >= 0)
    assert indices == list(range(len(samples)))
    for batch in batches:
        filled = [index for index in batch.sample_of_slot if index >= 0]
        assert len(filled) <= 4
        lengths = [len(samples[index].prompt_ids) for index in filled]
        assert max(lengths) <= 2 * min(lengths) + 32


def test_shared_prompts_give_the_log_probabilities_of_a_plain_forward() -> None:
    model = tiny_model(scale=0.1)
    for sample in random_samples(model):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            plain = model(ids).logits[0, len(sample.prompt_ids) - 1 : -1].log_softmax(-1)
        expected = plain.gather(1, torch.tensor(sample.completion_ids)[:, None])[:, 0].numpy()
        assert sample.logprobs == pytest.approx(expected, abs=1e-5)


def test_a_step_makes_rewarded_turns_likelier_and_punished_ones_less_likely() -> None:
    model = tiny_model(scale=0.1)
    samples = [replace(sample, credit=1.0 if index % 2 else -1.0) for index, sample in enumerate(random_samples(model))]
    metrics = updater(model, UpdateSettings(learning_rate=1e-3, warmup_steps=0)).update(samples, 1)
    gains = [logprobs(model, sample).sum() - sample.logprobs.sum() for sample in samples]
    assert np.mean(np.multiply(gains, [sample.credit for sample in samples])) > 0.01
    assert metrics.gradient_norm > 0


def test_a_resumed_run_ends_in_the_same_bytes() -> None:
    settings = UpdateSettings(loss_type="grpo", beta=0.1, warmup_steps=3, weight_decay=0.01, iterations=2)
    straight = tiny_model(scale=0.1)
    whole = updater(straight, settings)
    batches = [random_samples(straight, seed=seed) for seed in range(4)]
    for step in (1, 2):
        whole.update(batches[step - 1], step)
    saved = io.BytesIO()
    torch.save(whole.state_dict(), saved)
    halfway = copy.deepcopy(straight.state_dict())
    metrics = [whole.update(batches[step - 1], step) for step in (3, 4)]

    resumed = tiny_model(scale=0.1)
    again = updater(resumed, settings)
    resumed.load_state_dict(halfway)
    saved.seek(0)
    again.load_state_dict(torch.load(saved, weights_only=True))
    assert [again.update(batches[step - 1], step) for step in (3, 4)] == metrics
    assert weights(resumed) == weights(straight)


def test_learning_rate_rises_linearly_and_stays() -> None:
    model = tiny_model(scale=0.1)
    prepared = updater(model, UpdateSettings(learning_rate=4e-4, warmup_steps=4))
    rates = [prepared.update(random_samples(model), step).learning_rate for step in range(1, 7)]
    assert rates == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4, 4e-4, 4e-4])


def test_a_batch_without_any_advantage_is_a_step_without_gradient() -> None:
    model = tiny_model(scale=0.1)
    before = weights(model)
    metrics = updater(model).update([replace(sample, credit=0.0) for sample in random_samples(model)], 1)
    assert (metrics.loss, metrics.gradient_norm, metrics.trained_tokens, metrics.skipped_turns) == (0.0, 0.0, 0, 10)
    assert weights(model) == before


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    before = weights(model)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericalError, match="agent A, step 7: the loss is"):
            updater(model).update([replace(samples[0], credit=bad), *samples[1:]], 7)
        assert weights(model) == before


def test_turns_of_a_model_that_has_diverged_are_refused_though_none_has_an_advantage() -> None:
    """Its answers are all wrong alike, so that no loss is ever computed from them."""
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    samples = [replace(sample, credit=0.0) for sample in random_samples(model)]
    with pytest.raises(NumericalError, match="agent A, step 7: the model's log-probabilities are not finite"):
        updater(model).update(samples, 7)


def test_a_second_iteration_is_measured_against_the_policy_before_the_first() -> None:
    temperature, epsilon = 0.5, 0.05
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    settings = UpdateSettings(loss_type="dapo", iterations=2, learning_rate=0.01, warmup_steps=0, epsilon=epsilon)
    old = [tempered(model, sample, temperature).detach() for sample in samples]
    prepared = updater(model, settings, temperature)
    seen: list[np.ndarray[Any, Any]] = []
    expected: list[np.ndarray[Any, Any]] = []
    take = prepared._optimizer_step

    def spy(given: Any, step: int) -> float:
        seen.append(model.lm_head.weight.grad.numpy().copy())
        model.zero_grad()
        terms = []
        for sample, before in zip(samples, old, strict=True):
            ratio = (tempered(model, sample, temperature) - before).exp()
            terms.append(-torch.minimum(ratio * sample.credit, ratio.clamp(1 - epsilon, 1 + epsilon) * sample.credit))
        torch.cat(terms).mean().backward()
        expected.append(model.lm_head.weight.grad.numpy().copy())
        return take(given, step)

    prepared._optimizer_step = spy  # type: ignore[method-assign]
    prepared.update(samples, 1)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    assert seen[0] == pytest.approx(expected[0], abs=1e-6)
    assert seen[1] == pytest.approx(expected[1], abs=1e-6)


def tempered(model: Any, sample: TrainingSample, temperature: float) -> torch.Tensor:
    logits = model(torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])).logits[0] / temperature
    chosen = torch.tensor(sample.completion_ids)[:, None]
    return logits[len(sample.prompt_ids) - 1 : -1].log_softmax(-1).gather(1, chosen)[:, 0]


def test_kl_is_zero_at_the_starting_policy_and_positive_away_from_it() -> None:
    model = tiny_model(scale=0.1)
    prepared = updater(model, UpdateSettings(beta=0.1, learning_rate=0.01, warmup_steps=0))
    first, second = (prepared.update(random_samples(model, seed=seed), 1) for seed in (0, 1))
    assert first.kl == pytest.approx(0.0, abs=1e-6)
    assert second.kl is not None
    assert second.kl > 1e-4
    assert updater(model).update(random_samples(model), 1).kl is None


def test_an_adapter_learns_while_its_base_and_its_reference_stay() -> None:
    base = tiny_model(scale=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    frozen = {name: weight.clone() for name, weight in model.named_parameters() if "lora" not in name}
    settings = UpdateSettings(adapter="lora", beta=0.1, learning_rate=0.01, warmup_steps=0)
    prepared = updater(model, settings)
    samples = random_samples(model)
    metrics = [prepared.update(samples, step) for step in (1, 2, 3)]
    assert metrics[0].kl == pytest.approx(0.0, abs=1e-6)
    assert metrics[2].kl is not None
    assert metrics[2].kl > 1e-6
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameters[name], weight) for name, weight in frozen.items())
    assert any(weight.detach().abs().max() > 0 for name, weight in parameters.items() if "lora_B" in name)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointing_computes_layers_again_and_gives_the_same_gradient(kind: Any, precision: Any) -> None:
    model = tiny_model(kind, scale=0.1)
    samples = random_samples(model)
    calls = []
    for index, checkpointing in enumerate((False, True)):
        copied = copy.deepcopy(model)
        calls.append(0)

        def count(*_: Any, index: int = index) -> None:
            calls[index] += 1

        copied.model.layers[0].self_attn.register_forward_hook(count)
        settings = UpdateSettings(precision=precision, gradient_checkpointing=checkpointing, warmup_steps=0)
        updater(copied, settings).update(samples, 1)
        assert not copied.is_gradient_checkpointing
    assert calls[1] == 2 * calls[0]
    plain, again = (
        gradients(model, UpdateSettings(precision=precision, gradient_checkpointing=checkpointing), samples)
        for checkpointing in (False, True)
    )
    for name, gradient in plain.items():
        assert gradient == pytest.approx(again[name], abs=1e-5), name


def test_checkpointing_gives_twins_the_same_gradient_as_without() -> None:
    samples = random_samples(tiny_model(scale=0.1))
    found = []
    for checkpointing in (False, True):
        settings = UpdateSettings(
            adapter="lora", lora_rank=4, warmup_steps=0, weight_decay=0.0, gradient_checkpointing=checkpointing
        )
        views = attach_lora(tiny_model(scale=0.1), settings, ["A.1", "A.2"])
        for view in views:
            updater(view, settings).update(samples, 1)
        found.append([tensor.clone() for view in views for tensor in view.adapter_weights().values()])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_bf16_computes_in_half_precision_over_full_weights() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    half = gradients(model, UpdateSettings(precision="bf16"), samples)
    full = gradients(model, UpdateSettings(), samples)
    name = "model.layers.0.mlp.up_proj.weight"
    assert half[name].dtype == np.float32
    assert half[name] == pytest.approx(full[name], abs=0.1 * float(np.abs(full[name]).max()))
    assert not np.array_equal(half[name], full[name])


def test_the_model_keeps_its_mode_and_the_global_generator_its_state() -> None:
    state = torch.random.get_rng_state()
    model = tiny_model()
    updater(model).update(random_samples(model), 1)
    assert not model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_trl_is_refused_with_the_command_that_mends_it() -> None:
    with pytest.raises(MissingInputError, match=r"trl 1.17.0 .*pip install 'trl>=1.16,<1.17'"):
        require_trl("1.17.0")


def test_twins_on_one_base_are_updated_one_by_one_against_the_base() -> None:
    settings = UpdateSettings(adapter="lora", lora_rank=4, beta=0.1, learning_rate=0.01, warmup_steps=0)
    views = attach_lora(tiny_model(scale=0.1), settings, ["A.1", "A.2"])
    learners = [updater(view, settings) for view in views]
    samples = random_samples(views[0])
    base = {name: weight.clone() for name, weight in views[0].base.named_parameters() if "lora" not in name}
    for step in (1, 2):
        for index in (0, 1):
            other = {name: weight.clone() for name, weight in views[1 - index].adapter_weights().items()}
            own = {name: weight.clone() for name, weight in views[index].adapter_weights().items()}
            metrics = learners[index].update(samples, step)
            assert metrics.kl is not None
            assert (metrics.kl > 1e-6) == (step > 1)
            moved = views[index].adapter_weights()
            assert any(not torch.equal(weight, moved[name]) for name, weight in own.items())
            kept = views[1 - index].adapter_weights()
            assert all(torch.equal(weight, kept[name]) for name, weight in other.items())
    parameters = dict(views[0].base.named_parameters())
    assert all(torch.equal(parameters[name], weight) for name, weight in base.items())


def test_a_model_that_its_last_update_breaks_stops_the_run() -> None:
    """Nothing is sampled after the last update, so that no turn would tell."""
    model = tiny_model(scale=0.1)
    prepared = updater(model)
    take = prepared._optimizer_step

    def spoil(given: Any, step: int) -> float:
        norm = take(given, step)
        with torch.no_grad():
            model.lm_head.weight[0] = float("inf")
        return norm

    samples = random_samples(model)
    prepared._optimizer_step = spoil  # type: ignore[method-assign]
    prepared.update(samples, 9)
    with torch.no_grad():
        model.lm_head.weight[0] = 0.0
    with pytest.raises(NumericalError, match=r"agent A, step 10: .* not finite after its last update"):
        prepared.update(samples, 10)


def test_a_text_of_others_starts_from_the_policys_own_probabilities() -> None:
    model = tiny_model(scale=0.1)
    samples = random_samples(model)
    foreign = [replace(sample, logprobs=None) if index % 2 else sample for index, sample in enumerate(samples)]
    equal(gradients(model, UpdateSettings(), samples), gradients(model, UpdateSettings(), foreign))
    states = []
    for given in (samples, foreign):
        copied = copy.deepcopy(model)
        updater(copied, UpdateSettings(iterations=3, learning_rate=0.01, warmup_steps=0, epsilon=0.05)).update(given, 1)
        states.append(dict(copied.named_parameters()))
    for name, weight in states[0].items():
        torch.testing.assert_close(weight, states[1][name], atol=1e-4, rtol=1e-3)
