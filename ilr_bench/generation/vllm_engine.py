"""Sampling by vLLM in the trainer's own process: its memory is freed while the model trains, and then filled anew.

vLLM holds a copy of the weights in its own layout. The copy is made again before the first sampling after any change,
so tokens always come from the current model. A row has the same random numbers as in the transformers engine: any
difference between the two for one model begins in the last bits of its log-probabilities. vLLM's own seeded sampling
makes a call for every row; here all rows of a step are drawn in one call, and an infinite logit makes vLLM take the
drawn token.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLayer
from torch import Tensor, distributed
from transformers.core_model_loading import revert_weight_conversion

from ilr_bench.core.errors import ConfigurationError, MissingInputError, first_line
from ilr_bench.core.signals import send_heartbeat
from ilr_bench.generation.engine import VLLM_CACHE, Completion, SamplingOptions, SamplingRequest, check_request
from ilr_bench.generation.sampling import draw, rng_streams
from ilr_bench.models.lora import AdapterModel


class TokenDraws:
    """Tokens drawn for the rows of one call, step by step."""

    def __init__(self) -> None:
        """Without rows until `begin`."""
        self.temperature = 0.0
        self.uniforms = self.logprobs = torch.zeros(0, 0)

    def begin(self, names: Sequence[tuple[int, int, int]], temperature: float, limit: int, device: Any) -> None:
        """names[i] names the stream of row i; `limit`: most tokens of a row."""
        self.temperature = temperature
        self.uniforms = torch.from_numpy(rng_streams(names, limit)).to(device)
        self.logprobs = torch.zeros(len(names), limit, device=device)

    def take(self, logits: Tensor, indices: list[int], steps: list[int]) -> Tensor:
        """(rows,) next tokens of the rows at `indices`, which have `steps` tokens; keeps their log-probabilities.

        The same step of a row again gives the same token.
        """
        at = torch.tensor(indices, device=logits.device), torch.tensor(steps, device=logits.device)
        chosen, logprobs = draw(logits, self.temperature, self.uniforms[at])
        self.logprobs[at] = logprobs
        return chosen


def logits_processor(draws: TokenDraws) -> type:
    """The class through which vLLM (model runner V1) takes tokens from `draws`; `extra_args` hold a request's row."""
    # Imported with vLLM, which is not everywhere and takes seconds.
    from vllm.v1.sample.logits_processor import LogitsProcessor, process_dict_updates

    class Drawn(LogitsProcessor):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
            self.rows: dict[int, tuple[int, list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            process_dict_updates(
                self.rows,
                batch_update,
                lambda params, _, logprobs_of_row: (
                    (params.extra_args["row"], logprobs_of_row) if params.extra_args else None
                ),
            )

        def apply(self, logits: Tensor) -> Tensor:
            if self.rows:
                slots = list(self.rows)
                indices, logprobs_of_row = zip(*self.rows.values(), strict=True)
                chosen = draws.take(logits[slots], list(indices), [len(tokens) for tokens in logprobs_of_row])
                logits[slots, chosen] = torch.inf
            return logits

    return Drawn


SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights are handed over inside this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer's threads stay where they are
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the other one calls logits processors in another way
    "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
}
BLOCK = 32
"""Tokens of a cache block; vLLM's kernels for CPUs need a multiple of 32."""


@dataclass
class _GrowingCompletion:
    """One completion as it grows."""

    token_ids: list[int] = field(default_factory=list)
    finished: bool = False


class VllmEngine:
    """Samples from a transformers causal language model through a vLLM instance of the same architecture.

    The instance is started by the first call that samples. Every row has a random stream of its own, named by seed,
    prompt and sample.
    """

    name = "vllm"

    def __init__(
        self,
        model: Any,
        folder: Path,
        end_ids: Iterable[int],
        decode: Callable[[Sequence[int]], str],
        precision: str = "float32",
        rows: int = 512,
    ) -> None:
        """`folder` describes the architecture; the weights are `model`'s. `rows`: most rows sampled at a time.

        Raises MissingInputError where vLLM is not installed, ConfigurationError in one of several processes.
        """
        if find_spec("vllm") is None:
            raise MissingInputError(
                "sampling.engine=vllm needs vLLM, which is not installed: pip install 'ilr-bench[vllm]' on a machine "
                "with a GPU (docs/vllm.md says how on one without), or set sampling.engine=transformers "
                "(evaluate: --engine transformers)"
            )
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            raise ConfigurationError(
                "sampling.engine=vllm serves one process, and this trial is trained by "
                f"{distributed.get_world_size()}; set sampling.engine=transformers, or start a single process"
            )
        self.model = model
        self.folder = folder
        self.end_ids = tuple(sorted(end_ids))
        self.decode = decode
        self.precision = precision
        self.rows = rows
        self._draws = TokenDraws()
        self._llm: Any = None
        self._asleep = False
        self._served: list[tuple[int, int]] | None = None
        """`writes` of the model when vLLM copied its weights; None where they may have changed since."""

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """`samples[i]` completions of `prompts[i]`; see `Engine.sample`.

        Raises ConfigurationError for an empty prompt, for one too long for a completion, and for a model that vLLM
        cannot serve.
        """
        check_request(request)
        prompts, samples, options = request.prompts, request.samples, request.options
        lengths = [len(prompt) for prompt, count in zip(prompts, samples, strict=True) if count]
        if not lengths:
            return [[] for _ in prompts]
        engine = self._woken_engine()
        limit = engine.model_config.max_model_len
        longest = max(lengths) + options.max_new_tokens
        if longest > limit:
            raise ConfigurationError(
                f"sequences of {longest} tokens exceed the {limit} that vLLM holds for this model; "
                "lower sampling.max_prompt_tokens or sampling.max_new_tokens"
            )
        from vllm import TokensPrompt

        asked = [(index, sample) for index, count in enumerate(samples) for sample in range(count)]
        names = [f"{index}/{sample}" for index, sample in asked]
        rows = {name: _GrowingCompletion() for name in names}
        streams = [(request.seed, request.first + index, sample) for index, sample in asked]
        self._draws.begin(streams, options.temperature, options.max_new_tokens, self.model.device)
        for number, (name, (index, _)) in enumerate(zip(names, asked, strict=True)):
            tokens = TokensPrompt(prompt_token_ids=list(prompts[index]))
            engine.add_request(name, tokens, self._params(options, number))
        try:
            self._run(engine, rows, options.stop_strings)
        finally:
            engine.abort_request(names)
        results: list[list[Completion]] = [[] for _ in prompts]
        for (index, _), row, logprobs in zip(asked, rows.values(), self._draws.logprobs.cpu().numpy(), strict=True):
            logprobs_of_row = logprobs[: len(row.token_ids)].copy()
            results[index].append(Completion(tuple(row.token_ids), logprobs_of_row, row.finished))
        return results

    def release(self) -> None:
        """On a GPU frees the memory of weights and cache until the next call; see `Engine.release`."""
        self._served = None
        if self._llm is not None and not self._asleep and self.model.device.type == "cuda":
            # Level 2 drops the weights: they are about to change.
            self._llm.sleep(level=2)
            self._asleep = True

    def _woken_engine(self) -> Any:
        """The engine inside vLLM, with the model's weights as they are now and nothing cached."""
        if self._llm is None:
            self._llm = self._start()
            weakref.finalize(self, _release, self._llm).atexit = False
        if self._asleep:
            self._llm.wake_up(tags=["weights"])
        found = writes(self.model)
        if found != self._served:
            weights = full_weights(self.model)
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
            self._served = found
        if self._asleep:
            self._llm.wake_up(tags=["kv_cache"])
            self._asleep = False
        # Prompts cached by other calls would change the last bits of this one's.
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM still holds rows of an earlier call")
        return self._llm.llm_engine

    def _start(self) -> Any:
        os.environ.update(SETTINGS)
        send_heartbeat()
        from vllm import LLM, SamplingParams, TokensPrompt

        device = self.model.device.type
        try:
            with _threads_stay(), torch.random.fork_rng():
                llm = LLM(
                    model=str(self.folder),
                    trust_remote_code=False,
                    skip_tokenizer_init=True,
                    dtype=self.precision,
                    load_format="dummy",
                    generation_config="vllm",
                    enforce_eager=device == "cpu",
                    enable_sleep_mode=device == "cuda",
                    enable_prefix_caching=True,
                    block_size=BLOCK,
                    kv_cache_memory_bytes=VLLM_CACHE[device],
                    max_model_len=-1,
                    max_num_seqs=self.rows,
                    logits_processors=[logits_processor(self._draws)],
                    disable_log_stats=True,
                )
            _undo_side_effects(llm)
            # Some models are refused by the first step only.
            llm.generate(
                TokensPrompt(prompt_token_ids=[0]), SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False
            )
            return llm
        except (ValueError, NotImplementedError, RuntimeError, AssertionError) as error:
            raise ConfigurationError(
                f"vLLM cannot serve the model in {self.folder} on this machine ({first_line(error)}); choose another "
                "model, or set sampling.engine=transformers"
            ) from error

    def _params(self, options: SamplingOptions, row: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=0.0,
            max_tokens=options.max_new_tokens,
            extra_args={"row": row},
            detokenize=False,
            ignore_eos=True,
            stop_token_ids=list(self.end_ids),
            output_kind=RequestOutputKind.DELTA if options.stop_strings else RequestOutputKind.FINAL_ONLY,
        )

    def _run(self, engine: Any, rows: Mapping[str, _GrowingCompletion], stop_strings: tuple[str, ...]) -> None:
        # As in the transformers engine: a token holds at least a quarter of a character.
        window = 4 * max(map(len, stop_strings), default=0) + 4
        while engine.has_unfinished_requests():
            send_heartbeat()
            stopped = []
            for output in engine.step():
                row, logprobs_of_row = rows[output.request_id], output.outputs[0]
                row.token_ids += logprobs_of_row.token_ids
                row.finished = logprobs_of_row.finish_reason == "stop"
                if stop_strings and not row.finished:
                    text = self.decode(row.token_ids[-window:])
                    row.finished = any(stop in text for stop in stop_strings)
                    if row.finished and not output.finished:
                        stopped.append(output.request_id)
            if stopped:
                engine.abort_request(stopped)


def full_weights(model: Any) -> dict[str, Tensor]:
    """All weights under the names that they have in a checkpoint, adapters merged into them; not copies otherwise."""
    if not isinstance(model, AdapterModel):
        return dict(revert_weight_conversion(model, model.state_dict()))
    plain: Any = model.base.get_base_model()
    weights = {
        name.replace(".base_layer.", "."): tensor for name, tensor in plain.state_dict().items() if ".lora_" not in name
    }
    with torch.no_grad():
        for name, layer in plain.named_modules():
            if isinstance(layer, LoraLayer):
                weights[f"{name}.weight"] = layer.get_base_layer().get_parameter("weight") + layer.get_delta_weight(
                    model.adapter
                )
    return dict(revert_weight_conversion(plain, weights))


def writes(model: Any) -> list[tuple[int, int]]:
    """Address of every weight, and torch's count of writes to it.

    Fused optimizers write past that count, but `release` is called before every update.
    """
    return [(weight.data_ptr(), weight._version) for weight in model.parameters()]


@contextmanager
def _threads_stay() -> Iterator[None]:
    """On CPUs vLLM removes `torch.set_num_threads` from the whole process; it is needed here afterwards."""
    kept = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = kept


def _undo_side_effects(llm: Any) -> None:
    """Undoes what an instance does to its process.

    When collected it would end the process group of all instances, and it hides every object that was made before it
    from the garbage collector.
    """
    llm.llm_engine.engine_core._finalizer.detach()
    gc.unfreeze()


def _release(llm: Any) -> None:
    """Frees the weights and the cache of an instance."""
    llm.collective_rpc("shutdown")
