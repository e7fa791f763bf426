"""Sampling by a server behind the Tinker API: all prompts of a request are in flight at once.

A server draws sample i of seed s as it would draw sample 0 of seed s + i, so the prompts' seeds stand at least as many
apart as a prompt has samples. Without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from ilr_bench.core.errors import ConfigurationError, ServiceError
from ilr_bench.core.futures import Awaited
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.engine import Completion, SamplingRequest, check_request
from ilr_bench.models.tinker import TinkerPolicy, explaining, settled

SEEDS = 2**31
"""Servers take seeds below this."""
APART = 512
"""Between the seeds of two prompts, whatever their samples: parts of a list are sampled as the whole is."""


class TinkerEngine:
    """Samples from the weights that a server trains."""

    name = "tinker"

    def __init__(
        self, policy: TinkerPolicy, end_ids: Sequence[int], decode: Callable[[Sequence[int]], str], vocabulary: int
    ) -> None:
        """`vocabulary`: how many tokens the tokenizer here knows."""
        self.vocabulary = vocabulary
        self.policy = policy
        self.end_ids = tuple(end_ids)
        self.decode = decode

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """See `Engine.sample`; seeds draw other tokens than elsewhere, and the same ones on the same server."""
        return self.submit(request).result()

    def submit(self, request: SamplingRequest) -> Future[list[list[Completion]]]:
        """The same, without waiting: its result waits for the server.

        Raises ConfigurationError for what no server can sample; the result raises ServiceError where an answer is not
        what was asked for.
        """
        check_request(request)
        lengths = [len(prompt) for prompt, count in zip(request.prompts, request.samples, strict=True) if count]
        longest = max(lengths, default=0) + request.options.max_new_tokens
        if longest > self.policy.context:
            raise ConfigurationError(
                f"sequences of {longest} tokens exceed the {self.policy.context} that {self.policy.where} takes; lower "
                "sampling.max_prompt_tokens or sampling.max_new_tokens"
            )
        client: Any = self.policy.sampler() if lengths else None
        with explaining(f"{self.policy.where}: sampling"):
            pending = self._ask(client, request)
        return Awaited(lambda: [self._completions(one, request, i) for i, one in enumerate(pending)])

    def _ask(self, client: Any, request: SamplingRequest) -> list[Any]:
        """A future per prompt, None where no sample is wanted."""
        from tinker import types

        return [
            client.sample(
                prompt=types.ModelInput.from_ints(list(prompt)),
                num_samples=count,
                sampling_params=types.SamplingParams(
                    max_tokens=request.options.max_new_tokens,
                    temperature=request.options.temperature,
                    seed=seed,
                    stop=list(self.end_ids),
                ),
            )
            if count
            else None
            for prompt, count, seed in zip(request.prompts, request.samples, prompt_seeds(request), strict=True)
        ]

    def release(self) -> None:
        """Nothing here holds memory for sampling; see `Engine.release`."""

    def _completions(self, pending: Any, request: SamplingRequest, index: int) -> list[Completion]:
        if pending is None:
            return []
        what = f"{self.policy.where}: sampling"
        sequences = settled(pending, what).sequences
        if len(sequences) != request.samples[index]:
            raise ServiceError(f"{what}: {len(sequences)} answers where {request.samples[index]} were asked for")
        return [self._completion(one, request, what) for one in sequences]

    def _completion(self, sequence: Any, request: SamplingRequest, what: str) -> Completion:
        tokens = list(sequence.tokens)
        if sequence.logprobs is None:
            raise ServiceError(f"{what}: answers without log-probabilities, from which nothing can be trained")
        logprobs = np.asarray(sequence.logprobs, dtype=np.float32)
        if logprobs.shape != (len(tokens),):
            raise ServiceError(f"{what}: {len(tokens)} tokens with log-probabilities of shape {logprobs.shape}")
        if not tokens or len(tokens) > request.options.max_new_tokens:
            raise ServiceError(
                f"{what}: {len(tokens)} tokens where 1 to {request.options.max_new_tokens} were asked for"
            )
        unknown = [token for token in tokens if not 0 <= token < self.vocabulary]
        if unknown:
            raise ServiceError(
                f"{what}: token {unknown[0]} is beyond the {self.vocabulary} of the tokenizer here, so the server has "
                "another model's; give the address of a server for this one"
            )
        length, finished = self._end(tokens, request.options.stop_strings)
        return Completion(tuple(tokens[:length]), logprobs[:length], finished)

    def _end(self, tokens: list[int], stop_strings: tuple[str, ...]) -> tuple[int, bool]:
        """How many tokens count, and whether the turn ended by itself: at an end token or a stop string.

        Servers take end tokens or stop strings, not both; so they are told the tokens, and strings are found here.
        """
        # As in the other engines: a token holds at least a quarter of a character.
        window = 4 * max(map(len, stop_strings), default=0) + 4
        for length, token in enumerate(tokens, start=1):
            if token in self.end_ids:
                return length, True
            if stop_strings and any(
                stop in self.decode(tokens[max(0, length - window) : length]) for stop in stop_strings
            ):
                return length, True
        return len(tokens), False


def prompt_seeds(request: SamplingRequest) -> list[int]:
    """(prompts,) seeds whose samples share no stream: the one of prompt i of the whole list begins `APART` after i - 1.

    Raises ConfigurationError for more samples of a prompt than that.
    """
    if max(request.samples, default=1) > APART:
        raise ConfigurationError(f"sampling.samples: a server draws at most {APART} distinct answers to a prompt")
    blocks = SEEDS // APART
    start = derive_seed(request.seed, "streams") % blocks
    return [(start + request.first + index) % blocks * APART for index in range(len(request.prompts))]
