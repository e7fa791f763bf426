"""One trial: measure, train, let every agent answer alone, and leave the records.

A trial's folder decides what is still to be done: finished trials return at once, interrupted ones continue
from their last joint checkpoint and end in the same bytes. What other inputs made is not continued (`study.inputs`).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from ilr_bench.core import signals
from ilr_bench.core.config import RunConfig, to_dict
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation.joint import run_joint_inference
from ilr_bench.evaluation.runner import evaluate, run_benchmarks
from ilr_bench.generation.swapper import DeviceSwapper
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import LoadedAgent, build_agents, make_learners, part_from_servers
from ilr_bench.learner.distributed import SINGLE, DistContext
from ilr_bench.learner.served import note_servers
from ilr_bench.learner.sft import write_log
from ilr_bench.method import loop
from ilr_bench.method.difficulty import Rankings, joint_difficulty
from ilr_bench.method.interaction import cooperates
from ilr_bench.models.loading import computing_device
from ilr_bench.storage import recovery
from ilr_bench.storage.checkpoints import latest_checkpoint, step_folder
from ilr_bench.storage.files import explained, write_atomic
from ilr_bench.storage.provenance import read_inputs, versions
from ilr_bench.storage.records import DialogueRecord, StepRecord, TrialResult, read, read_result
from ilr_bench.storage.store import RESULT, Artifacts, finalize, invalidate, is_finished
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.study.artifacts import DIFFICULTY, CachedBenchmarkRun, ability
from ilr_bench.study.inputs import InputReader, note_inputs, noted_inputs, settle
from ilr_bench.study.trial_state import CHECKPOINTS, TrialCheckpointer, load_agents
from ilr_bench.tasks.benchmarks import expand, get
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.types import Question

_log = logging.getLogger(__name__)


def run_trial(
    config: RunConfig,
    key: str,
    folder: Path,
    artifacts: Artifacts,
    dependency: Path | None = None,
    watch: Callable[[int, float], None] = lambda step, evaluated: None,
    until: int | None = None,
    keep: int = 1,
    dist: DistContext = SINGLE,
    take_turns: Callable[[RunConfig], bool] = lambda config: False,
) -> TrialResult | None:
    """Runs a trial to its end, or continues it, and returns its result.

    `key` is the trial's hash, `dependency` the folder of the trial whose sampled tokens it matches, `watch`
    is called with the step and the fraction of the evaluation that are done. With `until` below `training.steps` it
    trains up to that joint step, saves a checkpoint and returns None without evaluating; a later call goes on, and the
    bytes in which the trial ends do not depend on such stops. `keep` checkpoints stay, and the best by validation.
    `take_turns`: whether, by the resolved configuration, the agents do not fit on a graphics card together.
    Of several processes that run a trial, all call this; rank 0 writes, scores the agents and returns
    the result, the others return None once the training is done. Raises Stopped, with everything saved, where this
    process is asked to stop (see `signals`), or another one of the trial.
    """
    reader = InputReader()
    matched = None if dependency is None else read_inputs(artifacts.root, noted_inputs(dependency))
    inputs = reader.of(config, matched)
    changed = settle(folder, inputs, artifacts) if dist.is_main else ""
    if changed:
        _log.warning("%s: %s", folder, changed)
    if is_finished(folder, key, artifacts):
        return read_result(folder)
    if not dist.is_main:
        _assist(resolve(config, dependency), folder, artifacts, dist, take_turns)
        return None
    last = config.training.steps if until is None else min(until, config.training.steps)
    if last < config.training.steps and _done(folder) >= last:
        return None
    if (folder / RESULT).exists():
        damaged = ", ".join(invalidate(folder, key)) or "an artifact"
        _log.warning("%s: %s changed since the trial finished; what is damaged is made anew", folder, damaged)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    asked, config = config, resolve(config, dependency)
    noted = _write_config(folder, key, config, note_inputs(inputs, artifacts))
    stopwatch = Stopwatch(folder / "timing.jsonl")
    with recovery.log_incidents(folder), Grader() as grader, ExitStack() as ends:
        with stopwatch.watch("models"):
            loaded_agents = build_agents(config, make_swapper(config, dist, take_turns))
        ends.callback(part_from_servers, loaded_agents)
        note_servers(folder, [loaded_agent.agent.model for loaded_agent in loaded_agents])
        inputs = reader.of(asked, matched)  # a model of the hub has a revision once it has been downloaded
        if inputs.hash != noted:
            noted = _write_config(folder, key, config, note_inputs(inputs, artifacts))
        write_log(folder, {loaded_agent.agent.name: loaded_agent.loaded.folder for loaded_agent in loaded_agents})
        state, measured = build_trainer(config, loaded_agents, artifacts, grader, stopwatch, dist)
        checkpointer = TrialCheckpointer(
            folder, state, {loaded_agent.agent.name: loaded_agent.loaded.fingerprint for loaded_agent in loaded_agents}
        )
        _train(config, checkpointer, watch, last, keep)
        if last < config.training.steps:
            return None
        with dist.rank0_busy() if dist.others_wait else nullcontext():
            _evaluate(
                config, folder, state, measured.ability, loaded_agents, artifacts, partial(watch, config.training.steps)
            )
        stopwatch.write(config.training.steps + 1)
    result = _result(config, key, noted, folder, state, measured)
    finalize(folder, key, json.dumps(dataclasses.asdict(result), indent=1) + "\n")
    return result


def _write_config(folder: Path, key: str, config: RunConfig, inputs: str) -> str:
    noted = {"hash": key, "inputs": inputs, "config": to_dict(config)}
    write_atomic(folder / "config.json", json.dumps(noted, indent=1) + "\n")
    return inputs


def resolve(config: RunConfig, dependency: Path | None) -> RunConfig:
    """The configuration with its samples per agent set where it matches another trial's tokens.

    Agent by agent: the completion tokens that the other trial sampled in all its stages, divided by those of
    one sharing turn per question, to the nearest whole number of samples (at least 2).
    """
    if config.sampling.match_tokens_of is None or dependency is None or not config.training.steps:
        return config
    steps = list(read(dependency / "train.jsonl", StepRecord))
    samples = []
    for agent in config.agents:
        own = [record for record in steps if record.agent == agent]
        spent = sum(record.sampled_tokens for record in own)
        one_each = sum(record.sharing_tokens / record.sharing_samples for record in own)
        samples.append(max(2, round(spent / one_each)))
    return dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, samples_per_agent=tuple(samples)))


def make_swapper(config: RunConfig, dist: DistContext, take_turns: Callable[[RunConfig], bool]) -> DeviceSwapper | None:
    """Where the agents take turns on the graphics card, if they have to.

    Processes that hold shards of optimizer states exchange them for every agent, so there agents do not take turns.
    """
    if dist.shards or computing_device() != "cuda" or not take_turns(config):
        return None
    return DeviceSwapper(offload_device="cpu", compute_device="cuda")


@dataclasses.dataclass(frozen=True)
class InitialEstimates:
    """What was known of questions and agents before training."""

    rankings: tuple[Rankings, ...]
    ability: tuple[float, ...]
    artifacts: dict[str, str]


def load_questions(config: RunConfig) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """The training and the validation questions."""
    return question_source(config.questions.source).load(config.questions.train, config.questions.validation)


def measure_agents(
    config: RunConfig,
    loaded_agents: Sequence[LoadedAgent],
    questions: tuple[tuple[Question, ...], tuple[Question, ...]],
    artifacts: Artifacts,
    grader: Grader,
) -> InitialEstimates:
    """Difficulty as every agent finds it and its ability, from the artifacts or computed now."""
    training, validation = questions
    ranked: list[Rankings] = []
    abilities: list[float] = []
    made: dict[str, str] = {}
    kind, rank = DIFFICULTY[config.difficulty.source]
    for loaded_agent in loaded_agents:
        name = loaded_agent.agent.name
        ranking, folder = rank(loaded_agent, training, config, artifacts, grader)
        ranked.append(ranking)
        made[f"{kind}/{name}"] = folder.name
        gamma, folder = ability(loaded_agent, validation, config, artifacts, grader)
        abilities.append(gamma)
        made[f"ability/{name}"] = folder.name
    return InitialEstimates(tuple(ranked), tuple(abilities), made)


def build_trainer(
    config: RunConfig,
    loaded_agents: Sequence[LoadedAgent],
    artifacts: Artifacts,
    grader: Grader,
    stopwatch: Stopwatch,
    dist: DistContext = SINGLE,
) -> tuple[loop.TrainerState, InitialEstimates]:
    """Questions, difficulty, abilities and optimizers around loaded agents; `dist`: the processes that train them."""
    training, validation = load_questions(config)
    measured = dist.rank0_first(
        partial(measure_agents, config, loaded_agents, (training, validation), artifacts, grader)
    )
    state = loop.TrainerState(
        agents=[loaded_agent.agent for loaded_agent in loaded_agents],
        learners=make_learners(loaded_agents, config, dist),
        questions=training,
        validation=validation,
        difficulty=joint_difficulty(measured.rankings),
        ability=np.array(measured.ability),
        grader=grader,
        stopwatch=stopwatch,
        dist=dist,
        swapper=loaded_agents[0].swapper,
    )
    return state, measured


def _done(folder: Path) -> int:
    """The step that a trial has been trained to."""
    latest = latest_checkpoint(folder / CHECKPOINTS)
    return 0 if latest is None else latest[0]


def _train(
    config: RunConfig, checkpointer: TrialCheckpointer, watch: Callable[[int, float], None], last: int, keep: int
) -> None:
    state, every = checkpointer.trainer, config.training.checkpoint_every
    done = state.dist.from_rank0(checkpointer.restore())
    state.stopwatch.write(done)

    def is_regular(step: int) -> bool:
        return step % every == 0 or step == config.training.steps

    def finished(step: int, steps: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
        checkpointer.note(step, steps, dialogues)
        asked = max(state.dist.gather(signals.received()))
        if is_regular(step) or step in (last, checkpointer.best.get("step")) or asked:
            with state.stopwatch.watch("checkpoint"):
                checkpointer.save(step, keep, is_regular)
        state.stopwatch.write(step)
        watch(step, 0.0)
        if asked:
            raise signals.stopped(asked, f"step {step} of {checkpointer.folder.name}")

    loop.train(config, state, done + 1, finished, last)


def _assist(
    config: RunConfig, folder: Path, artifacts: Artifacts, dist: DistContext, take_turns: Callable[[RunConfig], bool]
) -> None:
    """This process's part in a training under rank 0; writes nothing but artifacts."""
    with Grader() as grader:
        loaded_agents = build_agents(config, make_swapper(config, dist, take_turns))
        state, _ = build_trainer(config, loaded_agents, artifacts, grader, Stopwatch(Path(os.devnull)), dist)
        done = dist.from_rank0(0)
        if done:
            load_agents(state, folder / CHECKPOINTS / step_folder(done))

        def finished(step: int, steps: list[StepRecord], dialogues: list[DialogueRecord]) -> None:
            asked = max(dist.gather(signals.received()))
            if asked:
                raise signals.stopped(asked, f"step {step} of {folder.name}")

        loop.train(config, state, done + 1, finished)
    if dist.others_wait:
        dist.wait_rank0()


def _evaluate(
    config: RunConfig,
    folder: Path,
    state: loop.TrainerState,
    ability: Sequence[float],
    loaded_agents: Sequence[LoadedAgent],
    artifacts: Artifacts,
    watch: Callable[[float], None],
) -> None:
    """Every agent alone, or all of them together where the configuration names a method for that."""
    if config.inference.method != "none":
        with state.stopwatch.watch("evaluation"):
            run_joint_inference(state.agents, ability, config, folder, state.grader, watch)
        return
    settings = config.evaluation
    for index, loaded_agent in enumerate(loaded_agents):
        agent = loaded_agent.agent
        seed, target = derive_seed(config.seed, "evaluation", agent.name), folder / "eval" / agent.name
        with state.stopwatch.watch("evaluation"):
            if config.training.steps:
                evaluate(agent, settings.benchmarks, settings, target, seed, state.grader)
            else:
                runs = [
                    CachedBenchmarkRun(name, loaded_agent, settings, artifacts, seed, state.grader)
                    for name in expand(settings.benchmarks)
                ]
                run_benchmarks(runs, agent, target, seed)
        watch((index + 1) / len(loaded_agents))


def _result(
    config: RunConfig, key: str, inputs: str, folder: Path, state: loop.TrainerState, measured: InitialEstimates
) -> TrialResult:
    spent = dict.fromkeys(config.agents, 0)
    if config.training.steps:
        for record in read(folder / "train.jsonl", StepRecord):
            spent[record.agent] += record.sampled_tokens
    gamma = np.array(measured.ability)
    cooperation_rates = cooperates(gamma[:, None], state.difficulty[None, :]).mean(axis=1)
    ranked = {
        "valid_rankings": [ranking.valid for ranking in measured.rankings],
        "invalid_rankings": [ranking.invalid for ranking in measured.rankings],
    }
    return TrialResult(
        hash=key,
        variant=config.variant,
        profile=config.profile,
        models=config.models,
        agents=config.agents,
        seed=config.seed,
        steps=config.training.steps,
        sampled_tokens=spent,
        cooperation_share=dict(zip(config.agents, map(float, cooperation_rates), strict=True)),
        ability=dict(zip(config.agents, measured.ability, strict=True)),
        difficulty={
            "mean": float(state.difficulty.mean()),
            "standard_deviation": float(state.difficulty.std()),
        }
        | (ranked if config.difficulty.source == "self_ranking" else {}),
        artifacts=measured.artifacts,
        versions=versions(),
        subjects={one.name: one.subject for one in map(get, expand(config.evaluation.benchmarks))},
        inputs=inputs,
    )
