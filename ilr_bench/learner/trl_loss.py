"""TRL's GRPO loss; the only module that imports TRL.

Left out of TRL's trainer: its sampling, data loading, logging, and the patches that it applies to the model.

What TRL's private `_compute_loss` returns with the settings below, for B rows of T tokens, log-probabilities
pi = `logprobs`, old = `old_per_token_logps` and ref = `ref_per_token_logps`, mask = `completion_mask` (all (B, T)), and
`advantages` A, (B,) for one per row or (B, T) for one per token:

    ratio = exp(pi - old)                                                        (B, T)
    kl    = (exp(ref - pi) - (ref - pi) - 1) ratio                               (B, T), the k3 estimate
    l     = -min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A) + beta kl  (B, T)

    dapo     sum(l mask) / num_items_in_batch
    bnpo     sum(l mask) / sum(mask)
    grpo     mean over rows of sum_t(l mask) / sum_t(mask)
    dr_grpo  sum(l mask) / (B max_completion_length)
"""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from packaging.specifiers import SpecifierSet
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import MissingInputError

SUPPORTED_TRL = ">=1.16,<1.17"
PRIVATE_METHODS = ("_compute_loss", "_get_per_token_logps_and_entropies")
"""Of TRL's trainer: the first is called here, the second replaced."""


class TrlLoss:
    """TRL's GRPO loss on given log-probabilities.

    TRL's `_compute_loss` reads its settings from the trainer. This object takes the trainer's place with the attributes
    that are read and nothing else: a real trainer seeds the global generators and patches the model's forward.
    """

    def __init__(self, settings: UpdateSettings, max_completion_length: int) -> None:
        self.loss_type = settings.loss_type
        self.beta = settings.beta
        self.epsilon_low = settings.epsilon
        self.epsilon_high = settings.epsilon if settings.epsilon_high is None else settings.epsilon_high
        self.max_completion_length = max_completion_length
        self.importance_sampling_level = "token"
        self.top_entropy_quantile = 1.0
        self.off_policy_mask_threshold = None
        self.use_vllm = False
        self.aux_loss_enabled = False
        self._entropy_bonus_enabled = False
        # TRL's default: the KL term carries the ratio, so that its gradient is that of the reverse KL, without bias.
        self.args = SimpleNamespace(delta=None, use_bias_correction_kl=True, steps_per_generation=1)
        self.model = SimpleNamespace(training=True)
        self.current_gradient_accumulation_steps = 1
        # As on one process: sums over all ranks are taken once a pass, by the learner.
        self.accelerator = SimpleNamespace(num_processes=1, gather=_as_it_is, reduce=_as_it_is)
        self._metrics: dict[str, defaultdict[str, list[float]]] = {"train": defaultdict(list)}
        self._logprobs: Tensor

    def __call__(self, logprobs: Tensor, inputs: dict[str, Tensor], rows: int, tokens: int) -> Tensor:
        """This micro-batch's part of the loss of a batch with `rows` samples and `tokens` completion tokens, ().

        logprobs: (B, T). TRL normalises by the micro-batch; the factor makes that the whole batch's normaliser.
        """
        self._logprobs = logprobs
        compute: Any = GRPOTrainer._compute_loss
        loss: Tensor = compute(self, None, inputs)
        if self.loss_type == "dapo":
            return loss
        if self.loss_type == "bnpo":
            return loss * (inputs["completion_mask"].sum() / tokens)
        return loss * (len(logprobs) / rows)

    @property
    def metrics(self) -> dict[str, list[float]]:
        """TRL's metrics by name, a number per call."""
        return self._metrics["train"]

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        return self._logprobs, torch.zeros_like(self._logprobs), None


def _as_it_is(value: Tensor, **_: Any) -> Tensor:
    return value


def require_trl(installed: str) -> None:
    """Raises MissingInputError where TRL is not a version whose private methods are known here."""
    known = all(hasattr(GRPOTrainer, name) for name in PRIVATE_METHODS)
    if not known or installed not in SpecifierSet(SUPPORTED_TRL):
        raise MissingInputError(
            f"trl {installed} is installed, but the policy update is made for trl{SUPPORTED_TRL}; "
            f"install it with `pip install 'trl{SUPPORTED_TRL}'`"
        )


require_trl(version("trl"))
