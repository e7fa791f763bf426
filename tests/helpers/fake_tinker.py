"""A server behind the Tinker API, in this process: one LoRA model, both ways to sum gradients, and lies to order."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from tinker import types

from ilr_bench.core.config import UpdateSettings
from ilr_bench.models.lora import attach_lora


class Now:
    """A future that is done."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout: float | None = None) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


@dataclass
class FakeServer:
    """What the clients of one server share."""

    model: Any
    """The base model."""
    name: str = "base"
    reduction: str = "sum"
    context: int = 512
    states: dict[str, Any] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    trains: str = ""
    """The model that it really trains, where it lies."""
    distort: Callable[[str, Any], Any] = lambda kind, answer: answer
    """Changes an answer before it is given."""

    def answer(self, kind: str, value: Any) -> Now:
        self.requests.append(kind)
        return Now(self.distort(kind, value))


def logprobs_of(model: Any, tokens: list[int]) -> torch.Tensor:
    """(len(tokens) - 1,) of every token after the first."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(-1, torch.tensor(tokens[1:])[:, None])[:, 0]


class FakeSampling:
    """A sampling client: weights as they were when it was made."""

    def __init__(self, server: FakeServer, model: Any) -> None:
        self.server, self.model = server, model

    @torch.no_grad()
    def sample(self, prompt: Any, num_samples: int, sampling_params: Any) -> Now:
        how, sequences = sampling_params, []
        for number in range(num_samples):
            generator = torch.Generator().manual_seed(how.seed + number)
            tokens, logprobs, reason = prompt.to_ints(), [], "length"
            for _ in range(how.max_tokens):
                scores = self.model(input_ids=torch.tensor([tokens])).logits[0, -1].float().log_softmax(-1)
                chances = (scores / how.temperature).softmax(-1) if how.temperature else None
                token = int(scores.argmax() if chances is None else torch.multinomial(chances, 1, generator=generator))
                tokens.append(token)
                logprobs.append(float(scores[token]))
                if token in (how.stop or ()):
                    reason = "stop"
                    break
            sequences.append(
                types.SampledSequence(
                    stop_reason=reason,
                    sequence_id=str(number),
                    tokens_np=np.array(tokens[len(prompt.to_ints()) :], dtype=np.int32),
                    logprobs_np=np.array(logprobs, dtype=np.float32),
                )
            )
        return self.server.answer("sample", types.SampleResponse(sequences=sequences))

    @torch.no_grad()
    def compute_logprobs(self, prompt: Any) -> Now:
        return self.server.answer("compute_logprobs", [None, *logprobs_of(self.model, prompt.to_ints()).tolist()])


class FakeTraining:
    """A training client: an adapter of its own on the server's base, with its optimizer."""

    def __init__(self, server: FakeServer, rank: int) -> None:
        self.server = server
        self.settings = UpdateSettings(adapter="lora", lora_rank=rank)
        self.model = attach_lora(copy.deepcopy(server.model), self.settings, ["A"])[0]
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=0.0)
        self.terms: list[torch.Tensor] = []
        self.gradient: dict[str, torch.Tensor] = {}
        """Of the last optimizer step, before it was clipped."""

    def get_info(self) -> Any:
        return SimpleNamespace(model_data=SimpleNamespace(model_name=self.server.trains or self.server.name))

    def forward(self, data: list[Any], loss_fn: str) -> Now:
        with torch.no_grad():
            return self.server.answer("forward", self._pass(data, loss_fn, {})[0])

    def forward_backward(self, data: list[Any], loss_fn: str, loss_fn_config: Any = None) -> Now:
        answer, terms = self._pass(data, loss_fn, loss_fn_config or {})
        self.terms += terms
        sum(terms).backward()  # type: ignore[union-attr]
        return self.server.answer("forward_backward", answer)

    def optim_step(self, parameters: Any) -> Now:
        if self.server.reduction == "sequence_mean":
            for weight in self.weights:
                if weight.grad is not None:
                    weight.grad /= len(self.terms)
        named = [(name, weight) for name, weight in self.model.named_parameters() if weight.grad is not None]
        self.gradient = {name: weight.grad.clone() for name, weight in named}
        limit = parameters.grad_clip_norm or torch.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, limit))
        for group in self.optimizer.param_groups:
            group |= {
                "lr": parameters.learning_rate,
                "betas": (parameters.beta1, parameters.beta2),
                "eps": parameters.eps,
                "weight_decay": parameters.weight_decay,
            }
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.terms = []
        return self.server.answer("optim_step", SimpleNamespace(metrics={"fake/grad_norm": norm}))

    def save_state(self, name: str) -> Now:
        path = f"tinker://fake/{name}"
        kept = ([weight.detach().clone() for weight in self.weights], copy.deepcopy(self.optimizer.state_dict()))
        self.server.states[path] = kept
        return self.server.answer("save_state", SimpleNamespace(path=path))

    def load_state_with_optimizer(self, path: str) -> Now:
        if path not in self.server.states:
            return Now(KeyError(path))
        weights, optimizer = self.server.states[path]
        with torch.no_grad():
            for mine, kept in zip(self.weights, weights, strict=True):
                mine.copy_(kept)
        self.optimizer.load_state_dict(copy.deepcopy(optimizer))
        return self.server.answer("load_state", None)

    def save_weights_for_sampler(self, name: str) -> Now:
        """An archive as self-hosted servers make it: PEFT's names, no names of layers, alpha 32."""
        weights = {key: value.numpy() for key, value in self.model.adapter_weights().items()}
        rank = self.settings.lora_rank
        scaled = {key: value * (2 * rank / 32 if ".lora_B." in key else 1) for key, value in weights.items()}
        config = json.dumps({"r": rank, "lora_alpha": 32.0, "target_modules": None}).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            for file, content in (("adapter_model.safetensors", save(scaled)), ("adapter_config.json", config)):
                member = tarfile.TarInfo(f"./{file}")
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
        self.server.archives[f"training_runs/fake/checkpoints/{name}/download"] = archive.getvalue()
        return self.server.answer("export", SimpleNamespace(path=f"tinker://fake/sampler_weights/{name}"))

    def save_weights_and_get_sampling_client(self) -> Now:
        return self.server.answer("publish", FakeSampling(self.server, copy.deepcopy(self.model)))

    def _pass(self, data: list[Any], loss_fn: str, limits: dict[str, float]) -> tuple[Any, list[torch.Tensor]]:
        outputs, terms = [], []
        for datum in data:
            given = {name: torch.from_numpy(value.to_numpy().copy()) for name, value in datum.loss_fn_inputs.items()}
            tokens = [*datum.model_input.to_ints(), int(given["target_tokens"][-1])]
            assert tokens[1:] == given["target_tokens"].tolist()
            now = logprobs_of(self.model, tokens)
            ratio = (now - given["logprobs"]).exp()
            loss = -ratio * given["advantages"]
            if loss_fn == "ppo":
                clipped = ratio.clip(limits["clip_low_threshold"], limits["clip_high_threshold"])
                loss = -torch.minimum(ratio * given["advantages"], clipped * given["advantages"])
            term = (loss * given["weights"]).sum()
            terms.append(term if self.server.reduction == "sum" else term / given["weights"].sum())
            outputs.append({"logprobs": types.TensorData.from_numpy(now.detach().numpy())})
        return SimpleNamespace(loss_fn_outputs=outputs, metrics={}), terms


class FakeService:
    """The service client of a server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.closed = False

    def get_server_capabilities(self) -> Any:
        model = SimpleNamespace(model_name=self.server.name, max_context_length=self.server.context)
        return SimpleNamespace(supported_models=[model])

    def create_lora_training_client(self, base_model: str, rank: int, seed: int, train_unembed: bool = True) -> Now:
        return self.server.answer("create", FakeTraining(self.server, rank))

    def create_sampling_client(self, base_model: str) -> Now:
        return self.server.answer("base", FakeSampling(self.server, self.server.model))

    def close(self, status: str) -> Now:
        self.closed = True
        return Now(None)
