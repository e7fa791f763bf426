"""The update of an agent that a server trains: our loss folded into the losses of the Tinker API.

The server's gradient is, over the sequences i and tokens t sent since its last optimizer step, with weights w (1 on
completion tokens) and its own loss l' of a token's log-probability and advantage A':

    sum            sum over i, t of w l'
    sequence_mean  1 / N  sum over i of (sum over t of w l') / (sum over t of w),  N sequences

Ours is the sum of c l (`token_loss`). Without a KL term l is the server's clipped loss, which grows with its advantage,
so A' = c A f, where f = 1 (sum) or N times the tokens of the row (sequence_mean). Any other l is sent by its derivative
at the log-probabilities as they are: the importance-sampled loss has the derivative -A' there, so A' = -c f dl/dpi.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.errors import ConfigurationError, ServiceError, StoreError
from ilr_bench.core.futures import Awaited
from ilr_bench.learner.samples import BROKEN_MODEL, StepMetrics, TrainingSample, broken_batch
from ilr_bench.learner.token_loss import Array, TokenLoss, token_shares
from ilr_bench.models.tinker import Reduction, TinkerPolicy, explaining, settled
from ilr_bench.models.tinker_adapter import bring_home
from ilr_bench.storage.files import read_json

STATE = "tinker.json"
NORMS = ("grad_norm", "gradient_norm")
"""How the last word of a server's name for the norm of a gradient may read."""


class TinkerLearner:
    """The optimizer of one agent, on a server."""

    has_value_head = False

    def __init__(
        self,
        policy: TinkerPolicy,
        settings: UpdateSettings,
        total_steps: int,
        max_completion_length: int,
        temperature: float,
        reduction: Callable[[], Reduction],
    ) -> None:
        """`reduction` finds out how the server sums, and is called once, before the first update.

        Raises ConfigurationError for a temperature of which no server gives log-probabilities.
        """
        if temperature not in (0.0, 1.0):
            raise ConfigurationError(
                f"sampling.temperature={temperature:g}: servers give log-probabilities at temperature 1 only, and the "
                "update needs those of the sampling distribution; set it to 1, or train with --engine transformers"
            )
        self.policy = policy
        self.settings = settings
        self.loss = TokenLoss(settings)
        self.total_steps = total_steps
        self.longest = max_completion_length
        self.warmup = min(settings.warmup_steps, total_steps * settings.iterations)
        self.optimizer_steps = 0
        self._step = 0
        self._find_reduction = reduction
        self._reduction: Reduction | None = None

    @property
    def reduction(self) -> Reduction:
        """How the server's gradient is summed."""
        if self._reduction is None:
            self._reduction = self._find_reduction()
        return self._reduction

    def submit(self, samples: Sequence[TrainingSample], step: int) -> Future[StepMetrics]:
        """`settings.iterations` optimizer steps on one batch, as `GRPOLearner.update`; its result waits for the server.

        The first requests are sent before it returns, so that servers work at the same time. Raises BrokenBatchError
        where log-probabilities that came with the samples are not finite; the result raises it where those of the
        update are not (then the server's weights have changed, and the last checkpoint is as it was).
        """
        broken = [one for one in samples if one.logprobs is not None and not np.isfinite(one.logprobs).all()]
        if broken:
            what = f"{BROKEN_MODEL}; lower update.learning_rate and run again"
            raise broken_batch(self.policy.agent, broken, step, what)
        self._step = step
        update = _Update(self, samples, step)
        with explaining(f"{self.policy.where}: update of step {step}"):
            update.send()
        return Awaited(update.finish)

    def save(self, folder: Path) -> None:
        """Has the server keep the state, and notes where; after the last step the adapter comes home as well."""
        name = f"ilr-{uuid.uuid4().hex[:16]}"
        path = self.policy.save(name)
        if self._step == self.total_steps:
            bring_home(self.policy, name, folder)
        noted = {
            "path": path,
            "optimizer_steps": self.optimizer_steps,
            "base_model": self.policy.base_model,
            "rank": self.policy.rank,
        }
        (folder / STATE).write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """The inverse of `save`; raises ServiceError where the server does not have the state any more."""
        noted = read_json(folder / STATE, "delete the trial's folder to train it again")
        if (noted["base_model"], noted["rank"]) != (self.policy.base_model, self.policy.rank):
            raise StoreError(
                f"{folder / STATE} is a state of {noted['base_model']} with rank {noted['rank']}, not of "
                f"{self.policy.base_model} with rank {self.policy.rank}"
            )
        try:
            self.policy.load(noted["path"])
        except ServiceError as error:
            raise ServiceError(
                f"{error}. The checkpoint {folder.parent.name} lives on that server: bring the server back with its "
                "folder of checkpoints, or delete the trial's folder to train it again"
            ) from error
        self.optimizer_steps = noted["optimizer_steps"]

    def next_rate(self) -> float:
        """Counts an optimizer step and returns its learning rate."""
        self.optimizer_steps += 1
        return self.settings.learning_rate * min(1.0, self.optimizer_steps / max(1, self.warmup))


class _Update:
    """One batch's update: what has been sent, and what follows from the answers."""

    def __init__(self, learner: TinkerLearner, samples: Sequence[TrainingSample], step: int) -> None:
        self.learner, self.step, self.samples = learner, step, samples
        settings = learner.settings
        self.rows = [one for one in samples if one.completion_ids and (one.credit != 0 or settings.beta != 0)]
        tokens = sum(len(one.completion_ids) for one in samples)
        lengths = [len(one.completion_ids) for one in self.rows]
        self.lengths = lengths
        self.shares = token_shares(settings, lengths, len(samples), max(1, tokens), learner.longest)
        self.factors = (
            np.ones(len(lengths)) if learner.reduction == "sum" else len(lengths) * np.asarray(lengths, dtype=float)
        )
        self.old: list[Array | None] = [
            None if one.logprobs is None else one.logprobs.astype(np.float64) for one in self.rows
        ]
        self.reference: list[Array | None] = [None] * len(self.rows)
        self.direct = settings.beta == 0 and all(one is not None for one in self.old)
        self.pending: list[tuple[Any, Any]] = []
        self.forward: Any = None
        self.rate = 0.0

    def send(self) -> None:
        """Sends all that does not need an answer first."""
        client = self.learner.policy.training_client()
        if not self.rows or self.direct:
            # Momentum and weight decay act on a batch without gradient too.
            send = self._clipped_loss if self.rows else self._nothing
            for _ in range(self.learner.settings.iterations):
                self.pending.append(self._step(client, send(client)))
            self.learner.policy.publish()
        else:
            self.forward = client.forward(self._data(self._zeros(), self._zeros()), "importance_sampling")

    def finish(self) -> StepMetrics:
        """The metrics, when the server has answered."""
        with explaining(f"{self.learner.policy.where}: update of step {self.step}"):
            return self._finish()

    def _finish(self) -> StepMetrics:
        policy, settings = self.learner.policy, self.learner.settings
        what = f"{policy.where}: update of step {self.step}"
        losses, norms, divergences = [], [], []
        if not self.rows or self.direct:
            for answer, stepped in self.pending:
                logprobs = self._logprobs(settled(answer, what)) if self.rows else []
                losses.append(self._loss(logprobs))
                norms.append(norm(settled(stepped, what)))
        else:
            client = policy.training_client()
            self._take_reference()
            for iteration in range(settings.iterations):
                forward = self.forward if not iteration else client.forward(
                    self._data(self._zeros(), self._zeros()), "importance_sampling"
                )  # fmt: skip
                logprobs = self._logprobs(settled(forward, what))
                self.old = [now if old is None else old for now, old in zip(logprobs, self.old, strict=True)]
                losses.append(self._loss(logprobs))
                divergences.append(self._divergence(logprobs))
                advantages = [
                    -share * factor * self.learner.loss.derivative(now, old, row.credit, reference)
                    for now, old, row, reference, share, factor in zip(
                        logprobs, self.old, self.rows, self.reference, self.shares, self.factors, strict=True
                    )
                    if old is not None
                ]
                sent = client.forward_backward(self._data(logprobs, advantages), "importance_sampling")
                answer, stepped = self._step(client, sent)
                settled(answer, what)
                norms.append(norm(settled(stepped, what)))
            policy.publish()
        trained = sum(self.lengths)
        known = [norm for norm in norms if norm is not None]
        if not np.isfinite([*losses, *known]).all():
            said = f"the loss is {losses}, the gradient {norms}; lower update.learning_rate and run again"
            raise broken_batch(policy.agent, self.samples, self.step, said)
        return StepMetrics(
            loss=float(np.mean(losses)),
            gradient_norm=float(np.mean(known)) if known else None,
            learning_rate=self.rate,
            kl=float(np.mean(divergences)) / max(1, trained) if settings.beta else None,
            trained_tokens=trained,
            skipped_turns=len(self.samples) - len(self.rows),
        )

    def _step(self, client: Any, answer: Any) -> tuple[Any, Any]:
        from tinker import types

        settings = self.learner.settings
        self.rate = self.learner.next_rate()
        parameters = types.AdamParams(
            learning_rate=self.rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,  # torch's, as in the other learner
            weight_decay=settings.weight_decay,
            grad_clip_norm=settings.max_grad_norm,
        )
        return answer, client.optim_step(parameters)

    def _clipped_loss(self, client: Any) -> Any:
        low, high = self.learner.loss.clip
        advantages = [
            np.full(length, share * factor * row.credit)
            for length, share, factor, row in zip(self.lengths, self.shares, self.factors, self.rows, strict=True)
        ]
        old = [one for one in self.old if one is not None]
        limits = {"clip_low_threshold": low, "clip_high_threshold": high}
        return client.forward_backward(self._data(old, advantages), "ppo", limits)

    def _nothing(self, client: Any) -> Any:
        """The answer to a batch whose gradient is zero."""
        row = next((one for one in self.samples if one.completion_ids), None)
        if row is None:
            raise ServiceError(f"{self.learner.policy.where}: step {self.step} has no token to train")
        zeros = np.zeros(len(row.completion_ids))
        data = [datum(row, zeros, zeros)]
        return client.forward_backward(data, "importance_sampling")

    def _data(self, logprobs: Sequence[Array], advantages: Sequence[Array]) -> list[Any]:
        return [datum(*one) for one in zip(self.rows, logprobs, advantages, strict=True)]

    def _zeros(self) -> list[Array]:
        return [np.zeros(length) for length in self.lengths]

    def _logprobs(self, answer: Any) -> list[Array]:
        """Log-probabilities of every row's completion tokens, as the server computed them."""
        where = self.learner.policy.where
        outputs = answer.loss_fn_outputs
        if len(outputs) != len(self.rows):
            raise ServiceError(f"{where}: {len(outputs)} outputs for {len(self.rows)} sequences")
        found = []
        for output, row, length in zip(outputs, self.rows, self.lengths, strict=True):
            if "logprobs" not in output:
                raise ServiceError(f"{where}: an update without log-probabilities, from which no loss can be computed")
            values = np.asarray(output["logprobs"].data, dtype=np.float64).reshape(-1)
            whole = len(row.prompt_ids) + length - 1
            if len(values) != whole:
                raise ServiceError(f"{where}: {len(values)} log-probabilities of a sequence of {whole} tokens")
            found.append(values[-length:])
        return found

    def _take_reference(self) -> None:
        """Log-probabilities under the base model, where there is a KL term."""
        if not self.learner.settings.beta:
            return
        from tinker import types

        policy = self.learner.policy
        client = policy.base()
        asked = [
            client.compute_logprobs(types.ModelInput.from_ints([*row.prompt_ids, *row.completion_ids]))
            for row in self.rows
        ]
        for index, (one, length) in enumerate(zip(asked, self.lengths, strict=True)):
            values = settled(one, f"{policy.where}: the reference policy")[-length:]
            if len(values) != length or any(value is None for value in values):
                raise ServiceError(f"{policy.where}: no log-probabilities of the reference policy")
            self.reference[index] = np.asarray(values, dtype=np.float64)

    def _loss(self, logprobs: Sequence[Array]) -> float:
        return sum(
            float(share * self.learner.loss.value(now, old, row.credit, reference).sum())
            for now, old, row, reference, share in zip(
                logprobs, self.old, self.rows, self.reference, self.shares, strict=True
            )
            if old is not None
        )

    def _divergence(self, logprobs: Sequence[Array]) -> float:
        return sum(
            float(TokenLoss.divergence(now, old, reference).sum())
            for now, old, reference in zip(logprobs, self.old, self.reference, strict=True)
            if old is not None and reference is not None
        )


def datum(row: TrainingSample, logprobs: Array, advantages: Array) -> Any:
    """One sequence: tokens up to the last but one, the next token for each, and zeros on the prompt."""
    from tinker import types

    tokens = [*row.prompt_ids, *row.completion_ids]
    before = len(row.prompt_ids) - 1

    def placed(values: Array) -> NDArray[np.float32]:
        return np.concatenate([np.zeros(before), values]).astype(np.float32)

    inputs: dict[str, NDArray[Any]] = {
        "target_tokens": np.asarray(tokens[1:], dtype=np.int64),
        "weights": placed(np.ones(len(row.completion_ids))),
        "logprobs": placed(logprobs),
        "advantages": placed(advantages),
    }
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={name: types.TensorData.from_numpy(values) for name, values in inputs.items()},
    )


def norm(answer: Any) -> float | None:
    """The gradient's norm, where the server states it."""
    metrics: dict[str, float] = getattr(answer, "metrics", None) or {}
    found = [value for name, value in metrics.items() if name.replace("/", " ").replace(":", " ").split()[-1] in NORMS]
    return float(found[0]) if found else None
