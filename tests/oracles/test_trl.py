"""Our update against TRL's own GRPO trainer, and both against the formula written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_models import END, PAD, VOCABULARY, tiny_model, tiny_tokenizer
from trl import GRPOConfig, GRPOTrainer

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.samples import TrainingSample

LONGEST = 12
BETA = 0.3
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")


def logprobs(model: Any, prompt: tuple[int, ...], completion: tuple[int, ...], temperature: float) -> torch.Tensor:
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]


@dataclass(frozen=True)
class Case:
    """A policy, the policy that sampled, the reference, and turns of ragged prompts and lengths."""

    policy: Any
    reference: Any
    turns: list[TrainingSample]


def make_case(kind: Any, on_policy: bool, temperature: float = 1.0) -> Case:
    policy, sampler = tiny_model(kind, scale=0.1), tiny_model(kind, scale=0.1)
    if not on_policy:
        with torch.no_grad():
            for index, weight in enumerate(sampler.parameters()):
                weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index))
    rng = np.random.default_rng(3)
    samples = []
    for prompt_length, group in ((1, 3), (40, 4), (9, 2), (40, 4)):
        prompt = tuple(int(token) for token in rng.integers(4, len(VOCABULARY), size=prompt_length))
        for _ in range(group):
            length = int(rng.integers(1, LONGEST + 1))
            completion = tuple(int(token) for token in rng.integers(4, len(VOCABULARY), size=length))
            with torch.no_grad():
                sampled = logprobs(sampler, prompt, completion, temperature).numpy()
            samples.append(TrainingSample(prompt, completion, sampled, float(rng.normal())))
    return Case(policy, tiny_model(kind, scale=0.1, seed=5), samples)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def ours(case: Case, settings: UpdateSettings, temperature: float = 1.0) -> tuple[float, dict[str, torch.Tensor], Any]:
    """Loss and gradients as the updater has them just before its optimizer steps."""
    learner = GRPOLearner(case.policy, "A", settings, 10, LONGEST, temperature)
    if settings.beta:
        learner.reference = case.reference
    seen: dict[str, torch.Tensor] = {}
    step = learner._optimizer_step

    def spy(turns: Any, number: int) -> float:
        seen.update(gradients(case.policy))
        return step(turns, number)

    learner._optimizer_step = spy  # type: ignore[method-assign]
    metrics = learner.update(case.turns, step=1)
    return metrics.loss, seen, metrics


def padded(rows: list[Any], left: bool, dtype: torch.dtype = torch.long) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    values, mask = torch.full((len(rows), longest), PAD, dtype=dtype), torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), None) if left else slice(0, len(row))
        values[index, where], mask[index, where] = torch.tensor(np.asarray(row), dtype=dtype), 1
    return values, mask


def trl(
    case: Case, settings: UpdateSettings, folder: Path, on_policy: bool, temperature: float
) -> tuple[float, dict[str, torch.Tensor]]:
    """TRL's real trainer on the same turns, in the padded batch that it makes of them; nothing of it is replaced."""
    case.reference.save_pretrained(folder / "reference")
    case.policy.config._name_or_path = str(folder / "reference")
    arguments = GRPOConfig(
        output_dir=str(folder),
        loss_type=settings.loss_type,
        beta=settings.beta,
        epsilon=settings.epsilon,
        epsilon_high=settings.epsilon_high,
        per_device_train_batch_size=len(case.turns),
        num_generations=len(case.turns),
        max_completion_length=LONGEST,
        temperature=temperature,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        use_cpu=True,
    )
    trainer = GRPOTrainer(
        case.policy,
        reward_funcs=lambda **_: [0.0],
        args=arguments,
        processing_class=tiny_tokenizer(),
        train_dataset=Dataset.from_dict({"prompt": ["1"]}),
    )
    prompt_ids, prompt_mask = padded([sample.prompt_ids for sample in case.turns], left=True)
    completion_ids, completion_mask = padded([sample.completion_ids for sample in case.turns], left=False)
    inputs = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "advantages": torch.tensor([sample.credit for sample in case.turns]),
        "num_items_in_batch": completion_mask.sum(),
    }
    if not on_policy:
        inputs["old_per_token_logps"] = padded([sample.logprobs for sample in case.turns], False, torch.float32)[0]
    if settings.beta:
        with torch.no_grad():
            inputs["ref_per_token_logps"], _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.ref_model,
                torch.cat([prompt_ids, completion_ids], 1),
                torch.cat([prompt_mask, completion_mask], 1),
                completion_ids.shape[1],
            )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    trainer.accelerator.backward(loss)
    return float(loss.detach()), gradients(case.policy)


def closed_form(
    case: Case, settings: UpdateSettings, on_policy: bool, temperature: float
) -> tuple[float, dict[str, torch.Tensor]]:
    """GRPO turn by turn, each on a forward of its own."""
    case.policy.zero_grad()
    low, high = 1 - settings.epsilon, 1 + (settings.epsilon_high or settings.epsilon)
    turns, total = len(case.turns), sum(len(sample.completion_ids) for sample in case.turns)
    loss = torch.zeros(())
    for sample in case.turns:
        new = logprobs(case.policy, sample.prompt_ids, sample.completion_ids, temperature)
        ratio = (new - (new.detach() if on_policy else torch.from_numpy(sample.logprobs))).exp()
        terms = -torch.minimum(ratio * sample.credit, ratio.clamp(low, high) * sample.credit)
        if settings.beta:
            with torch.no_grad():
                reference = logprobs(case.reference, sample.prompt_ids, sample.completion_ids, temperature)
            terms = terms + settings.beta * ratio * ((reference - new).exp() - (reference - new) - 1)
        weight = {
            "grpo": 1 / (turns * len(terms)),
            "bnpo": 1 / total,
            "dr_grpo": 1 / (turns * LONGEST),
            "dapo": 1 / total,
        }[settings.loss_type]
        loss = loss + weight * terms.sum()
    loss.backward()
    return float(loss.detach()), gradients(case.policy)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("beta", [0.0, BETA])
@pytest.mark.parametrize("on_policy", [True, False])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_and_gradients_equal_trl_and_the_closed_form(
    kind: Any, loss_type: Any, on_policy: bool, beta: float, tmp_path: Path
) -> None:
    settings = UpdateSettings(loss_type=loss_type, beta=beta, epsilon=0.1, epsilon_high=0.15)
    check(make_case(kind, on_policy), settings, tmp_path, on_policy, 1.0)


@pytest.mark.parametrize("loss_type", LOSSES)
def test_micro_batches_add_up_to_the_whole_batch(loss_type: Any, tmp_path: Path) -> None:
    settings = UpdateSettings(loss_type=loss_type, beta=BETA, epsilon=0.1, rows_per_micro_batch=3)
    check(make_case("llama", on_policy=False), settings, tmp_path, False, 1.0)


def test_temperature_divides_the_logits_as_in_trl(tmp_path: Path) -> None:
    check(make_case("llama", True, 0.7), UpdateSettings(beta=BETA), tmp_path, True, 0.7)


def check(case: Case, settings: UpdateSettings, folder: Path, on_policy: bool, temperature: float) -> None:
    expected_loss, expected = closed_form(case, settings, on_policy, temperature)
    trl_loss, from_trl = trl(replace(case, policy=tiny_like(case.policy)), settings, folder, on_policy, temperature)
    loss, found, _ = ours(case, settings, temperature)
    assert loss == pytest.approx(expected_loss, abs=1e-6)
    assert loss == pytest.approx(trl_loss, abs=1e-6)
    assert found.keys() == expected.keys() == from_trl.keys()
    for name, gradient in found.items():
        assert gradient.numpy() == pytest.approx(expected[name].numpy(), abs=1e-6), name
        assert gradient.numpy() == pytest.approx(from_trl[name].numpy(), abs=1e-6), name


def tiny_like(model: Any) -> Any:
    """A copy for TRL's trainer, which patches the forward of the model it is given."""
    twin = tiny_model(model.config.model_type)
    twin.load_state_dict(model.state_dict())
    return twin


def test_the_formula_is_not_flat_here() -> None:
    _, found, _ = ours(make_case("llama", on_policy=False), UpdateSettings(epsilon=0.1))
    assert max(float(gradient.abs().max()) for gradient in found.values()) > 1e-3
    assert END not in make_case("llama", True).turns[0].completion_ids
