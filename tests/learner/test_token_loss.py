"""The losses token by token against TRL's own, and their derivatives against autograd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilr_bench.core.config import UpdateSettings
from ilr_bench.learner.token_loss import TokenLoss, token_shares
from ilr_bench.learner.trl_loss import TrlLoss

LONGEST = 9


def a_batch(seed: int) -> dict[str, list[np.ndarray]]:
    """Rows of unequal length whose ratios are clipped on both sides, advantages of both signs and one of 0."""
    rng = np.random.default_rng(seed)
    lengths = [3, 7, 1, 5]
    logprobs = [rng.normal(-2, 0.7, size) for size in lengths]
    return {
        "logprobs": logprobs,
        "old": [row + rng.normal(0, 0.3, len(row)) for row in logprobs],
        "reference": [row + rng.normal(0, 0.5, len(row)) for row in logprobs],
        "advantages": [*rng.normal(size=3), 0.0],
    }


def by_trl(update: UpdateSettings, batch: dict[str, list[np.ndarray]]) -> tuple[float, list[np.ndarray], float]:
    """TRL's loss, its gradient by the log-probabilities, row by row, and its mean KL."""

    def padded(rows: list[np.ndarray]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)

    lengths = [len(row) for row in batch["logprobs"]]
    logprobs = padded(batch["logprobs"]).requires_grad_()
    mask = padded([np.ones(size) for size in lengths])
    inputs = {
        "prompt_ids": torch.zeros(len(lengths), 0, dtype=torch.long),
        "prompt_mask": torch.zeros(len(lengths), 0, dtype=torch.long),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask,
        "advantages": torch.tensor(batch["advantages"]),
        "old_per_token_logps": padded(batch["old"]),
        "ref_per_token_logps": padded(batch["reference"]),
        "num_items_in_batch": torch.tensor(float(sum(lengths))),
    }
    trl = TrlLoss(update, LONGEST)
    loss = trl(logprobs, inputs, len(lengths), sum(lengths))
    loss.backward()
    assert logprobs.grad is not None
    gradient = [row[:size].numpy() for row, size in zip(logprobs.grad, lengths, strict=True)]
    return float(loss.detach()), gradient, trl.metrics["kl"][0] if update.beta else 0.0


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("epsilon_high", [None, 0.05])
@given(seed=st.integers(0, 2**20))
@settings(max_examples=8, deadline=None)
def test_loss_and_derivative_are_trls(loss_type: str, beta: float, epsilon_high: float | None, seed: int) -> None:
    update = replace(UpdateSettings(), loss_type=loss_type, beta=beta, epsilon_high=epsilon_high)
    batch = a_batch(seed)
    expected, gradient, kl = by_trl(update, batch)
    lengths = [len(row) for row in batch["logprobs"]]
    shares = token_shares(update, lengths, len(lengths), sum(lengths), LONGEST)
    loss = TokenLoss(update)
    total, divergence = 0.0, 0.0
    for row, share in enumerate(shares):
        logprobs, old, advantage = batch["logprobs"][row], batch["old"][row], batch["advantages"][row]
        reference = batch["reference"][row] if beta else None
        total += share * loss.value(logprobs, old, float(advantage), reference).sum()
        found = share * loss.derivative(logprobs, old, float(advantage), reference)
        assert found == pytest.approx(gradient[row], rel=1e-9, abs=1e-12)
        divergence += TokenLoss.divergence(logprobs, old, batch["reference"][row]).sum()
    assert total == pytest.approx(expected, rel=1e-9, abs=1e-12)
    if beta:
        assert divergence / sum(lengths) == pytest.approx(kl, rel=1e-6)


def test_rows_left_out_still_count_in_the_normaliser() -> None:
    shares = {
        loss_type: token_shares(replace(UpdateSettings(), loss_type=loss_type), [2, 4], 5, 20, 9).tolist()
        for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo")
    }
    assert shares == {
        "grpo": [1 / 10, 1 / 20],
        "bnpo": [1 / 20, 1 / 20],
        "dr_grpo": [1 / 45, 1 / 45],
        "dapo": [1 / 20, 1 / 20],
    }
