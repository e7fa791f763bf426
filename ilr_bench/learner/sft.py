"""Supervised fine-tuning (`warm_start`) before reinforcement, for models that are never right as they come.

An SFT checkpoint is made once from the model, the solutions and the settings, kept in the cache under the hash of
these, and used by all seeds and variants. So `base` is that checkpoint without reinforcement. All weights are
trained, whatever adapter reinforcement uses later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ilr_bench.core.config import RunConfig, WarmStartSettings, content_hash
from ilr_bench.core.errors import ConfigurationError, NumericalError
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent
from ilr_bench.learner.grpo import training_mode
from ilr_bench.learner.logprobs import completion_logprobs, micro_batches
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.models.catalogue import prepare_once
from ilr_bench.models.loading import LoadedModel, computing_device, load_model, locate, save_prepared
from ilr_bench.prompts import STYLES, PromptStyle
from ilr_bench.storage.files import cache_folder, write_atomic
from ilr_bench.storage.provenance import ALWAYS, FINE_TUNING, LEARNERS, numeric_versions
from ilr_bench.storage.records import WarmStartRecord, read, to_line
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.types import Question

SEED = 0
"""One order of the solutions for all trials, so that all seeds start from one checkpoint."""
LOG = "warm_start.jsonl"
BuildAgent = Callable[[str, LoadedModel, RunConfig, int], Agent]
"""`learner.build.build_agent`, which imports this module."""


def sft_checkpoint(model: str, index: int, config: RunConfig, build_agent: BuildAgent) -> str:
    """The model's name, or the folder of its SFT checkpoint for the agent at `index`.

    Raises ConfigurationError where a training question has no written solution, NumericalError where training
    diverges, and whatever loading a model raises.
    """
    settings = config.warm_start
    if not settings.steps:
        return model
    style = STYLES.get(config.styles[index])
    questions, _ = question_source(config.questions.source).load(settings.questions, config.questions.validation)
    texts = [(style.solve(question.text), format_solution(question, style)) for question in questions]
    _, fingerprint = locate(model)
    key = content_hash(
        {
            "model": fingerprint,
            "settings": asdict(settings),
            "solutions": texts,
            "style": style.name,
            "prompt_tokens": config.sampling.max_prompt_tokens,
            "device": computing_device(),
            "update": [
                config.update.precision,
                config.update.max_grad_norm,
                config.update.rows_per_micro_batch,
                config.update.gradient_checkpointing,
            ],
            "versions": numeric_versions(FINE_TUNING, (*ALWAYS, *LEARNERS)),
        }
    )

    def make(folder: Path) -> None:
        loaded = load_model(model)
        agent = build_agent(config.agents[index], loaded, config, index)
        solutions = [
            TrainingSample(agent.render(prompt).ids, completion_ids(solution, agent, loaded), None, credit=1.0)
            for prompt, solution in texts
        ]
        steps = run_sft(loaded.model, solutions, config, config.agents[index])
        save_prepared(loaded.model, loaded.tokenizer, folder)
        write_atomic(folder / LOG, "".join(f"{to_line(step)}\n" for step in steps))

    return str(prepare_once(cache_folder() / "models" / f"warm-{key}", make))


def format_solution(question: Question, style: PromptStyle) -> str:
    """A question's solution in the form in which the style finds its answer.

    Raises ConfigurationError where the source gives neither steps nor an answer that the style finds by itself.
    """
    steps, answer = question.steps, question.answer
    forms = [f"{'. '.join(steps)}. The answer is {answer}.", rf"{' '.join(steps)} \boxed{{{answer}}}"]
    for form in forms if steps else [answer]:
        if style.extract_answer(form) == answer:
            return form
    raise ConfigurationError(
        f"warm_start.steps: question {question.id} has no worked solution that the prompt style {style.name} can "
        "read; choose another questions.source or prompt_style, or set warm_start.steps=0"
    )


def completion_ids(solution: str, agent: Agent, loaded: LoadedModel) -> tuple[int, ...]:
    """A solution in the agent's tokens, with what ends its turns."""
    tokenizer, style = loaded.tokenizer, agent.style
    if tokenizer.chat_template is not None and style.uses_chat_template:
        return (*tokenizer(solution, add_special_tokens=False)["input_ids"], _turn_end(loaded))
    stops = style.stop_strings()
    text = f" {solution}{stops[0] if stops else ''}"
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    return ids if stops else (*ids, _turn_end(loaded))


def run_sft(model: Any, solutions: Sequence[TrainingSample], config: RunConfig, agent: str) -> list[WarmStartRecord]:
    """AdamW steps on the mean negative log-probability per token of the solutions; changes the model in place.

    Raises NumericalError where a loss is not finite.
    """
    settings, update = config.warm_start, config.update
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=0.0)
    half = torch.autocast(model.device.type, dtype=torch.bfloat16) if update.precision == "bf16" else nullcontext()
    records = []
    for step in range(1, settings.steps + 1):
        batch = [solutions[index] for index in _step_indices(len(solutions), settings, step)]
        tokens = sum(len(solution.completion_ids) for solution in batch)
        loss = 0.0
        with training_mode(model, update.gradient_checkpointing):
            for part in micro_batches(batch, update.rows_per_micro_batch):
                with half:
                    fraction = -completion_logprobs(model, part, 1.0).sum() / tokens
                fraction.backward()  # type: ignore[no-untyped-call]
                loss += float(fraction.detach())
        if not np.isfinite(loss):
            raise NumericalError(
                f"agent {agent}, warm start, step {step}: the loss is {loss}; lower warm_start.learning_rate"
            )
        torch.nn.utils.clip_grad_norm_(weights, update.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        records.append(WarmStartRecord(step, agent, loss, tokens))
    return records


def write_log(folder: Path, models: Mapping[str, Path]) -> None:
    """Writes the SFT steps of the agents' models (agent -> its model's folder) into a trial's folder."""
    steps = [
        replace(record, agent=agent)
        for agent, model in models.items()
        if (model / LOG).exists()
        for record in read(model / LOG, WarmStartRecord)
    ]
    if steps:
        write_atomic(folder / LOG, "".join(f"{to_line(step)}\n" for step in steps))


def _step_indices(count: int, settings: WarmStartSettings, step: int) -> list[int]:
    """Which solutions a step takes: shuffled epochs, read in order."""
    wanted = range((step - 1) * settings.rows_per_step, step * settings.rows_per_step)
    return [int(_epoch(count, index // count)[index % count]) for index in wanted]


def _epoch(count: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(derive_seed(SEED, "warm start", epoch)).permutation(count)


def _turn_end(loaded: LoadedModel) -> int:
    """The end token that the chat template puts after an answer, else the tokenizer's own."""
    tokenizer = loaded.tokenizer
    if tokenizer.chat_template is not None:
        messages = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        closing = [token for token in ids if token in loaded.end_ids]
        if closing:
            return int(closing[-1])
    return loaded.end_ids[0] if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
