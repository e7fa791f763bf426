"""Seats a configuration's agents: models loaded, engines and tokenizers attached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ilr_bench.core.config import RunConfig
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.dispatch import Residence, VisitingEngine
from ilr_bench.generation.engine import Engine
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.generation.vllm_engine import VllmEngine
from ilr_bench.learner.distributed import ALONE, Ranks
from ilr_bench.learner.grpo import PolicyUpdater
from ilr_bench.learner.ppo import PpoUpdater
from ilr_bench.learner.sft import warmed
from ilr_bench.models.loading import LoadedModel, load_model, load_twins
from ilr_bench.prompts import STYLES


@dataclass(frozen=True)
class Seat:
    """One agent with the model it was made from."""

    agent: Agent
    loaded: LoadedModel
    residence: Residence | None = None
    """Where agents take turns on the device that computes; None where all stay there."""


def seat_agents(config: RunConfig, residence: Residence | None = None) -> list[Seat]:
    """The agents in their order; with LoRA, agents of one model share its base weights.

    `residence`: has them take turns on the device that computes; without one all are there.
    """
    models = _load(config, None if residence is None else residence.home)
    seats = [
        Seat(seat(name, loaded, config, place), loaded, residence)
        for place, (name, loaded) in enumerate(zip(config.agents, models, strict=True))
    ]
    return seats if residence is None else [_visiting(one, residence) for one in seats]


def _visiting(seat: Seat, residence: Residence) -> Seat:
    residence.admit(seat.agent.model)
    engine = VisitingEngine(seat.agent.engine, partial(residence.enter, seat.agent.model))
    return replace(seat, agent=replace(seat.agent, engine=engine))


def seat(name: str, loaded: LoadedModel, config: RunConfig, place: int = 0) -> Agent:
    """One agent around a loaded model, with the prompt style of the agent at `place`."""
    style = STYLES.get(config.styles[place])
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


def make_updaters(seats: Sequence[Seat], config: RunConfig, ranks: Ranks = ALONE) -> list[PolicyUpdater]:
    """One optimizer per agent; `ranks`: the processes that share its updates."""
    longest = max(config.sampling.max_new_tokens, config.sampling.max_analysis_tokens)
    make = PolicyUpdater if config.critic.kind == "none" else partial(PpoUpdater, critic=config.critic)
    updaters = [
        make(
            seat.agent.model,
            seat.agent.name,
            config.update,
            config.training.steps,
            longest,
            config.sampling.temperature,
            ranks,
        )
        for seat in seats
    ]
    for seat, updater in zip(seats, updaters, strict=True):
        if seat.residence is not None:
            beside = [updater.reference, updater.head if isinstance(updater, PpoUpdater) else None]
            modules = [module for module in beside if module is not None]
            seat.residence.take_along(seat.agent.model, modules, updater.optimizer)
    return updaters


def _load(config: RunConfig, device: str | None) -> list[LoadedModel]:
    models = [warmed(model, place, config, seat) for place, model in enumerate(config.models)]
    if config.update.adapter == "lora":
        return load_twins(models, config.agents, config.update, config.seed, device)
    return [load_model(model, device) for model in models]
