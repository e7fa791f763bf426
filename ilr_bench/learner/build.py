"""Builds a configuration's agents and learners: models loaded, engines, tokenizers and optimizers attached."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from ilr_bench.core.config import RunConfig
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Engine
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.swapper import DeviceSwapper, SwappingEngine
from ilr_bench.generation.vllm_engine import VllmEngine
from ilr_bench.learner.distributed import SINGLE, DistContext
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.learner.ppo import PPOLearner
from ilr_bench.learner.samples import Learner
from ilr_bench.learner.served import served_agent, served_learner, served_model
from ilr_bench.learner.sft import sft_checkpoint
from ilr_bench.models.loading import LoadedModel, load_model, load_with_adapters
from ilr_bench.models.tinker import TinkerPolicy, stop_clients
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.thoughts import thoughts_of


@dataclass(frozen=True)
class LoadedAgent:
    """One agent with the model it was made from."""

    agent: Agent
    loaded: LoadedModel
    swapper: DeviceSwapper | None = None
    """What loads and offloads agents; None where all stay on the computing device."""


def build_agents(config: RunConfig, swapper: DeviceSwapper | None = None) -> list[LoadedAgent]:
    """The agents in their order; with LoRA, agents of one model are adapters on one base.

    `swapper`: loads one of them at a time onto the computing device; without one all are there.
    """
    if config.sampling.engine == "tinker":
        with ExitStack() as ends:
            served: list[LoadedModel] = []
            for name, model in zip(config.agents, config.models, strict=True):
                served.append(served_model(model, name, config))
                ends.callback(stop_clients, [served[-1].model.service])
            ends.pop_all()  # all are there: the caller parts from them
        named = enumerate(zip(config.agents, served, strict=True))
        return [LoadedAgent(build_agent(name, loaded, config, index), loaded) for index, (name, loaded) in named]
    device = None if swapper is None else swapper.offload_device
    models = [sft_checkpoint(model, index, config, build_agent) for index, model in enumerate(config.models)]
    if config.update.adapter == "lora":
        loaded_models = load_with_adapters(models, config.agents, config.update, config.seed, device)
    else:
        loaded_models = [load_model(model, device) for model in models]
    loaded_agents = []
    for index, (name, loaded) in enumerate(zip(config.agents, loaded_models, strict=True)):
        agent = build_agent(name, loaded, config, index)
        if swapper is not None:
            swapper.register(agent.model)
            agent.engine = SwappingEngine(agent.engine, partial(swapper.onload, agent.model))
        loaded_agents.append(LoadedAgent(agent, loaded, swapper))
    return loaded_agents


def build_agent(name: str, loaded: LoadedModel, config: RunConfig, index: int = 0) -> Agent:
    """One agent around a loaded model, with the prompt style of the agent at `index`."""
    if isinstance(loaded.model, TinkerPolicy):
        return served_agent(name, loaded, config, index)
    style = STYLES.get(config.styles[index])
    engine = make_engine(loaded, config)
    thoughts = thoughts_of(loaded.tokenizer, config.thought_marks)
    return Agent(name, loaded.model, loaded.tokenizer, style, engine, config.sampling.max_prompt_tokens, thoughts)


def part_from_servers(loaded_agents: Sequence[LoadedAgent]) -> None:
    """Ends the sessions with servers, so that they free what they keep for these agents."""
    stop_clients([one.agent.model.service for one in loaded_agents if isinstance(one.agent.model, TinkerPolicy)])


def make_engine(loaded: LoadedModel, config: RunConfig) -> Engine:
    """The engine of `sampling.engine` around a model; raises MissingInputError where it is not installed."""

    def decode(ids: Sequence[int]) -> str:
        return str(loaded.tokenizer.decode(list(ids)))

    if config.sampling.engine == "transformers":
        return TransformersEngine(loaded.model, loaded.end_ids, loaded.pad_id, decode)
    precision = "bfloat16" if config.update.precision == "bf16" else "float32"
    rows = max(config.sampling.rows_per_call, config.evaluation.rows_per_call)
    return VllmEngine(loaded.model, loaded.folder, loaded.end_ids, decode, precision, rows)


def make_learners(loaded_agents: Sequence[LoadedAgent], config: RunConfig, dist: DistContext = SINGLE) -> list[Learner]:
    """One learner per agent; `dist`: the ranks that compute its updates together."""
    longest = max(config.sampling.max_new_tokens, config.sampling.max_analysis_tokens)
    make = GRPOLearner if config.critic.kind == "none" else partial(PPOLearner, critic=config.critic)
    learners: list[Learner] = []
    for one in loaded_agents:
        model, name = one.agent.model, one.agent.name
        if isinstance(model, TinkerPolicy):
            learners.append(served_learner(model, config, longest))
            continue
        learner = make(model, name, config.update, config.training.steps, longest, config.sampling.temperature, dist)
        if one.swapper is not None:
            extra_modules = [learner.reference, learner.head if isinstance(learner, PPOLearner) else None]
            one.swapper.attach(model, [module for module in extra_modules if module is not None], learner.optimizer)
        learners.append(learner)
    return learners
