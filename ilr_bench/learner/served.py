"""Agents that a server trains and samples (`sampling.engine=tinker`): checked against what it says that it serves."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, GenerationConfig

from ilr_bench.core.config import RunConfig, content_hash
from ilr_bench.core.errors import ConfigurationError, IlrError, ServiceError
from ilr_bench.core.plugins import model_source
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.tinker_engine import TinkerEngine
from ilr_bench.learner.samples import TrainingSample
from ilr_bench.learner.tinker_learner import TinkerLearner, datum, norm
from ilr_bench.models.loading import LoadedModel, end_tokens, hub_folder, load_tokenizer
from ilr_bench.models.tinker import (
    REDUCTION,
    Reduction,
    TinkerPolicy,
    address_of,
    capabilities,
    check_rank,
    check_served,
    connect,
    settled,
    stop_clients,
)
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.thoughts import thoughts_of
from ilr_bench.storage.files import digests

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""A model's configuration and tokenizer: all that is needed here of a model that a server holds."""
TOLERANCE = 0.2
"""How far a server's ratio of two gradients may be from 1 or 2 and still tell how it sums."""


def served_model(model: str, agent: str, config: RunConfig) -> LoadedModel:
    """The tokenizer of a model, with a `TinkerPolicy` in place of weights.

    Raises ConfigurationError where the server does not serve it, MissingInputError where the tokenizer cannot be had,
    ServiceError where there is no server.
    """
    name = model_source(model)
    folder = _description(name)
    tokenizer = load_tokenizer(folder)
    shape = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    address = address_of(agent)
    check_rank(config.update.lora_rank)
    service = connect(address)
    try:
        served = capabilities(service, f"agent {agent} at {address}")
        base = check_served(name, served, shape.model_type, address, partial(_is_same_folder, folder))
        positions = getattr(shape, "max_position_embeddings", None) or 2**31
        context = min(served[base] or positions, positions)
        check_lengths(config, context, f"agent {agent} at {address}")
    except IlrError:
        stop_clients([service])
        raise
    policy = TinkerPolicy(agent, base, service, address, context, config.update.lora_rank, config.seed)
    try:
        generation = GenerationConfig.from_pretrained(folder, trust_remote_code=False)
    except OSError:
        generation = GenerationConfig()  # type: ignore[no-untyped-call]
    ends = end_tokens(generation, shape, tokenizer, folder)
    pad = min(ends) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return LoadedModel(policy, tokenizer, ends, pad, folder, served_fingerprint(model))


def served_fingerprint(model: str) -> str:
    """Hash of a served model's name, configuration and tokenizer: its weights are the server's."""
    name = model_source(model)
    described = {file: found for file, found in digests(_description(name)).items() if _small(file)}
    return content_hash(["tinker", name, described])


def check_lengths(config: RunConfig, context: int, where: str) -> None:
    """Raises ConfigurationError where a training's longest sequence would not fit: servers cut or fail in its midst."""
    sampling = config.sampling
    longest = sampling.max_prompt_tokens + max(sampling.max_new_tokens, sampling.max_analysis_tokens)
    if config.training.steps and longest > context:
        raise ConfigurationError(
            f"{where}: prompts of up to {sampling.max_prompt_tokens} tokens and their answers take {longest}, and the "
            f"server takes {context}; lower sampling.max_prompt_tokens or sampling.max_new_tokens"
        )


def served_agent(name: str, loaded: LoadedModel, config: RunConfig, index: int = 0) -> Agent:
    """An agent around a served model, with the prompt style of the agent at `index`."""

    def decode(ids: Any) -> str:
        return str(loaded.tokenizer.decode(list(ids)))

    engine = TinkerEngine(loaded.model, loaded.end_ids, decode, len(loaded.tokenizer))
    style, thoughts = STYLES.get(config.styles[index]), thoughts_of(loaded.tokenizer, config.thought_marks)
    return Agent(name, loaded.model, loaded.tokenizer, style, engine, config.sampling.max_prompt_tokens, thoughts)


def served_learner(policy: TinkerPolicy, config: RunConfig, longest: int) -> TinkerLearner:
    """The learner of an agent on a server."""
    steps, temperature = config.training.steps, config.sampling.temperature
    return TinkerLearner(policy, config.update, steps, longest, temperature, partial(find_reduction, policy))


def note_servers(folder: Path, models: Sequence[Any]) -> None:
    """Writes into a trial's folder who trains its agents, where servers do; keys are not in it.

    `servers.json` is outside every hash.
    """
    policies = [model for model in models if isinstance(model, TinkerPolicy)]
    if not policies:
        return
    from importlib.metadata import version

    found = {
        policy.agent: {
            "server": "hosted" if not policy.address.url else "local" if policy.address.is_local else "own",
            "sdk": version("tinker"),
            "base_model": policy.base_model,
            "context": policy.context,
            "rank": policy.rank,
            "serves": capabilities(policy.service, policy.where),
        }
        for policy in policies
    }
    (folder / "servers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def find_reduction(policy: TinkerPolicy, environment: Any = None) -> Reduction:
    """How a server sums gradients: as it was told, else by a trial of it with a client of its own.

    The same sequence once and twice, with a learning rate of 0: the gradient of a sum doubles, that of a mean stays.
    Raises ServiceError where the server states no norm of its gradient; then the user has to say it.
    """
    told = (os.environ if environment is None else environment).get(REDUCTION, "")
    if told:
        if told not in ("sum", "sequence_mean"):
            raise ConfigurationError(f"--tinker-reduction {told}: sum or sequence_mean")
        return told  # type: ignore[return-value]
    from tinker import types

    what = f"{policy.where}: how it sums gradients"
    asked = policy.service.create_lora_training_client(base_model=policy.base_model, rank=policy.rank, seed=0)
    client = settled(asked, what)
    row = datum(TrainingSample((1, 2), (3, 1), None, 1.0), np.zeros(2), np.ones(2))
    still = types.AdamParams(learning_rate=0.0)
    norms = []
    for count in (1, 2):
        settled(client.forward_backward([row] * count, "importance_sampling"), what)
        norms.append(norm(settled(client.optim_step(still), what)))
    first, second = norms
    if not first or second is None:
        raise ServiceError(f"{what} cannot be told from its answers; say it: --tinker-reduction sum or sequence_mean")
    ratio = second / first
    if abs(ratio - 2) < TOLERANCE:
        return "sum"
    if abs(ratio - 1) < TOLERANCE:
        return "sequence_mean"
    raise ServiceError(f"{what}: one sequence twice has {ratio:.2f} times its gradient, neither 1 nor 2")


def _description(name: str) -> Path:
    """The folder with a model's configuration and tokenizer; of a model of the hub these files alone are loaded."""
    path = Path(name).expanduser()
    return path if path.is_dir() else hub_folder(name, SMALL_FILES, ["*.index.json"])


def _is_same_folder(folder: Path, listed: str) -> bool:
    path = Path(listed).expanduser()
    return path.is_dir() and path.resolve() == folder.resolve()


def _small(file: str) -> bool:
    return not file.endswith((".safetensors", ".bin", ".pt"))
