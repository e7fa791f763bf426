"""One joint step, beside stock TRL trainers that do the same work and beside an agent that works alone.

The step is the real one (`ilr.select`, `discuss`, `calibrate`, `update`) with models of random weights. Two things are
unlike a real run: answers never end early, so that everybody samples the same number of tokens; and advantages are
drawn at random, so that no turn may be left out of the update.

An agent that works alone hears as many peers as in the joint step, but their turns cost nothing: words at random. What
its step costs, times the number of agents, is what the agents would cost apart, with the context growth counted in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.clock import now, side_by_side
from bench.limits import Group, Limits, sampling_bytes, sampling_operations, update_operations
from bench.rows import Row, comparison
from bench.shapes import PAD, SIZES, make_model, make_tokenizer
from bench.step import REST, MemoryWatch
from ilr_bench import ilr
from ilr_bench.agent import Agent, Prompt
from ilr_bench.config import IDEA3_STAGES, RunConfig, change
from ilr_bench.costs.architecture import Architecture
from ilr_bench.costs.memory import activations
from ilr_bench.generation.base import Completion, Request
from ilr_bench.generation.transformers_engine import TransformersEngine
from ilr_bench.grading import Grader
from ilr_bench.outcomes import Discussion, Lesson
from ilr_bench.policy_update import PolicyUpdater
from ilr_bench.profiles import profile
from ilr_bench.prompts import STYLES
from ilr_bench.questions.base import Question

QUESTION_WORDS = 24
"""With what the style adds, a prompt of 36 tokens."""
TRL_BATCH = 5 * 2**30
"""Bytes that a batch of TRL's may keep for the way back; a larger one is taken in halves, as its users would."""


@dataclass(frozen=True)
class Cell:
    """What one joint step is asked to do."""

    sizes: tuple[str, ...]
    """Each agent's model, see `bench.shapes`."""
    samples: int = 8
    new_tokens: int = 48
    questions: int = 16
    repeats: int = 2
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Sizes, agents, samples, length, questions."""
        models = self.sizes[0] if len(set(self.sizes)) == 1 else " and ".join(self.sizes)
        agents = f"{len(self.sizes)} agent{'s' if len(self.sizes) > 1 else ''}"
        return f"{models}, {agents}, {self.questions} questions x {self.samples}, {self.new_tokens} tokens"


class Peer(Agent):
    """An agent whose turns cost nothing: the same random words every time."""

    words: str

    def render(self, text: str) -> Prompt:
        """Nobody reads it."""
        return Prompt((PAD,), 0)

    def decode(self, token_ids: Sequence[int]) -> str:
        """See the class."""
        return self.words


class Silence:
    """The engine of a `Peer`."""

    name = "transformers"

    def sample(self, request: Request) -> list[list[Completion]]:
        """Turns without a token."""
        nothing = Completion((), np.zeros(0, dtype=np.float32), True)
        return [[nothing] * count for count in request.samples]

    def rest(self) -> None:
        """See `Engine.rest`."""


@dataclass
class Joint:
    """A joint step that can be taken again and again."""

    cell: Cell
    room: ilr.Classroom
    config: RunConfig
    watch: MemoryWatch
    step: int = 0
    talk: Discussion | None = field(default=None)

    def take(self) -> None:
        """The step, optimizer steps included."""
        self.step += 1
        table, places = ilr.select(self.config, self.room, self.step)
        talk = ilr.discuss(self.config, self.room, table, places)
        lessons = ilr.calibrate(self.config, talk)
        taught = {stage: [self._taught(lesson) for lesson in by_agent] for stage, by_agent in lessons.items()}
        ilr.update(self.config, self.room, talk, taught, [[] for _ in table.agents], self.step)
        self.talk = talk

    def _taught(self, lesson: Lesson) -> Lesson:
        rng = np.random.default_rng(self.step)
        return replace(lesson, advantages=rng.normal(size=lesson.advantages.shape))


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


def joint_step(cell: Cell, grader: Grader, watch: MemoryWatch, alone: bool = False) -> Joint:
    """`alone`: the first agent's part, its peers being silent."""
    config = configuration(cell)
    rng = np.random.default_rng(0)

    def words(count: int) -> str:
        return " ".join(f"w{number}" for number in rng.integers(3, SIZES[cell.sizes[0]].vocabulary, size=count))

    questions = [Question(f"q{place}", words(QUESTION_WORDS), "3") for place in range(cell.questions)]
    agents: list[Agent] = []
    updaters = []
    style = STYLES.get("chat")
    for place, (name, size) in enumerate(zip(config.agents, cell.sizes, strict=True)):
        if alone and place:
            peer = Peer(name, None, None, style, Silence(), 0)
            peer.words = words(cell.new_tokens)
            agents.append(peer)
            continue
        model, tokenizer = make_model(size, place, cell.device), make_tokenizer(size)
        engine = TransformersEngine(model, (), PAD, tokenizer.decode)
        agents.append(Agent(name, model, tokenizer, style, engine, config.sampling.max_prompt_tokens))
        updaters.append(PolicyUpdater(model, name, config.update, config.training.steps, cell.new_tokens, 1.0))
    count = len(agents)
    room = ilr.Classroom(
        agents, updaters, questions, (), np.full(cell.questions, 0.5), np.full(count, 0.5), grader, watch
    )
    return Joint(cell, room, config, watch)


def measure(cell: Cell, limits: Limits, rival: bool = True) -> list[Row]:
    """Stages of the step, the step against TRL's trainers (`rival`), and against agents apart."""
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        watch = MemoryWatch(Path(folder, "timing.jsonl"), cell.device)
        ours = joint_step(cell, grader, watch)
        ours.take()
        peaks = dict(watch.peaks)
        watch.clear()
        start = now(cell.device)
        ours.take()
        found = stage_rows(ours, watch, limits, now(cell.device) - start, peaks)
        calls: list[Any] = [ours.take]
        if len(cell.sizes) > 1:
            calls.append(joint_step(cell, grader, watch, alone=True).take)
        trainers = stock_trainers(ours) if rival else []
        if rival:
            calls.append(lambda: [trainer.step() for trainer in trainers])
        # The first turn of each counts as well where nothing is faster: a step may take half a minute.
        seconds = side_by_side(*calls, repeats=cell.repeats, device=cell.device, warm=False)
        if len(cell.sizes) > 1:
            apart = len(cell.sizes) * seconds[1]
            found.append(comparison(f"{cell.name}: against agents apart", seconds[0], apart) | {"group": "agents"})
        if rival:
            tokens = sum(row.get("tokens", 0) for row in found if row["what"].split(": ")[1] in IDEA3_STAGES)
            row = comparison(f"{cell.name}: against stock TRL", seconds[0], seconds[-1], tokens)
            found.append(row | {"group": "peers"})
    return found


def stock_trainers(ours: Joint) -> list[Any]:
    """A trainer for each agent, with a model of its own and the prompts that the agent was given last."""
    # TRL takes seconds to import, and not every measurement needs it.
    from bench.trl_step import StockTrainer, make_trainer

    cell, talk = ours.cell, ours.talk
    if talk is None:
        raise ValueError("take a step first: the trainers get its prompts")
    trainers = []
    for place, size in enumerate(cell.sizes):
        model, tokenizer = make_model(size, place, cell.device), make_tokenizer(size)
        prompts = [[group[0].prompt.ids for group in talk.turns[stage][place]] for stage in IDEA3_STAGES]
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
    """Bytes that a padded forward pass keeps for the way back: activations, and logits of the answers."""
    return rows * (longest * shape.layers * activations(shape, 4, False) + answer * shape.vocabulary * 12)


def stage_rows(ours: Joint, watch: MemoryWatch, limits: Limits, total: float, peaks: dict[str, int]) -> list[Row]:
    """Seconds, tokens, memory and distance from the limit of each stage of the last step, and what is left over."""
    cell, talk = ours.cell, ours.talk
    assert talk is not None
    found: list[Row] = []
    taken = watch.taken()
    for stage, (seconds, tokens) in taken.items():
        row: Row = {"group": "stages", "what": f"{cell.name}: {stage}", "ours": seconds, "share": seconds / total}
        row["memory"] = peaks.get(stage, 0)
        if tokens:
            row |= {"tokens": tokens, "tokens_per_second": tokens / seconds}
        work, read = asked(cell, talk, stage)
        if work:
            row["compute"] = work / seconds / limits.operations
        if read:
            row["bandwidth"] = read / seconds / limits.bandwidth
        found.append(row)
    rest = total - sum(seconds for seconds, _ in taken.values())
    found.append({"group": "stages", "what": f"{cell.name}: {REST}", "ours": rest})
    found[-1]["share"] = rest / total
    found.append({"group": "stages", "what": f"{cell.name}: whole step", "ours": total, "memory": max(peaks.values())})
    return found


def asked(cell: Cell, talk: Discussion, stage: str) -> tuple[float, float]:
    """Operations and bytes that a stage of the step cannot do without, over all agents."""
    work = read = 0.0
    for place, size in enumerate(cell.sizes):
        shape = SIZES[size]
        groups = {
            name: [
                Group(len(group[0].prompt.ids), tuple(len(turn.completion.token_ids) for turn in group))
                for group in turns[place]
            ]
            for name, turns in talk.turns.items()
        }
        if stage == "update":
            work += update_operations(shape, [*groups["sharing"], *groups["fusion"]])
        elif stage in IDEA3_STAGES:
            work += sampling_operations(shape, groups[stage])
            read += sampling_bytes(shape, groups[stage])
    return work, read
