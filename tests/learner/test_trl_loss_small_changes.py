"""The loss of given log-probabilities written out, and which TRL it is made for."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import MissingInputError
from ilr_bench.learner import trl_loss
from ilr_bench.learner.trl_loss import TrlLoss, require_trl

ROWS, TOKENS, LONGEST = 7, 40, 9


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("high", [None, 0.4])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("by_token", [False, True])
def test_the_loss_is_the_clipped_one_with_the_k3_term_weighted_by_the_ratio(
    kind: str, high: float | None, beta: float, by_token: bool
) -> None:
    draws = torch.Generator().manual_seed(0)
    pi, old, ref = (-1 - 0.5 * torch.rand(3, 5, generator=draws) for _ in range(3))
    mask = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    credit = torch.randn(3, 5, generator=draws) if by_token else torch.tensor([2.0, -1.0, 0.5])
    inputs = {
        "prompt_ids": torch.zeros(3, 0, dtype=torch.long), "prompt_mask": torch.zeros(3, 0, dtype=torch.long),
        "completion_ids": torch.zeros(3, 5, dtype=torch.long), "completion_mask": mask, "advantages": credit,
        "num_items_in_batch": torch.tensor(float(TOKENS)), "old_per_token_logps": old,
    }  # fmt: skip
    if beta:
        inputs["ref_per_token_logps"] = ref
    loss = TrlLoss(UpdateSettings(loss_type=kind, epsilon=0.1, epsilon_high=high, beta=beta), LONGEST)  # type: ignore[arg-type]
    found = float(loss(pi, inputs, ROWS, TOKENS))
    ratio, advantages = (pi - old).exp(), credit if by_token else credit[:, None]
    kl = ((ref - pi).exp() - (ref - pi) - 1) * ratio
    clipped = ratio.clamp(1 - 0.1, 1 + (0.1 if high is None else high))
    each = (-torch.minimum(ratio * advantages, clipped * advantages) + beta * kl) * mask
    expected = {
        "grpo": (each.sum(1) / mask.sum(1)).sum() / ROWS, "bnpo": each.sum() / TOKENS,
        "dapo": each.sum() / TOKENS, "dr_grpo": each.sum() / (ROWS * LONGEST),
    }  # fmt: skip
    assert found == pytest.approx(float(expected[kind]), rel=1e-4)
    assert loss.metrics.get("kl", []) == (
        [pytest.approx(float((kl * mask).sum() / mask.sum()), rel=1e-4)] if beta else []
    )


@pytest.mark.parametrize("method", trl_loss.PRIVATE_METHODS)
def test_a_trl_without_one_of_the_methods_is_refused(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_trl("1.16.3")
    monkeypatch.delattr(GRPOTrainer, method)
    with pytest.raises(MissingInputError, match=r"trl 1\.16\.3 is installed, but .* trl>=1\.16,<1\.17"):
        require_trl("1.16.3")


def test_another_trl_is_refused_as_soon_as_the_loss_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.15.0")
    monkeypatch.delitem(sys.modules, trl_loss.__name__)
    with pytest.raises(MissingInputError, match=r"trl 1\.15\.0 is installed"):
        importlib.import_module(trl_loss.__name__)
