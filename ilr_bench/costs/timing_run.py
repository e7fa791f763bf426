"""`python -m ilr_bench.costs.timing_run REQUESTS FOLDER`: measures what `timings.measure` asks for, in this process.

Everything goes through the functions that trials go through, on questions spread evenly over the training set: a
step's own few questions are up to a tenth longer or shorter than the mean of all.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ilr_bench import ilr
from ilr_bench.agent import Agent
from ilr_bench.benchmarks.base import expand, get
from ilr_bench.benchmarks.evaluation import BenchmarkExam, run_exams
from ilr_bench.config import RunConfig, Stage, from_dict
from ilr_bench.costs.counts import exams, trained_turns
from ilr_bench.costs.timings import Request, Said, Timing, to_json
from ilr_bench.difficulty import ranking_batches
from ilr_bench.files import write_atomic
from ilr_bench.generation.base import Request as SamplingRequest
from ilr_bench.generation.base import SamplingOptions
from ilr_bench.grading import Grader
from ilr_bench.idea3 import Table, Turns
from ilr_bench.inference import infer
from ilr_bench.interaction import cooperation
from ilr_bench.lineup import Seat, make_updaters, seat_agents
from ilr_bench.measurements import SEED
from ilr_bench.prompts import solo_forms
from ilr_bench.questions import SOURCES
from ilr_bench.records import JOINT, InferenceRecord, SampleRecord, read
from ilr_bench.timing import Stopwatch, stage_seconds
from ilr_bench.training_state import TrainingState


@dataclass(frozen=True)
class Effort:
    """How much is sampled to learn lengths and seconds."""

    prompts: int
    """Rankings, and held-out questions."""
    rows: int
    """Questions of each benchmark."""
    spread: int
    """Questions of one discussion that is held for its lengths alone; 0: the timed steps have to do."""
    steps: int
    """Training steps: all but the last warm up."""


TINY = Effort(prompts=100, rows=60, spread=128, steps=2)
REAL = Effort(prompts=8, rows=8, spread=0, steps=1)
_LARGE = 10_000_000
"""Weights from which a model's turns cost seconds."""
Item = TypeVar("Item")


def run(request: Request, grader: Grader) -> Timing:
    """Does what a request asks for; raises what a trial would raise."""
    before = _clock()
    seats = seat_agents(request.config)
    load = _clock() - before
    effort = REAL if sum(_weights(seat) for seat in seats) > _LARGE else TINY
    measured = {"model": _model, "step": _step, "together": _together}[request.kind](
        request.config, seats, effort, grader
    )
    return replace(measured, seconds={"load": load, **measured.seconds})


def _model(config: RunConfig, seats: Sequence[Seat], effort: Effort, grader: Grader) -> Timing:
    agent = seats[0].agent
    training, held_out = SOURCES.get(config.questions.source).load(config.questions.train, config.questions.validation)
    solve = [agent.style.solve(question.text) for question in _spread(held_out, effort.prompts)]
    long = config.sampling.max_new_tokens
    said = {"ability": _sample(agent, solve, 1, config, long, 0.0)}
    if config.difficulty.source == "solve_rate":
        asked = [agent.style.solve(question.text) for question in _spread(training, effort.prompts)]
        said["ranking"] = _sample(agent, asked, config.difficulty.samples, config, long, config.sampling.temperature)
    else:
        batches = _spread(ranking_batches(len(training), config.difficulty, SEED), effort.prompts)
        asked = [agent.style.rank([training[int(place)].text for place in batch]) for batch in batches]
        said["ranking"] = _sample(agent, asked, 1, config, config.sampling.max_ranking_tokens, 0.0)
    if config.inference.method == "none":
        said |= _exams(agent, config, effort, grader)
    return Timing((said,), {}, 0)


def _sample(agent: Agent, texts: list[str], samples: int, config: RunConfig, limit: int, temperature: float) -> Said:
    options = SamplingOptions(limit, temperature, config.sampling.rows_per_call, agent.style.stop_strings())
    prompts = [agent.render(text).ids for text in texts]
    agent.engine.sample(SamplingRequest(prompts[:2], [1] * len(prompts[:2]), options, 0))  # warms up
    before = _clock()
    turns = agent.engine.sample(SamplingRequest(prompts, [samples] * len(prompts), options, 0))
    seconds = _clock() - before
    return _said([len(turn.token_ids) for group in turns for turn in group], [len(ids) for ids in prompts], seconds)


def _exams(agent: Agent, config: RunConfig, effort: Effort, grader: Grader) -> dict[str, Said]:
    limit = effort.rows if config.evaluation.limit is None else min(effort.rows, config.evaluation.limit)
    settings = replace(config.evaluation, limit=limit)
    names = expand(config.evaluation.benchmarks)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        warm = replace(settings, limit=1)
        run_exams([BenchmarkExam(get(name), agent, warm, 0, grader) for name in names[:1]], agent, folder / "warm", 0)
        watch = Stopwatch(folder / "timing.jsonl")
        run_exams(
            [BenchmarkExam(get(name), agent, settings, 0, grader) for name in names], agent, folder, 0, False, watch
        )
        seconds = _spent(folder / "timing.jsonl")
        records = {name: list(read(folder / f"{name}.jsonl", SampleRecord)) for name in names}
    found = {}
    for name in names:
        benchmark = get(name)
        forms = solo_forms(agent.style)
        prompts = [len(agent.render(forms.solve_as(row.question, benchmark.kind)).ids) for row in benchmark.load()]
        found[f"evaluation/{name}"] = _said([record.tokens for record in records[name]], prompts, seconds[name])
    return found


def _step(config: RunConfig, seats: Sequence[Seat], effort: Effort, grader: Grader) -> Timing:
    questions, held_out = SOURCES.get(config.questions.source).load(config.questions.train, config.questions.validation)
    agents = [seat.agent for seat in seats]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "timing.jsonl"
        room = ilr.Classroom(
            agents=agents,
            updaters=make_updaters(seats, config),
            questions=questions,
            validation=held_out,
            difficulty=np.full(len(questions), 0.5),
            ability=np.full(len(agents), 0.5),
            grader=grader,
            stopwatch=Stopwatch(path),
        )
        heard: list[Mapping[Stage, Turns]] = []
        if effort.spread:
            # One answer to each question: as many rows as a step has, of many more questions.
            single = replace(
                config, sampling=replace(config.sampling, samples=config.discussion.dialogues_per_question)
            )
            heard.append(ilr.discuss(single, room, *_table(single, room, effort.spread, 0)).turns)
        for step in range(1, effort.steps + 1):
            path.unlink(missing_ok=True)
            room.stopwatch = Stopwatch(path)
            talk = ilr.discuss(config, room, *_table(config, room, config.training.questions_per_step, step))
            lessons, borrowed = ilr.pool(config, talk, ilr.calibrate(config, talk))
            ilr.update(config, room, talk, lessons, borrowed, step)
            heard.append(talk.turns)
        with room.stopwatch.watch("checkpoint"):
            TrainingState(Path(place), room, {}).save(1, 1, lambda step: True)
        room.stopwatch.write(1)
        spent = _spent(path)
    spoken = {stage: sum(len(group) for by_agent in turns for group in by_agent) for stage, turns in heard[-1].items()}
    known = heard[:1] if effort.spread else heard
    said: tuple[dict[str, Said], ...] = tuple(
        {str(stage): _stage(heard, known, stage, agent, spent[stage] / spoken[stage]) for stage in heard[-1]}
        for agent in range(len(agents))
    )
    trained = sum(trained_turns(config, config.samples_of(agent)) for agent in range(len(agents)))
    graded = sum(count for stage, count in spoken.items() if stage != "analysis")
    seconds = {
        "update": spent["update"] / trained,
        "grading": spent["grading"] / graded,
        "checkpoint": spent["checkpoint"],
    }
    return Timing(said, seconds, 0)


def _table(config: RunConfig, room: ilr.Classroom, count: int, step: int) -> tuple[Table, NDArray[np.int64]]:
    """Questions spread evenly over the training set, other ones in each step, and everybody's modes."""
    count = min(count, len(room.questions))
    places = np.array(_places(len(room.questions), count, step * count))
    shares = np.full(len(room.agents), 0.5)
    modes = cooperation(config.interaction, room.ability, room.difficulty[places], shares, np.random.default_rng(step))
    asked = [room.questions[place] for place in places.tolist()]
    return Table(room.agents, asked, modes, config.sampling, step, config.discussion.hears), places


def _stage(
    heard: Sequence[Mapping[Stage, Turns]],
    known: Sequence[Mapping[Stage, Turns]],
    stage: Stage,
    agent: int,
    seconds: float,
) -> Said:
    """Lengths from what was said in `known`, prompts from all of it."""
    tokens = [len(turn.completion.token_ids) for turns in known for group in turns[stage][agent] for turn in group]
    prompts = [len(turn.prompt.ids) for turns in heard for group in turns[stage][agent] for turn in group]
    return Said(float(np.mean(tokens)), max(prompts), float(np.mean(prompts)), seconds)


def _together(config: RunConfig, seats: Sequence[Seat], effort: Effort, grader: Grader) -> Timing:
    agents, found = [seat.agent for seat in seats], {}
    for benchmark, rows in exams(config):
        asked = min(effort.rows, rows)
        small = replace(config, evaluation=replace(config.evaluation, limit=asked, benchmarks=(benchmark.name,)))
        with tempfile.TemporaryDirectory() as place:
            before = _clock()
            infer(agents, [0.5] * len(agents), small, Path(place), grader)
            seconds = _clock() - before
            records = read(Path(place) / "inference.jsonl", InferenceRecord)
            tokens = [record.tokens for record in records if record.agent == JOINT]
        found[f"together/{benchmark.name}"] = Said(float(np.mean(tokens)), 0, 0.0, seconds / asked)
    return Timing((found,), {}, 0)


def _said(tokens: Sequence[int], prompts: Sequence[int], seconds: float) -> Said:
    return Said(float(np.mean(tokens)), max(prompts), float(np.mean(prompts)), seconds / len(tokens))


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, evenly."""
    return [items[place] for place in _places(len(items), min(count, len(items)), 0)]


def _places(total: int, count: int, first: int) -> list[int]:
    """`count` places out of `total`, spread evenly; other ones where `first` is a multiple of `count`.

    Steps of the golden section: sources deal out their families of questions in turn, and a stride that shares a
    factor with their number would meet some of them only.
    """
    stride = max(1, round(total * 0.618))
    while math.gcd(stride, total) > 1:
        stride += 1
    return [(first + place) * stride % total for place in range(count)]


def _clock() -> float:
    """Computing seconds; on a GPU those on the clock, since the processor only waits there."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def _spent(path: Path) -> dict[str, float]:
    return stage_seconds([path], "seconds" if torch.cuda.is_available() else "cpu")


def _weights(seat: Seat) -> int:
    return sum(weights.numel() for weights in seat.agent.model.parameters())


def _resident() -> int:
    """Bytes of this process now; 0 where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"^VmRSS:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def main(asked: Path, folder: Path) -> None:
    """Runs every request in the file, and writes `0.json`, `1.json`, ... into the folder."""
    # What evaluation imports first of all belongs to the process, not to the first answer.
    import ilr_bench.benchmarks.harness  # noqa: F401

    start, base = time.process_time(), _resident()
    with Grader() as grader:
        for number, (kind, data) in enumerate(json.loads(asked.read_text(encoding="utf-8"))):
            timing = run(Request(kind, from_dict(data)), grader)
            timing = replace(timing, seconds={"start": start, **timing.seconds}, base=base)
            write_atomic(folder / f"{number}.json", to_json(timing))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
