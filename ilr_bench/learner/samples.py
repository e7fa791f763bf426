"""What a learner is given and what it returns, and the interface of every learner; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ilr_bench.storage.recovery import BrokenBatchError

BROKEN_MODEL = "the model's log-probabilities are not finite"


@dataclass(frozen=True)
class TrainingSample:
    """One turn as the learner sees it: tokens, and the credit that its update gives them."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: NDArray[np.float32] | None
    """(len(completion_ids),) under the policy that sampled it, at temperature 1; None for another agent's text, whose
    importance ratio starts from this agent's own policy as it stands before the update."""
    credit: float
    """GRPO: the advantage of every completion token. PPO: the reward at the last one; advantages follow from the
    critic."""
    question: str = ""
    """Id; all samples on one question are trained by one rank."""
    stage: str = ""


@dataclass(frozen=True)
class StepMetrics:
    """One batch's update; loss, norm and KL are means over its optimizer steps."""

    loss: float
    gradient_norm: float | None
    """Before clipping; None where a server does not state it."""
    learning_rate: float
    kl: float | None
    """Mean k3 estimate per token against the starting policy; None without a KL term."""
    trained_tokens: int
    skipped_turns: int
    """Samples without any gradient, left out of the forward; the loss is normalised as if they were there."""
    value_loss: float | None = None
    """Mean over the optimizer steps; None without a critic."""


class Learner(Protocol):
    """The optimizer of one agent, here or on a server."""

    def submit(self, samples: Sequence[TrainingSample], step: int) -> Future[StepMetrics]:
        """Begins an update on one batch; its metrics are there when it is done."""
        ...

    def save(self, folder: Path) -> None:
        """Saves the agent's weights and the optimizer's state in an empty folder."""
        ...

    def load(self, folder: Path) -> None:
        """The inverse of `save`."""
        ...


def broken_batch(agent: str, samples: Sequence[TrainingSample], step: int, what: str) -> BrokenBatchError:
    """The error for a batch whose numbers are not finite, with its turns."""
    batch = {"agent": agent, "step": step, "what": what, "turns": [_as_json(sample) for sample in samples]}
    return BrokenBatchError(f"agent {agent}, step {step}: {what}", f"step-{step:08d}-{agent}.json", batch)


def _as_json(sample: TrainingSample) -> dict[str, Any]:
    """Numbers that are not finite become text, which every JSON reader accepts."""

    def plain(value: float) -> float | str:
        return float(value) if np.isfinite(value) else str(float(value))

    return {
        "question": sample.question,
        "stage": sample.stage,
        "advantage": plain(sample.credit),
        "prompt_ids": list(sample.prompt_ids),
        "completion_ids": list(sample.completion_ids),
        "logprobs": None if sample.logprobs is None else [plain(value) for value in sample.logprobs],
    }
