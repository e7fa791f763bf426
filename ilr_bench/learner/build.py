"""Seats a configuration's agents: models loaded, engines and tokenizers attached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ilr_bench.core.config import RunConfig
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.dispatch import DeviceSwapper, SwappingEngine
from ilr_bench.generation.engine import Engine
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.vllm_engine import VllmEngine
from ilr_bench.learner.distributed import SINGLE, DistContext
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.ppo import PPOLearner
from ilr_bench.learner.sft import sft_checkpoint
from ilr_bench.models.loading import LoadedModel, load_model, load_with_adapters
from ilr_bench.prompts import STYLES


@dataclass(frozen=True)
class LoadedAgent:
    """One agent with the model it was made from."""

    agent: Agent
    loaded: LoadedModel
    swapper: DeviceSwapper | None = None
    """Where agents take turns on the device that computes; None where all stay there."""


def build_agents(config: RunConfig, swapper: DeviceSwapper | None = None) -> list[LoadedAgent]:
    """The agents in their order; with LoRA, agents of one model share its base weights.

    `swapper`: has them take turns on the device that computes; without one all are there.
    """
    models = _load(config, None if swapper is None else swapper.offload_device)
    loaded_agents = [
        LoadedAgent(build_agent(name, loaded, config, index), loaded, swapper)
        for index, (name, loaded) in enumerate(zip(config.agents, models, strict=True))
    ]
    return (
        loaded_agents if swapper is None else [_with_swapping(loaded_agent, swapper) for loaded_agent in loaded_agents]
    )


def _with_swapping(loaded_agent: LoadedAgent, swapper: DeviceSwapper) -> LoadedAgent:
    swapper.register(loaded_agent.agent.model)
    engine = SwappingEngine(loaded_agent.agent.engine, partial(swapper.onload, loaded_agent.agent.model))
    return replace(loaded_agent, agent=replace(loaded_agent.agent, engine=engine))


def build_agent(name: str, loaded: LoadedModel, config: RunConfig, index: int = 0) -> Agent:
    """One agent around a loaded model, with the prompt style of the agent at `index`."""
    style = STYLES.get(config.styles[index])
    engine = make_engine(loaded, config)
    return Agent(name, loaded.model, loaded.tokenizer, style, engine, config.sampling.max_prompt_tokens)


def make_engine(loaded: LoadedModel, config: RunConfig) -> Engine:
    """What samples from a loaded model; raises MissingInputError where it is not installed."""

    def decode(ids: Sequence[int]) -> str:
        return str(loaded.tokenizer.decode(list(ids)))

    if config.sampling.engine == "transformers":
        return TransformersEngine(loaded.model, loaded.end_ids, loaded.pad_id, decode)
    precision = "bfloat16" if config.update.precision == "bf16" else "float32"
    rows = max(config.sampling.rows_per_call, config.evaluation.rows_per_call)
    return VllmEngine(loaded.model, loaded.folder, loaded.end_ids, decode, precision, rows)


def make_learners(
    loaded_agents: Sequence[LoadedAgent], config: RunConfig, dist: DistContext = SINGLE
) -> list[GRPOLearner]:
    """One optimizer per agent; `dist`: the processes that share its updates."""
    longest = max(config.sampling.max_new_tokens, config.sampling.max_analysis_tokens)
    make = GRPOLearner if config.critic.kind == "none" else partial(PPOLearner, critic=config.critic)
    learners = [
        make(
            loaded_agent.agent.model,
            loaded_agent.agent.name,
            config.update,
            config.training.steps,
            longest,
            config.sampling.temperature,
            dist,
        )
        for loaded_agent in loaded_agents
    ]
    for loaded_agent, learner in zip(loaded_agents, learners, strict=True):
        if loaded_agent.swapper is not None:
            extra_modules = [learner.reference, learner.head if isinstance(learner, PPOLearner) else None]
            modules = [module for module in extra_modules if module is not None]
            loaded_agent.swapper.attach(loaded_agent.agent.model, modules, learner.optimizer)
    return learners


def _load(config: RunConfig, device: str | None) -> list[LoadedModel]:
    models = [sft_checkpoint(model, index, config, build_agent) for index, model in enumerate(config.models)]
    if config.update.adapter == "lora":
        return load_with_adapters(models, config.agents, config.update, config.seed, device)
    return [load_model(model, device) for model in models]
