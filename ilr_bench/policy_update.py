"""The GRPO update of one agent: turns with advantages in, optimizer steps out. The one room that knows TRL.

The loss is TRL's own `_compute_loss`. The log-probabilities that it is given come from our forward, which
encodes a prompt once for all turns that share it. Left out of TRL's trainer: its sampling, data loading,
logging, and the patches that it applies to the model.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from packaging.specifiers import SpecifierSet
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer

from ilr_bench.config import UpdateSettings
from ilr_bench.errors import MissingInputError, NumericalError
from ilr_bench.generation.shared_prefix import shared_prefix_attention
from ilr_bench.logprobs import MicroBatch, micro_batches, turn_logprobs

SUPPORTED_TRL = ">=1.16,<1.17"
LEARNED_ON = ("_compute_loss", "_get_per_token_logps_and_entropies")
"""The two private methods of TRL's trainer that are used here: one called, one replaced."""


@dataclass(frozen=True)
class TrainedTurn:
    """One sampled turn and what it deserved."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: NDArray[np.float32] | None
    """(len(completion_ids),) under the policy that sampled it, at temperature 1; None for another agent's text, whose
    importance ratio starts from this agent's own policy as it stands before the update."""
    advantage: float


@dataclass(frozen=True)
class UpdateReport:
    """What one batch of turns did to a policy; loss, norm and KL are means over its optimizer steps."""

    loss: float
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    kl: float | None
    """Mean k3 estimate per token against the starting policy; None without a KL term."""
    trained_tokens: int
    skipped_turns: int
    """Turns without any gradient, left out of the forward; the loss is normalised as if they were there."""
    value_loss: float | None = None
    """Mean over the optimizer steps; None without a critic."""


class PolicyUpdater:
    """The optimizer of one agent."""

    def __init__(
        self,
        model: Any,
        agent: str,
        settings: UpdateSettings,
        total_steps: int,
        max_completion_length: int,
        temperature: float,
        head: Sequence[dict[str, Any]] = (),
    ) -> None:
        """model: with its starting weights, which are the reference of the KL term; load a checkpoint afterwards.

        total_steps: joint steps of the run, which bound the warm-up. temperature: the one turns are sampled at.
        head: groups of weights beside the model's, each with a learning rate `rate` of its own.
        """
        self.agent = agent
        self.settings = settings
        # TRL divides the logits by it as well; greedy turns have no distribution to train, so they count as 1.
        self.temperature = temperature or 1.0
        self.total_steps = total_steps
        self.warmup = min(settings.warmup_steps, total_steps * settings.iterations)
        self.optimizer_steps = 0
        self.loss = TrlLoss(settings, max_completion_length)
        self.reference = copy.deepcopy(model).eval() if settings.beta and settings.adapter == "full" else None
        # The model's device is the caller's choice, and accelerate's own mixed precision would change its forward.
        self.accelerator = Accelerator(device_placement=False, mixed_precision="no")
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [{"rate": settings.learning_rate} | group for group in (*groups, *head) if group["params"]]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.weights = weights + [weight for group in head for weight in group["params"]]
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    def update(self, turns: Sequence[TrainedTurn], step: int) -> UpdateReport:
        """Takes `settings.iterations` optimizer steps on one batch of turns.

        Raises NumericalError, before the weights change, where a loss or gradient is not finite, or where the
        weights that sampled the turns gave no finite log-probabilities.
        """
        # Answers of a broken model are all wrong alike, so no loss would ever be computed from them.
        if not all(np.isfinite(turn.logprobs).all() for turn in turns if turn.logprobs is not None):
            raise self._broken(step)
        taught = [turn for turn in turns if turn.completion_ids and self._teaches(turn)]
        batches = micro_batches(taught, self.settings.rows_per_micro_batch)
        rows, tokens = len(turns), sum(len(turn.completion_ids) for turn in turns)
        inputs = [self._inputs(batch, taught, tokens) for batch in batches]
        self._prepare(batches, inputs)
        losses, norms = [], []
        self.loss.metrics.clear()
        with training_mode(self.model, self.settings.gradient_checkpointing):
            for _ in range(self.settings.iterations):
                losses.append(self._accumulate(batches, inputs, rows, tokens, step))
                norms.append(self._optimizer_step(step))
        if step == self.total_steps:
            self._check(turns, step)
        return UpdateReport(
            loss=float(np.mean(losses)),
            gradient_norm=float(np.mean(norms)),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            kl=self.loss.mean_kl(inputs) if self.settings.beta else None,
            trained_tokens=sum(len(turn.completion_ids) for turn in taught),
            skipped_turns=rows - len(taught),
        )

    def state_dict(self) -> dict[str, Any]:
        """Optimizer and schedule, enough to continue with the same bits; weights are saved by the caller."""
        return {"optimizer": self.optimizer.state_dict(), "optimizer_steps": self.optimizer_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer_steps = state["optimizer_steps"]

    def _teaches(self, turn: TrainedTurn) -> bool:
        """Whether a turn has any gradient."""
        return turn.advantage != 0 or self.settings.beta != 0

    def _prepare(self, batches: Sequence[MicroBatch], inputs: Sequence[dict[str, Tensor]]) -> None:
        """What is computed from all turns before the first optimizer step; for those who extend this class."""

    def _check(self, turns: Sequence[TrainedTurn], step: int) -> None:
        """Raises NumericalError where the weights of the last update, from which nothing is sampled, are broken."""
        shown = micro_batches([turn for turn in turns if turn.completion_ids][:1], 1)
        with torch.no_grad():
            if not all(bool(self._logprobs(self.model, batch).isfinite().all()) for batch in shown):
                raise self._broken(step, " after its last update")

    def _broken(self, step: int, when: str = "") -> NumericalError:
        return NumericalError(
            f"agent {self.agent}, step {step}: the model's log-probabilities are not finite{when}; "
            "lower update.learning_rate and run again"
        )

    def _inputs(self, batch: MicroBatch, turns: Sequence[TrainedTurn], tokens: int) -> dict[str, Tensor]:
        """What TRL's loss reads; prompts are empty there, since the forward is ours."""
        device = self.accelerator.unwrap_model(self.model).device
        slots = [turns[place] if place >= 0 else None for place in batch.turn_of_slot]
        mask = batch.padded([np.ones(len(completion)) for completion in batch.completions])
        inputs = {
            "prompt_ids": torch.zeros(len(slots), 0, dtype=torch.long, device=device),
            "prompt_mask": torch.zeros(len(slots), 0, dtype=torch.long, device=device),
            "completion_ids": torch.zeros(mask.shape, dtype=torch.long, device=device),
            "completion_mask": torch.from_numpy(mask).to(device),
            "advantages": torch.tensor([turn.advantage if turn else 0.0 for turn in slots], device=device),
            "num_items_in_batch": torch.tensor(float(tokens), device=device),
        }
        if self.temperature == 1:
            known = [turn.logprobs if turn and turn.logprobs is not None else () for turn in slots]
            inputs["old_per_token_logps"] = torch.from_numpy(batch.padded(known)).to(device)
            inputs["without_sampler"] = torch.tensor([turn is not None and turn.logprobs is None for turn in slots])
        if self.settings.beta:
            with torch.no_grad(), self._reference_policy() as reference:
                inputs["ref_per_token_logps"] = self._logprobs(reference, batch)
        return inputs

    def _accumulate(
        self, batches: list[MicroBatch], inputs: list[dict[str, Tensor]], rows: int, tokens: int, step: int
    ) -> float:
        """Gradients of one pass over all micro-batches, equal to those of one batch of all turns; returns the loss."""
        total = 0.0
        for weight in self.weights:
            # Not None: momentum and weight decay act on a batch without gradient too.
            weight.grad = torch.zeros_like(weight)
        for batch, given in zip(batches, inputs, strict=True):
            loss = self._loss(batch, given, rows, tokens)
            total += self._finite(loss.detach(), "loss", step)
            self.accelerator.backward(loss)
        return total

    def _loss(self, batch: MicroBatch, given: dict[str, Tensor], rows: int, tokens: int) -> Tensor:
        logprobs = self._logprobs(self.model, batch)
        self._complete(given, logprobs.detach())
        return self.loss(logprobs, given, rows, tokens)

    def _complete(self, given: dict[str, Tensor], logprobs: Tensor) -> None:
        """Turns sampled at another temperature than 1, or by others, come without log-probabilities to start from."""
        old = given.setdefault("old_per_token_logps", logprobs)
        missing = given.pop("without_sampler", None)
        if missing is not None and bool(missing.any()):
            given["old_per_token_logps"] = torch.where(missing.to(old.device)[:, None], logprobs, old)

    def _optimizer_step(self, step: int) -> float:
        norm = self.accelerator.clip_grad_norm_(self.weights, self.settings.max_grad_norm)
        norm = self._finite(norm, "gradient", step)
        self.optimizer_steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, self.optimizer_steps / max(1, self.warmup))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _finite(self, value: Tensor, what: str, step: int) -> float:
        number = float(value)
        if not np.isfinite(number):
            self.optimizer.zero_grad()
            raise NumericalError(
                f"agent {self.agent}, step {step}: the {what} is {number}, the weights were left as they are; "
                "lower update.learning_rate or update.max_grad_norm and run again"
            )
        return number

    def _logprobs(self, model: Any, batch: MicroBatch) -> Tensor:
        half = self.settings.precision == "bf16"
        with torch.autocast(self.weights[0].device.type, dtype=torch.bfloat16) if half else nullcontext():
            return turn_logprobs(model, batch, self.temperature)

    @contextmanager
    def _reference_policy(self) -> Iterator[Any]:
        if self.reference is not None:
            yield self.reference
        else:
            model = self.accelerator.unwrap_model(self.model)
            with model.disable_adapter():
                yield model


class TrlLoss:
    """TRL's GRPO loss on log-probabilities that are already there.

    TRL's `_compute_loss` reads its settings from the trainer it belongs to. This stands in for the trainer and has
    what is read and nothing else: a real one seeds the global generators and patches the model's forward.
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
        self.accelerator = Accelerator(device_placement=False, mixed_precision="no")
        self._metrics: dict[str, defaultdict[str, list[float]]] = {"train": defaultdict(list)}
        self._logprobs = torch.empty(0)

    def __call__(self, logprobs: Tensor, inputs: dict[str, Tensor], rows: int, tokens: int) -> Tensor:
        """This micro-batch's part of the loss of a batch with `rows` turns and `tokens` completion tokens.

        TRL normalises by what it is shown; the factor turns that into the whole batch's normaliser.
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
        """What TRL measured, a number per call."""
        return self._metrics["train"]

    def mean_kl(self, inputs: Sequence[dict[str, Tensor]]) -> float:
        """Mean KL per token over all calls since `metrics` was cleared, which went round and round `inputs`."""
        sizes = [float(given["completion_mask"].sum()) for given in inputs]
        values = np.array(self.metrics["kl"]).reshape(-1, len(sizes))
        return float(np.average(values.mean(axis=0), weights=sizes))

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        return self._logprobs, torch.zeros_like(self._logprobs), None


@contextmanager
def training_mode(model: Any, checkpointing: bool) -> Iterator[None]:
    """Within it the model trains, forward and backward; `checkpointing` keeps the layers' inputs only."""
    before = model.training
    model.train()
    try:
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # The way back computes layers again, after the forward has returned: they must attend as they did in it.
        with shared_prefix_attention(model, 0) if checkpointing else nullcontext():
            yield
    finally:
        if checkpointing:
            model.gradient_checkpointing_disable()
        model.train(before)


def require_trl(installed: str) -> None:
    """Raises MissingInputError where TRL is not a version whose private methods are known here."""
    known = all(hasattr(GRPOTrainer, name) for name in LEARNED_ON)
    if not known or installed not in SpecifierSet(SUPPORTED_TRL):
        raise MissingInputError(
            f"trl {installed} is installed, but the policy update is made for trl{SUPPORTED_TRL}; "
            f"install it with `pip install 'trl{SUPPORTED_TRL}'`"
        )


require_trl(version("trl"))
