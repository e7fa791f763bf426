"""PPO's update of one agent (Schulman et al. 2017, arXiv 1707.06347): GRPO's, with a value head as the baseline.

A sample's reward falls on its last token; generalised advantages (Schulman et al. 2016, arXiv 1506.02438), whitened
over the step's tokens, replace one advantage per sample in the same clipped loss. The value head is a linear layer on
the policy's last hidden states, so the value loss, clipped as in PPO's reference code, also trains the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ilr_bench.core.config import CriticSettings
from ilr_bench.learner.grpo import VALUE_LOSS, GRPOLearner
from ilr_bench.learner.logprobs import MicroBatch
from ilr_bench.learner.samples import TrainingSample


class ValueHead(nn.Module):
    """Reward expected at a hidden state; 0 before training."""

    def __init__(self, width: int) -> None:
        """`width`: size of the hidden states."""
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) -> (...); divided by the width, so that one learning rate suits every model."""
        value: Tensor = hidden.float() @ self.weight / self.width + self.bias
        return value


class PPOLearner(GRPOLearner):
    """The optimizer of one agent and of its value head; a sample's `credit` is its reward, without any baseline."""

    has_value_head = True

    def __init__(self, model: Any, *arguments: Any, critic: CriticSettings) -> None:
        """`arguments`: those of `GRPOLearner` up to `dist`."""
        output = model.get_output_embeddings()
        self.head = ValueHead(output.in_features).to(model.device)
        self.critic = critic
        group = {"params": list(self.head.parameters()), "weight_decay": 0.0, "rate": critic.learning_rate}
        super().__init__(model, *arguments, head=[group])
        self._hidden: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """See `GRPOLearner.state_dict`; the value head is among it."""
        return super().state_dict() | {"value_head": self.head.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(state)
        self.head.load_state_dict(state["value_head"])

    def _has_gradient(self, sample: TrainingSample) -> bool:
        return True

    def _prepare(self, batch: MicroBatch, given: dict[str, Tensor]) -> None:
        """Adds values before the first step, and from them the advantages and returns of every token."""
        with torch.no_grad():
            given["old_values"] = self._predict(batch)[1]
        mask = given["completion_mask"].cpu().numpy()
        values = given["old_values"].cpu().numpy()
        rewards = np.zeros_like(mask)
        lengths = mask.sum(axis=1).astype(int)
        rewards[lengths > 0, lengths[lengths > 0] - 1] = given["advantages"].cpu().numpy()[lengths > 0]
        raw = generalised_advantages(rewards, values, mask, self.critic.discount, self.critic.trace)
        given["returns"] = torch.from_numpy(raw + values).to(given["old_values"])
        given["advantages"] = torch.from_numpy(raw).to(given["old_values"])

    def _normalise(self, inputs: Sequence[dict[str, Tensor]]) -> None:
        """Whitens the advantages over the tokens of all ranks."""
        own = [
            np.concatenate([np.empty(0, np.float32), *(given[key].cpu().numpy().ravel() for given in inputs)])
            for key in ("advantages", "completion_mask")
        ]
        parts = self.dist.gather(own)
        flat, mask = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if not flat.size:
            return
        start = sum(len(advantages) for advantages, _ in parts[: self.dist.rank])
        white = torch.from_numpy(whitened(flat[None], mask[None])[0])[start:]
        for given in inputs:
            size = given["advantages"].numel()
            given["advantages"] = white[:size].view_as(given["advantages"]).to(given["old_values"])
            white = white[size:]

    def _loss(self, batch: MicroBatch, given: dict[str, Tensor], rows: int, tokens: int) -> Tensor:
        logprobs, values = self._predict(batch)
        self._complete(given, logprobs.detach())
        value_loss = clipped_value_loss(
            values, given["old_values"], given["returns"], given["completion_mask"], self.critic.value_clip, tokens
        )
        self.loss.metrics[VALUE_LOSS].append(float(value_loss.detach()))
        return self.loss(logprobs, given, rows, tokens) + self.critic.value_weight * value_loss

    def _predict(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """(slots, longest) log-probabilities of the tokens, and values before each of them."""
        with self._capturing_hidden_states():
            logprobs = self._logprobs(self.model, batch)
        (hidden,) = self._hidden
        filled = torch.from_numpy(batch.padded([np.ones(len(completion)) for completion in batch.completions]) > 0)
        found = self.head(hidden).flatten()
        return logprobs, found.new_zeros(filled.shape).masked_scatter(filled.to(found.device), found)

    @contextmanager
    def _capturing_hidden_states(self) -> Iterator[None]:
        """Keeps the input of the model's output layer: (completion tokens, width), the hidden state before each."""
        self._hidden.clear()
        output = self.accelerator.unwrap_model(self.model).get_output_embeddings()
        handle = output.register_forward_pre_hook(lambda module, given: self._hidden.append(given[0]))
        try:
            yield
        finally:
            handle.remove()


def generalised_advantages(
    rewards: ArrayLike, values: ArrayLike, mask: ArrayLike, discount: float, trace: float
) -> NDArray[np.float64]:
    """A_t = sum over l >= 0 of (discount trace)^l delta_(t+l), delta_t = r_t + discount V_(t+1) - V_t.

    rewards, values, mask: (rows, tokens); padding (mask 0) follows a row's tokens, and rewards and values after a row's
    last token count as 0. values[:, t] is the reward expected before token t is chosen. Returns (rows, tokens), 0 on
    padding; advantages + values are the returns that a value function learns.
    """
    given = np.asarray(mask, dtype=np.float64)
    earned, expected = (np.asarray(part, dtype=np.float64) * given for part in (rewards, values))
    advantages = np.zeros_like(expected)
    following, ahead = np.zeros(len(expected)), np.zeros(len(expected))
    for token in reversed(range(expected.shape[1])):
        error = earned[:, token] + discount * ahead - expected[:, token]
        following = (error + discount * trace * following) * given[:, token]
        ahead = expected[:, token]
        advantages[:, token] = following
    return advantages


def whitened(advantages: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """(A - mean) / standard deviation, both over all tokens (mask 1); 0 where all are equal. Shapes (rows, tokens)."""
    values, given = np.asarray(advantages, dtype=np.float64), np.asarray(mask, dtype=bool)
    tokens = values[given]
    if tokens.size < 2 or tokens.max() == tokens.min():
        return np.zeros_like(values)
    return np.where(given, (values - tokens.mean()) / tokens.std(ddof=1), 0.0)


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float, tokens: int) -> Tensor:
    """Half the squared error, averaged over `tokens`; where a value left [old - clip, old + clip], the larger error.

    values, old, returns, mask: (rows, tokens).
    """
    clipped = old + (values - old).clamp(-clip, clip)
    error = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (error * mask).sum() / tokens
