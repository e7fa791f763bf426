"""The GRPO update of one agent: samples with advantages in, optimizer steps out.

The loss is TRL's (`trl_loss`); its log-probabilities come from `logprobs`, which encodes a prompt once for all its
samples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.futures import finished
from ilr_bench.generation.onednn_linear import fast_linears
from ilr_bench.generation.prefix_attention import shared_prefix_attention
from ilr_bench.learner.distributed import SINGLE, DistContext, ShardedAdamW
from ilr_bench.learner.logprobs import MicroBatch, completion_logprobs, micro_batches, split_batch
from ilr_bench.learner.samples import BROKEN_MODEL, StepMetrics, TrainingSample, broken_batch
from ilr_bench.learner.trl_loss import TrlLoss
from ilr_bench.models.loading import load_weights, save_tensors, save_weights
from ilr_bench.storage.recovery import BrokenBatchError, retry_smaller_batch

OPTIMIZER = "optimizer.pt"
VALUE_LOSS = "value_loss"
"""Name of a critic's loss among TRL's metrics."""
UNTOUCHED = "the weights were left as they are; lower update.learning_rate or update.max_grad_norm and run again"

T = TypeVar("T")
Work = tuple[MicroBatch, dict[str, Tensor]]
"""A micro-batch and the inputs of its loss."""


class GRPOLearner:
    """The optimizer of one agent."""

    has_value_head = False
    """Whether a critic is trained with the policy."""

    def __init__(
        self,
        model: Any,
        agent: str,
        settings: UpdateSettings,
        total_steps: int,
        max_completion_length: int,
        temperature: float,
        dist: DistContext = SINGLE,
        *,
        head: Sequence[dict[str, Any]] = (),
    ) -> None:
        """model: with its starting weights, which are the reference of the KL term; load a checkpoint afterwards.

        total_steps: joint steps of the run, which bound the warm-up. temperature: of sampling. dist: the ranks that
        compute each update together. head: parameter groups beside the model's, each with a learning rate `rate`.
        """
        self.agent = agent
        self.settings = settings
        # TRL divides the logits by it as well; greedy turns have no distribution to train, so they count as 1.
        self.temperature = temperature or 1.0
        self.total_steps = total_steps
        self.dist = dist
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
        rate = settings.learning_rate
        optimizer = ShardedAdamW(groups, rate, agent, dist) if dist.shards else torch.optim.AdamW(groups, lr=rate)
        self.weights = weights + [weight for group in head for weight in group["params"]]
        # Not DistributedDataParallel: it wants as many backward passes of every process, and one model per trainer.
        self.model, self.optimizer = model, self.accelerator.prepare(optimizer)

    def update(self, samples: Sequence[TrainingSample], step: int) -> StepMetrics:
        """Takes `settings.iterations` optimizer steps on one batch of samples.

        All ranks are given all samples; each computes the gradients of its own questions', and all end with the same
        weights. A micro-batch that does not fit into memory is halved, and its pass begun anew. Raises
        BrokenBatchError, before the weights change, where a loss or gradient is not finite, or where the weights that
        sampled gave no finite log-probabilities; MemoryShortageError where one row does not fit.
        """
        # Answers of a broken model are all wrong alike, so no loss would ever be computed from them.
        broken = [one for one in samples if one.logprobs is not None and not np.isfinite(one.logprobs).all()]
        if broken:
            raise self._broken(broken, step, f"{BROKEN_MODEL}; lower update.learning_rate and run again")
        selected = [sample for sample in samples if sample.completion_ids and self._has_gradient(sample)]
        own = self._own_samples(samples, selected)
        rows, tokens = len(samples), sum(len(sample.completion_ids) for sample in samples)
        most_rows = min(self.settings.rows_per_micro_batch, len(own))
        work = self._retry_smaller_batch(most_rows, step, lambda most: self._make_micro_batches(own, tokens, most))
        self._normalise([given for _, given in work])
        sums, norms = [], []
        with training_mode(self.model, self.settings.gradient_checkpointing):
            for _ in range(self.settings.iterations):
                sums.append(self._pass(work, own, rows, tokens, step))
                norms.append(self._optimizer_step(samples, step))
        if step == self.total_steps:
            self._check(samples, step)
        trained = sum(len(sample.completion_ids) for sample in selected)
        loss, kl, value_loss = np.mean(sums, axis=0)
        return StepMetrics(
            loss=float(loss),
            gradient_norm=float(np.mean(norms)),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            kl=float(kl) / max(1, trained) if self.settings.beta else None,
            trained_tokens=trained,
            skipped_turns=rows - len(selected),
            value_loss=float(value_loss) if self.has_value_head else None,
        )

    def submit(self, samples: Sequence[TrainingSample], step: int) -> Future[StepMetrics]:
        """See `Learner.submit`: `update`, done when it returns."""
        return finished(self.update(samples, step))

    def save(self, folder: Path) -> None:
        """Weights, optimizer and schedule, enough to continue with the same bits."""
        save_weights(self.accelerator.unwrap_model(self.model), folder)
        save_tensors(self.state_dict(), folder / OPTIMIZER)

    def load(self, folder: Path) -> None:
        """The inverse of `save`."""
        load_weights(self.accelerator.unwrap_model(self.model), folder)
        self.load_state_dict(torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True))

    def state_dict(self) -> dict[str, Any]:
        """Optimizer and schedule; weights are saved beside it.

        The same whether optimizer states are sharded or not; shards are gathered for rank 0, which calls this.
        """
        return {"optimizer": self.optimizer.state_dict(), "optimizer_steps": self.optimizer_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer_steps = state["optimizer_steps"]

    def _has_gradient(self, sample: TrainingSample) -> bool:
        """Whether a sample has any gradient."""
        return sample.credit != 0 or self.settings.beta != 0

    def _own_samples(
        self, samples: Sequence[TrainingSample], selected: Sequence[TrainingSample]
    ) -> list[TrainingSample]:
        """The samples that this rank trains: those on its questions."""
        questions = set(self.dist.own_part(list(dict.fromkeys(sample.question for sample in samples))))
        return [sample for sample in selected if sample.question in questions]

    def _retry_smaller_batch(self, rows: int, step: int, attempt: Callable[[int], T]) -> T:
        return retry_smaller_batch(
            rows, attempt, f"agent {self.agent}, step {step}: update", "update.rows_per_micro_batch"
        )

    def _make_micro_batches(self, samples: Sequence[TrainingSample], tokens: int, most: int) -> list[Work]:
        """Micro-batches of at most `most` rows, with their inputs as they are before the first optimizer step."""
        work = [(batch, self._inputs(batch, samples, tokens)) for batch in micro_batches(samples, most)]
        for batch, given in work:
            self._prepare(batch, given)
        return work

    def _prepare(self, batch: MicroBatch, given: dict[str, Tensor]) -> None:
        """Adds inputs of a micro-batch before the first optimizer step; for subclasses."""

    def _normalise(self, inputs: Sequence[dict[str, Tensor]]) -> None:
        """Changes inputs of all micro-batches before the first optimizer step; for subclasses."""

    def _check(self, samples: Sequence[TrainingSample], step: int) -> None:
        """Raises BrokenBatchError where the weights of the last update, from which nothing is sampled, are broken."""
        shown = [sample for sample in samples if sample.completion_ids][:1]
        with torch.no_grad():
            if not all(bool(self._logprobs(self.model, batch).isfinite().all()) for batch in micro_batches(shown, 1)):
                raise self._broken(
                    samples, step, f"{BROKEN_MODEL} after its last update; lower update.learning_rate and run again"
                )

    def _broken(self, samples: Sequence[TrainingSample], step: int, what: str) -> BrokenBatchError:
        """`samples`: those whose numbers are not finite."""
        self.optimizer.zero_grad()
        return broken_batch(self.agent, samples, step, what)

    def _inputs(self, batch: MicroBatch, samples: Sequence[TrainingSample], tokens: int) -> dict[str, Tensor]:
        """Inputs of TRL's loss; prompts are empty there, since the forward is ours."""
        device = self.accelerator.unwrap_model(self.model).device
        slots = [samples[index] if index >= 0 else None for index in batch.sample_of_slot]
        mask = batch.padded([np.ones(len(completion)) for completion in batch.completions])
        inputs = {
            "prompt_ids": torch.zeros(len(slots), 0, dtype=torch.long, device=device),
            "prompt_mask": torch.zeros(len(slots), 0, dtype=torch.long, device=device),
            "completion_ids": torch.zeros(mask.shape, dtype=torch.long, device=device),
            "completion_mask": torch.from_numpy(mask).to(device),
            "advantages": torch.tensor([one.credit if one else 0.0 for one in slots], device=device),
            "num_items_in_batch": torch.tensor(float(tokens), device=device),
        }
        if self.temperature == 1:
            known = [one.logprobs if one and one.logprobs is not None else () for one in slots]
            inputs["old_per_token_logps"] = torch.from_numpy(batch.padded(known)).to(device)
            inputs["off_policy"] = torch.tensor([one is not None and one.logprobs is None for one in slots])
        if self.settings.beta:
            with torch.no_grad(), self._reference_policy() as reference:
                inputs["ref_per_token_logps"] = self._logprobs(reference, batch)
        return inputs

    def _pass(
        self, work: list[Work], samples: Sequence[TrainingSample], rows: int, tokens: int, step: int
    ) -> NDArray[np.float64]:
        """Leaves the gradients of one pass over all samples of all ranks; returns its `_sums`.

        Where memory is short, `work` is split in place.
        """

        def attempt(most: int) -> tuple[NDArray[np.float64], MicroBatch | None]:
            if any(batch.rows > most for batch, _ in work):
                work[:] = [part for batch, given in work for part in _split_with_inputs(batch, given, samples, most)]
            return self._accumulate(work, rows, tokens)

        own, broken = self._retry_smaller_batch(max((batch.rows for batch, _ in work), default=1), step, attempt)
        suspects = [] if broken is None else [samples[index] for index in broken.sample_of_slot if index >= 0]
        parts, found = zip(*self.dist.gather((own, suspects)), strict=True)
        sums: NDArray[np.float64] = np.sum(parts, axis=0)
        if not np.isfinite(sums).all():
            raise self._broken([one for part in found for one in part], step, f"the loss is {sums[0]}, {UNTOUCHED}")
        self.dist.all_reduce([weight.grad for weight in self.weights if weight.grad is not None])
        return sums

    def _accumulate(
        self, work: Sequence[Work], rows: int, tokens: int
    ) -> tuple[NDArray[np.float64], MicroBatch | None]:
        """Gradients of all micro-batches, equal to those of one batch; `_sums`, and the first that is not finite."""
        self.loss.metrics.clear()
        for weight in self.weights:
            # Not None: momentum and weight decay act on a batch without gradient too.
            weight.grad = torch.zeros_like(weight)
        losses: list[float] = []
        for batch, given in work:
            loss = self._loss(batch, given, rows, tokens)
            losses.append(float(loss.detach()))
            if not np.isfinite(losses[-1]):
                return self._sums(losses, []), batch
            self.accelerator.backward(loss)
        return self._sums(losses, [given for _, given in work]), None

    def _sums(self, losses: Sequence[float], inputs: Sequence[dict[str, Tensor]]) -> NDArray[np.float64]:
        """Over micro-batches: losses, KL times tokens, value losses."""
        sizes = [float(given["completion_mask"].sum()) for given in inputs]
        metrics = self.loss.metrics
        kl = float(np.multiply(metrics["kl"], sizes).sum()) if self.settings.beta and inputs else 0.0
        return np.array([sum(losses), kl, sum(metrics[VALUE_LOSS])])

    def _loss(self, batch: MicroBatch, given: dict[str, Tensor], rows: int, tokens: int) -> Tensor:
        logprobs = self._logprobs(self.model, batch)
        self._complete(given, logprobs.detach())
        return self.loss(logprobs, given, rows, tokens)

    def _complete(self, given: dict[str, Tensor], logprobs: Tensor) -> None:
        """Samples of another temperature than 1, or of other agents, start from this policy's log-probabilities."""
        old = given.setdefault("old_per_token_logps", logprobs)
        missing = given.pop("off_policy", None)
        if missing is not None and bool(missing.any()):
            given["old_per_token_logps"] = torch.where(missing.to(old.device)[:, None], logprobs, old)

    def _optimizer_step(self, samples: Sequence[TrainingSample], step: int) -> float:
        norm = float(self.accelerator.clip_grad_norm_(self.weights, self.settings.max_grad_norm))
        if not np.isfinite(norm):
            raise self._broken(samples, step, f"the gradient is {norm}, {UNTOUCHED}")
        self.optimizer_steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, self.optimizer_steps / max(1, self.warmup))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _logprobs(self, model: Any, batch: MicroBatch) -> Tensor:
        half = self.settings.precision == "bf16"
        with torch.autocast(self.weights[0].device.type, dtype=torch.bfloat16) if half else nullcontext():
            return completion_logprobs(model, batch, self.temperature)

    @contextmanager
    def _reference_policy(self) -> Iterator[Any]:
        if self.reference is not None:
            yield self.reference
        else:
            model = self.accelerator.unwrap_model(self.model)
            with model.disable_adapter():
                yield model


def _split_with_inputs(
    batch: MicroBatch, given: dict[str, Tensor], samples: Sequence[TrainingSample], most: int
) -> Iterator[Work]:
    """A micro-batch in parts of at most `most` rows, each with its part of the inputs."""
    for part, slots in split_batch(batch, samples, most):
        indices = torch.from_numpy(np.maximum(slots, 0))
        empty = torch.from_numpy(slots < 0)
        taken = {}
        for name, values in given.items():
            if values.ndim:
                values = values[indices.to(values.device)]
                values[empty.to(values.device)] = 0
            taken[name] = values[:, : part.longest] if values.ndim > 1 else values
        yield part, taken


@contextmanager
def training_mode(model: Any, checkpointing: bool) -> Iterator[None]:
    """Within it the model runs forward and backward; `checkpointing` keeps the layers' inputs only."""
    before = model.training
    model.train()
    try:
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # The backward pass computes layers again, after the forward has returned: they must compute the same.
        with shared_prefix_attention(model, 0) if checkpointing else nullcontext(), fast_linears(model):
            yield
    finally:
        if checkpointing:
            model.gradient_checkpointing_disable()
        model.train(before)
