"""One joint step, beside stock TRL trainers that do the same work and beside an agent that works alone.

The step is the real one (`loop.select`, `generate_rollouts`, `calibrate`, `update`) with random weights. Two things are
unlike a real run: answers never end early, so that every agent samples the same number of tokens; and advantages are
drawn at random, so that no turn may be left out of the update.

An agent that works alone reads as many peers as in the joint step, but their turns cost nothing: words at random. What
its step costs, times the number of agents, is what the agents would cost apart, with the context growth counted in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.clock import MemoryWatch, fastest
from bench.limits import Group, Limits, limits_of, sampling_bytes, sampling_operations, update_operations
from bench.parts import Cell
from bench.results import BenchRow, comparison
from bench.shapes import PAD, SIZES, make_model, make_tokenizer
from ilr_bench.core.config import IDEA3_STAGES, RunConfig, change
from ilr_bench.core.profiles import profile
from ilr_bench.generation.agent import Agent, Prompt
from ilr_bench.generation.engine import Completion, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.grading.math import Grader
from ilr_bench.learner.grpo import GRPOLearner
from ilr_bench.method import loop
from ilr_bench.method.advantages import AdvantageBatch
from ilr_bench.method.rewards import Rollouts
from ilr_bench.prompts import STYLES
from ilr_bench.study.cost.fits import available_memory
from ilr_bench.study.cost.memory import Architecture, activations
from ilr_bench.tasks.types import Question

QUESTION_WORDS = 24
"""With what the style adds, a prompt of 36 tokens."""
TRL_BATCH = 5 * 2**30
"""Bytes that a batch of TRL's may keep for the backward pass; a larger one is halved, as its users would."""


class Peer(Agent):
    """An agent whose turns cost nothing: the same random words every time."""

    words: str

    def render(self, text: str) -> Prompt:
        """No engine reads it."""
        return Prompt((PAD,), 0)

    def decode(self, token_ids: Sequence[int]) -> str:
        """See the class."""
        return self.words


class SilentEngine:
    """The engine of a `Peer`."""

    name = "transformers"

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        """Turns without a token."""
        nothing = Completion((), np.zeros(0, dtype=np.float32), True)
        return [[nothing] * count for count in request.samples]

    def release(self) -> None:
        """See `Engine.release`."""


@dataclass
class JointStep:
    """A joint step that can be taken again and again."""

    cell: Cell
    state: loop.TrainerState
    config: RunConfig
    watch: MemoryWatch
    step: int = 0
    rollouts: Rollouts = field(init=False)
    """Of the last step; absent before the first one."""

    def take(self) -> None:
        """The step, optimizer steps included."""
        self.step += 1
        batch, indices = loop.select(self.config, self.state, self.step)
        rollouts = loop.generate_rollouts(self.config, self.state, batch, indices)
        advantage_batches = loop.calibrate(self.config, rollouts)
        samples = {
            stage: [self._with_random_advantages(advantage_batch) for advantage_batch in by_agent]
            for stage, by_agent in advantage_batches.items()
        }
        loop.update(self.config, self.state, rollouts, samples, [[] for _ in batch.agents], self.step)
        self.rollouts = rollouts

    def _with_random_advantages(self, advantage_batch: AdvantageBatch) -> AdvantageBatch:
        rng = np.random.default_rng(self.step)
        return replace(advantage_batch, advantages=rng.normal(size=advantage_batch.advantages.shape))


def configuration(cell: Cell) -> RunConfig:
    """The micro profile's method with prompts in full sentences; one agent reflects on its own idea."""
    changes: dict[str, Any] = {
        "models": list(cell.sizes),
        "prompt_style": "chat",
        "sampling.samples": cell.samples,
        "sampling.max_new_tokens": cell.new_tokens,
        "sampling.max_analysis_tokens": cell.new_tokens,
        "sampling.max_prompt_tokens": 4096,
        "training.questions_per_step": cell.questions,
        "training.steps": 1000,
        "update.precision": "fp32" if cell.device == "cpu" else "bf16",
    }
    if len(cell.sizes) == 1:
        changes |= {"discussion.hears": "itself", "calibration.kind": "none"}
    return change(profile("micro"), changes)


def joint_step(cell: Cell, grader: Grader, watch: MemoryWatch, alone: bool = False) -> JointStep:
    """`alone`: the first agent's part, its peers being silent."""
    config = configuration(cell)
    rng = np.random.default_rng(0)

    def words(count: int) -> str:
        return " ".join(f"w{number}" for number in rng.integers(3, SIZES[cell.sizes[0]].vocabulary, size=count))

    questions = [Question(f"q{index}", words(QUESTION_WORDS), "3") for index in range(cell.questions)]
    agents: list[Agent] = []
    learners = []
    style = STYLES.get("chat")
    for index, (name, size) in enumerate(zip(config.agents, cell.sizes, strict=True)):
        if alone and index:
            peer = Peer(name, None, None, style, SilentEngine(), 0)
            peer.words = words(cell.new_tokens)
            agents.append(peer)
            continue
        model, tokenizer = make_model(size, index, cell.device), make_tokenizer(size)
        engine = TransformersEngine(model, (), PAD, tokenizer.decode)
        agents.append(Agent(name, model, tokenizer, style, engine, config.sampling.max_prompt_tokens))
        learners.append(GRPOLearner(model, name, config.update, config.training.steps, cell.new_tokens, 1.0))
    count = len(agents)
    state = loop.TrainerState(
        agents, learners, questions, (), np.full(cell.questions, 0.5), np.full(count, 0.5), grader, watch
    )
    return JointStep(cell, state, config, watch)


def time_joint_step(cell: Cell, limits: Limits | None = None, with_trl: bool = True) -> list[BenchRow]:
    """Stages of the step, the step against agents apart, and against TRL's trainers (`with_trl`) where it fits."""
    against = f"{cell.name}: against stock TRL"
    if cell.device == "cpu" and cell.memory > (free := available_memory()):
        lacking = f"not run: needs about {cell.memory / 2**30:.0f} GiB of {free / 2**30:.0f} free"
        return [{"group": "peers", "what": against, "note": lacking}]
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        watch = MemoryWatch(Path(folder, "timing.jsonl"), cell.device)
        ours = joint_step(cell, grader, watch)
        ours.take()
        watch.clear()
        start = watch.clock()
        ours.take()
        found = watch.rows("stages", cell.name, watch.clock() - start)
        add_distances(found, ours, limits or limits_of(cell.device))
        calls: list[Any] = [ours.take]
        if len(cell.sizes) > 1:
            calls.append(joint_step(cell, grader, watch, alone=True).take)
        if with_trl:
            trainers = stock_trainers(ours)
            calls.append(lambda: [trainer.step() for trainer in trainers])
        # The first turn of each counts as well where nothing is faster: a step may take half a minute.
        seconds = fastest(*calls, repeats=cell.repeats, warm=False, clock=watch.clock)
        if len(cell.sizes) > 1:
            apart = len(cell.sizes) * seconds[1]
            found.append(comparison("agents", f"{cell.name}: against agents apart", seconds[0], apart))
        if with_trl:
            tokens = sum(row.get("tokens", 0) for row in found if stage_of(row) in IDEA3_STAGES)
            found.append(comparison("peers", against, seconds[0], seconds[-1], tokens))
    return found


def stock_trainers(ours: JointStep) -> list[Any]:
    """A trainer for each agent, with a model of its own and the prompts that the agent was given last."""
    # TRL takes seconds to import, and not every measurement needs it.
    from bench.stock_trl import StockTrainer, make_trainer

    cell, rollouts = ours.cell, ours.rollouts
    trainers = []
    for index, size in enumerate(cell.sizes):
        model, tokenizer = make_model(size, index, cell.device), make_tokenizer(size)
        prompts = [[group[0].prompt.ids for group in rollouts.turns[stage][index]] for stage in IDEA3_STAGES]
        longest = max(len(prompt) for prompt in prompts[-1]) + cell.new_tokens
        rows, whole = cell.questions * cell.samples, cell.questions * cell.samples
        while rows % 2 == 0 and cell.device == "cpu" and kept(SIZES[size], rows, longest, cell.new_tokens) > TRL_BATCH:
            rows //= 2
        trainer = make_trainer(
            model, tokenizer, rows, cell.samples, cell.new_tokens, whole // rows, half=cell.device != "cpu"
        )
        trainers.append(StockTrainer(trainer, tokenizer, *prompts))
    return trainers


def kept(shape: Architecture, rows: int, longest: int, answer: int) -> int:
    """Bytes that a padded forward pass keeps for the backward pass: activations, and logits of the answers."""
    return rows * (longest * shape.layers * activations(shape, 4, False) + answer * shape.vocabulary * 12)


def add_distances(rows: Sequence[BenchRow], ours: JointStep, limits: Limits) -> None:
    """Adds to each stage of the last step which part of the machine's limits it used."""
    for row in rows:
        work, read = asked(ours, stage_of(row))
        if work:
            row["compute"] = work / row["ours"] / limits.operations
        if read:
            row["bandwidth"] = read / row["ours"] / limits.bandwidth


def stage_of(row: BenchRow) -> str:
    """The end of its name."""
    return row["what"].rpartition(": ")[2]


def asked(ours: JointStep, stage: str) -> tuple[float, float]:
    """Operations and bytes that a stage of the step cannot do without, over all agents."""
    work = read = 0.0
    for index, size in enumerate(ours.cell.sizes):
        shape = SIZES[size]
        groups = {
            name: [
                Group(len(group[0].prompt.ids), tuple(len(turn.completion.token_ids) for turn in group))
                for group in turns[index]
            ]
            for name, turns in ours.rollouts.turns.items()
        }
        if stage == "update":
            work += update_operations(shape, [*groups["sharing"], *groups["fusion"]])
        elif stage in IDEA3_STAGES:
            work += sampling_operations(shape, groups[stage])
            read += sampling_bytes(shape, groups[stage])
    return work, read
