"""How long turns are and how many seconds they take, read from the `timing.jsonl` and the records of earlier trials.

Where there is no earlier trial of the same kind, a short one is run for the plan: a few ordinary steps. What is read
from it is kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from ilr_bench.core.config import (
    AdvantageSettings,
    CalibrationSettings,
    InteractionSettings,
    RewardSettings,
    RunConfig,
    TrainingSettings,
    UpdateSettings,
    content_hash,
    from_dict,
    to_dict,
)
from ilr_bench.core.console import say
from ilr_bench.core.errors import IlrError, MissingInputError, StoreError
from ilr_bench.core.hardware import gpu_memory, machine
from ilr_bench.core.validation import is_built_in
from ilr_bench.models.catalogue import MODELS
from ilr_bench.storage.files import cache_folder, parse_json, read_json, write_atomic
from ilr_bench.storage.provenance import numeric_versions, same_numbers, versions
from ilr_bench.storage.records import JOINT, InferenceRecord, SampleRecord, read, read_config, read_result
from ilr_bench.study.cost.counts import ability_turns, ranking_turns, rounds, units_of_step
from ilr_bench.study.cost.memory import LengthsByKind, LengthStats, architectures
from ilr_bench.study.launch.local import THREADS
from ilr_bench.study.plan import PlannedTrial

UPDATE = ("learning_rate", "warmup_steps", "weight_decay")
"""Settings of the update that neither lengths nor seconds follow from: a grid over them is timed once."""


@dataclass(frozen=True)
class Timing:
    """What trials of one kind are like."""

    tokens: Mapping[str, float] = field(default_factory=dict)
    """Mean tokens of a turn over all agents, by kind (see `counts.Load`)."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage, per sampled token, `measurement` among them; of `update` and `grading` per turn, of `checkpoint` per
    save, of `loading` per trial. Computing seconds; where there is a GPU, those on the clock."""
    prompts: Mapping[str, int] = field(default_factory=dict)
    """Tokens of the longest prompt by kind; empty where nothing was trained."""

    @property
    def lengths(self) -> LengthsByKind:
        """What memory follows from."""
        return {kind: LengthStats(prompt, self.tokens[kind]) for kind, prompt in self.prompts.items()}


@dataclass(frozen=True)
class TimingBudget:
    """How much of a trial is run at most to learn lengths and seconds: steps, and questions of each kind."""

    steps: int
    train: int
    validation: int
    rows: int
    """Of each benchmark."""


TINY, REAL = TimingBudget(4, 512, 200, 60), TimingBudget(1, 32, 8, 8)
TINY_WEIGHTS = 10_000_000
"""From here on a model's turns take seconds."""


def short(config: RunConfig) -> RunConfig:
    """The trial that is run for a plan; the same for all that differ in nothing that decides lengths or seconds."""
    shapes = architectures(config.models)
    budget = REAL if shapes is None or any(shape.parameters >= TINY_WEIGHTS for shape in shapes) else TINY
    steps, questions, limit = min(config.training.steps, budget.steps), config.questions, config.evaluation.limit
    train, validation = min(questions.train, budget.train), min(questions.validation, budget.validation)
    steers = config.critic.kind != "none" or config.pooling.kind != "none"
    return replace(
        config,
        profile="timing",
        variant="timing",
        pool=(),
        seed=0,
        questions=replace(questions, train=train, validation=validation),
        difficulty=replace(config.difficulty, shuffles=1),
        # Prompts of both modes are about as long.
        interaction=InteractionSettings(rule="coin", cooperation_ratio=0.5),
        calibration=CalibrationSettings(),
        # A reward from outside may cost money, or hours, and decides no length.
        reward=config.reward if is_built_in(config, "reward.kind") else RewardSettings(),
        advantages=config.advantages if steers else AdvantageSettings(),
        sampling=replace(config.sampling, samples_per_agent=None, match_tokens_of=None),
        update=replace(config.update, **{name: getattr(UpdateSettings, name) for name in UPDATE}),
        training=TrainingSettings(steps, config.training.questions_per_step, validate_every=steps),
        evaluation=replace(config.evaluation, limit=budget.rows if limit is None else min(limit, budget.rows)),
    )


def timing_key(config: RunConfig) -> str:
    """Content hash of all that decides a timing: the short trial, its models, code, libraries and machine."""
    models = [_model_key(model) for model in config.models]
    return content_hash({"config": to_dict(short(config)), "models": models} | _environment())


def known(trials: Sequence[PlannedTrial], studies: Iterable[Path] = ()) -> dict[str, Timing]:
    """Trial hash -> its timing: of a finished trial of the same kind in `studies`, else of a short one.

    No trial counts for its own plan, which is held against what happens.
    """
    own = {trial.hash for trial in trials}
    earlier: dict[str, Timing] = {}
    folders = [path.parent for study in studies for path in sorted(study.glob("trials/*/result.json"))]
    current = versions() if folders else {}
    for folder in folders:
        with suppress(IlrError, OSError, ValueError, KeyError, TypeError):  # torn, or of another version
            if (result := read_result(folder)).hash not in own and same_numbers(result.versions, current):
                config = read_config(folder)
                if any(line.get("machine") == machine() for line in _lines(folder)):
                    earlier[timing_key(config)] = read_timing(folder, folder.parents[1] / "artifacts", config)
    keys = {trial.hash: timing_key(trial.config) for trial in trials}
    found = {timing_key(trial.config): cached(trial.config) for trial in trials} | earlier
    return {trial: timing for trial, key in keys.items() if (timing := found[key]) is not None}


def unknown(trials: Sequence[PlannedTrial], studies: Iterable[Path] = ()) -> list[RunConfig]:
    """One configuration for each short trial that has to be run for a plan."""
    there = known(trials, studies)
    missing = {timing_key(trial.config): trial.config for trial in trials if trial.hash not in there}
    return list(missing.values())


def run_timings(configs: Sequence[RunConfig]) -> None:
    """Runs short trials in another process, and says on stderr which; raises MissingInputError where it fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "ilr_bench.study.cost.timings"],
        input=json.dumps([to_dict(config) for config in configs]),
        env=os.environ | THREADS,  # as workers run: the seconds are those of one core
        stdout=2,  # what a plan itself prints on stdout may be JSON
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        message = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingInputError(f"the timing run failed: {message}; --quick plans without one")


def run_timing_here(config: RunConfig) -> None:
    """Runs the short trial of a configuration in this process, and keeps its timing."""
    # What evaluation imports first of all belongs to the process, not to the first answer.
    from ilr_bench.storage.store import Artifacts
    from ilr_bench.study.trial import run_trial

    asked = short(config)
    with tempfile.TemporaryDirectory() as temporary:
        folder, artifacts = Path(temporary) / "trial", Path(temporary) / "artifacts"
        run_trial(asked, "timing", folder, Artifacts(artifacts))
        keep(config, read_timing(folder, artifacts, asked))


def cached(config: RunConfig) -> Timing | None:
    """The timing of a short trial; None where there was none, or its file is torn."""
    try:
        return Timing(**read_json(_path(config), ""))
    except (StoreError, TypeError):
        return None


def keep(config: RunConfig, timing: Timing) -> None:
    """Puts a timing into the user's cache; raises OSError where that cannot be written."""
    path = _path(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(asdict(timing), indent=1) + "\n")


def read_timing(folder: Path, artifacts: Path, config: RunConfig) -> Timing:
    """The timing of a finished trial; `artifacts`: the folder with those of its study, `config` with its own samples.

    Raises StoreError, OSError, ValueError or KeyError where it cannot be read.
    """
    spent, sampled, times, prompts = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    clock = "seconds" if gpu_memory() else "cpu"
    for line in _lines(folder):
        stage, step = line["stage"], line["step"]
        if step == 1 < config.training.steps:  # a process is slow in its first step
            continue
        if step == 0:  # until then it loads models and measures them
            stage = "loading" if stage == "models" else "measurement"
        spent[stage] += line[clock]
        sampled[stage] += line.get("tokens", 0)
        times[stage] += 1
        prompts[stage] = max(prompts[stage], line.get("longest_prompt", 0))
    spent["measurement"] -= spent["loading"]
    measured, answers, agents = _measured_tokens(folder, artifacts), _answer_tokens(folder, config), len(config.models)
    per_step = units_of_step(config, [config.samples_of(agent) for agent in range(agents)])
    turns = {"ranking": agents * ranking_turns(config).count, "ability": agents * ability_turns(config).count}
    tokens = {kind: count / turns[kind] for kind, count in measured.items()}
    tokens |= {kind: fmean(counts) for kind, counts in answers.items()}
    stages = config.discussion.labels
    tokens |= {stage: sampled[stage] / (times[stage] * per_step[stage]) for stage in stages if times[stage]}
    units: dict[str, float] = {stage: times[stage] * count for stage, count in per_step.items()}
    units |= {stage: sampled[stage] for stage in stages} | {
        "loading": 1,
        "checkpoint": times["checkpoint"],
        "measurement": sum(measured.values()),
        "validation": times["validation"] * measured["ability"],
        "evaluation": sum(sum(counts) for counts in answers.values()),
    }
    seconds = {stage: spent[stage] / count for stage, count in units.items() if count and stage in spent}
    seen: dict[str, int] = {stage: prompts[stage] for stage in stages if prompts[stage]}
    if alone := prompts["sharing"]:  # an agent that answers alone gets the same prompt
        several = config.difficulty.batch_size if config.difficulty.source == "self_ranking" else 1
        seen |= {"ability": alone, "ranking": min(several * alone, config.sampling.max_prompt_tokens)}
    return Timing(tokens, seconds, seen)


def _measured_tokens(folder: Path, artifacts: Path) -> dict[str, int]:
    """Of all agents' rankings and held-out answers, as the artifacts state them."""
    found = Counter[str]()
    for name, key in read_result(folder).artifacts.items():
        kind = name.split("/")[0]
        data = read_json(artifacts / key / f"{kind}.json", "")
        found["ability" if kind == "ability" else "ranking"] += data["sampled_tokens"]
    return found


def _answer_tokens(folder: Path, config: RunConfig) -> dict[str, list[float]]:
    """Of every turn that answers a benchmark, by its kind."""
    found: dict[str, list[float]] = defaultdict(list)
    if turns := rounds(config) * len(config.models):
        for joint in read(folder / "inference.jsonl", InferenceRecord):
            if joint.agent == JOINT:
                found[f"together/{joint.benchmark}"] += [joint.tokens / turns] * turns
    else:
        for path in folder.glob("eval/*/*.jsonl"):
            found[f"evaluation/{path.stem}"] += [answer.tokens for answer in read(path, SampleRecord)]
    return found


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [parse_json(line) for line in (folder / "timing.jsonl").read_bytes().splitlines()]


def _path(config: RunConfig) -> Path:
    return cache_folder() / "timings" / f"{timing_key(config)}.json"


def _model_key(model: str) -> Any:
    """What tells a model from another one; of one in a folder its files' names, sizes and times."""
    if model in MODELS:
        return _fingerprint(model)
    folder = Path(model).expanduser()
    paths = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
    return [model, *([path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths)]


@cache
def _fingerprint(model: str) -> str:
    return MODELS.get(model).fingerprint()


@cache
def _environment() -> dict[str, Any]:
    return {"versions": numeric_versions(), "machine": machine()}


def _run_all(configs: Sequence[RunConfig]) -> None:
    """Runs short trials, and says before each what it does."""
    for number, config in enumerate(configs, start=1):
        for model in config.models:
            if model in MODELS and not MODELS.get(model).folder().exists():
                say(f"preparing model {model}, once for all studies (a micro model takes a minute or two)")
                MODELS.get(model).prepare()
        trial = short(config)
        say(
            f"timing run {number} of {len(configs)}: {', '.join(config.models)}, {trial.training.steps} steps, "
            f"{trial.evaluation.limit} questions of each benchmark"
        )
        run_timing_here(config)


if __name__ == "__main__":
    _run_all([from_dict(data) for data in json.load(sys.stdin)])
