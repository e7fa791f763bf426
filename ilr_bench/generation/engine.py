"""The interface of batched sampling, tokens in and tokens out, and the sizes that decide its memory.

Without torch, since `plan` reads the sizes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ilr_bench.core.errors import ConfigurationError

if TYPE_CHECKING:
    # `plan` and `--help` read the sizes, and start without numpy.
    import numpy as np
    from numpy.typing import NDArray

LARGEST_LOGITS = 2**26
"""Logits of a forward pass from which on they are computed in chunks: 256 MiB each time they are kept."""
LOGITS_CHUNK = 2**24
"""Logits of a chunk: 64 MiB, enough that chunks cost no speed."""
PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Architectures whose logits are their last linear layer's output and nothing else: only these are chunked."""
VLLM_CACHE = {"cpu": 2**30, "cuda": 16 * 2**30}
"""Bytes of keys and values that a vLLM instance keeps; fixed, since the size decides which rows make a batch."""


@dataclass(frozen=True)
class SamplingOptions:
    """How completions are drawn."""

    max_new_tokens: int
    temperature: float
    """0 is greedy decoding; otherwise pure ancestral sampling, no top-p or top-k."""
    rows_per_call: int = 512
    stop_strings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """One sampled turn."""

    token_ids: tuple[int, ...]
    """With the end token if it was reached."""
    logprobs: NDArray[np.float32]
    """(len(token_ids),) log-probabilities under the sampling distribution at temperature 1."""
    finished: bool
    """False where the token limit cut the turn."""


@dataclass(frozen=True)
class SamplingRequest:
    """Prompts in tokens, and how many completions of each to sample."""

    prompts: Sequence[Sequence[int]]
    samples: Sequence[int]
    """(len(prompts),) number of completions of each prompt."""
    options: SamplingOptions
    seed: int
    first: int = 0
    """Index of the first prompt in a list of which this is a part; parts are sampled as the whole list is."""


class Engine(Protocol):
    """Samples from one model's current weights."""

    name: str
    """As in `sampling.engine`."""

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """`samples[i]` completions of `prompts[i]`, each prompt prefilled once.

        Completion k of prompt i depends on the weights, the prompt, `seed`, `first` + i and k, up to floating-point
        differences between batch shapes; equal requests are answered by equal bytes.
        """
        ...

    def release(self) -> None:
        """Called before the model is trained: frees memory that only sampling needs."""
        ...


@runtime_checkable
class BatchingEngine(Engine, Protocol):
    """Samples requests of several engines on one set of weights in the same batches."""

    model: Any

    def batch_key(self, options: SamplingOptions) -> Hashable | None:
        """Equal for engines and options that may share batches; None where this one shares none."""
        ...

    def sample_batched(
        self, requests: Sequence[SamplingRequest], models: Sequence[Any]
    ) -> list[list[list[Completion]]]:
        """The completions of each request from its model."""
        ...


@runtime_checkable
class RemoteEngine(Engine, Protocol):
    """Samples somewhere else: others can work meanwhile."""

    def submit(self, request: SamplingRequest) -> Future[list[list[Completion]]]:
        """Begins to sample; the result waits until it is done."""
        ...


def check_request(request: SamplingRequest) -> None:
    """Raises ConfigurationError for a request that no engine can sample."""
    prompts, samples, options = request.prompts, request.samples, request.options
    if len(prompts) != len(samples):
        raise ConfigurationError(f"{len(prompts)} prompts but {len(samples)} numbers of samples; give one per prompt")
    if any(not len(prompt) for prompt in prompts):
        raise ConfigurationError("a prompt holds no token; give every prompt at least one")
    if options.max_new_tokens < 1 or options.temperature < 0:
        raise ConfigurationError("max_new_tokens must be at least 1 and temperature at least 0")
