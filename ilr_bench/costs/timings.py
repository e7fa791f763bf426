"""What a short timing run finds out, and where it is kept: lengths of turns and computing seconds on this machine.

Three kinds of runs, each a configuration reduced to what decides its lengths and seconds, so that trials share them:
a model alone (ranking, held-out questions, benchmarks), a training step of a group of models, and a group that answers
benchmarks together.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ilr_bench.config import (
    IDEA3_STAGES,
    AdvantageSettings,
    DiscussionSettings,
    RunConfig,
    TrainingSettings,
    UpdateSettings,
    content_hash,
    to_dict,
)
from ilr_bench.errors import MissingInputError
from ilr_bench.files import write_atomic
from ilr_bench.identity import determinants
from ilr_bench.machine import machine
from ilr_bench.models.base import MODELS, cache_folder

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""As workers run: the seconds are those of one core."""
UNTIMED: Mapping[str, Any] = {
    name: getattr(UpdateSettings, name) for name in ("learning_rate", "warmup_steps", "weight_decay")
}
"""Settings of the update that neither lengths nor seconds follow from: a grid over them is timed once."""
Kind = Literal["model", "step", "together"]


@dataclass(frozen=True)
class Request:
    """One timing run."""

    kind: Kind
    config: RunConfig

    @property
    def key(self) -> str:
        """Content hash of all that decides what it finds: settings, models, code, libraries and machine."""
        made = [_fingerprint(model) for model in self.config.models if model in MODELS]
        data = {"kind": self.kind, "config": to_dict(self.config), "models": made, "files": self._files()}
        return content_hash(data | _here())

    def _files(self) -> list[list[Any]]:
        """Of models in folders: their files' names, sizes and times, which are read in no time."""
        folders = [Path(model).expanduser() for model in self.config.models]
        paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
        return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


@dataclass(frozen=True)
class Said:
    """Turns of one kind, by one agent."""

    tokens: float
    """Mean completion."""
    prompt: int
    """Longest prompt seen."""
    mean_prompt: float
    seconds: float
    """Computing seconds per turn; over all agents of a group, in a training step."""


@dataclass(frozen=True)
class Timing:
    """What one run found."""

    said: tuple[Mapping[str, Said], ...]
    """By agent: `ranking`, `ability`, `evaluation/NAME`, or the stages of a step, or `together/NAME` (of all agents
    together, per question)."""
    seconds: Mapping[str, float]
    """`start` per process (imports), `load` per trial, `update` and `grading` per turn, `checkpoint` per save."""
    base: int
    """Bytes of the process before it held a model."""


Timings = Mapping[str, Timing]
"""By the key of the request."""


def model_request(config: RunConfig, place: int) -> Request:
    """The agent at `place` alone."""
    alone = _bare(config)
    return Request("model", replace(alone, models=(config.models[place],), prompt_style=config.styles[place]))


def step_request(config: RunConfig) -> Request:
    """A training step, whatever the rule that chooses modes: both kinds of prompts are about as long."""
    steers = config.critic.kind != "none" or config.pooling.kind != "none"
    discusses = config.discussion.stages == IDEA3_STAGES
    return Request(
        "step",
        replace(
            _bare(config),
            prompt_style=config.prompt_style,
            models=config.models,
            discussion=config.discussion,
            interaction=replace(
                _bare(config).interaction,
                rule="coin" if discusses else "irt",
                cooperation_ratio=0.5 if discusses else None,
            ),
            advantages=config.advantages if steers else AdvantageSettings(),
            pooling=config.pooling,
            critic=config.critic,
            update=replace(config.update, **UNTIMED),
            sampling=replace(config.sampling, samples_per_agent=None, match_tokens_of=None),
            training=TrainingSettings(questions_per_step=config.training.questions_per_step),
            evaluation=type(config.evaluation)(),
        ),
    )


def together_request(config: RunConfig) -> Request:
    """A group's answers to benchmarks, reached together."""
    return Request(
        "together",
        replace(
            _bare(config),
            prompt_style=config.prompt_style,
            models=config.models,
            inference=config.inference,
            interaction=config.interaction,
        ),
    )


def requests(config: RunConfig) -> list[Request]:
    """All runs that a trial's costs follow from."""
    runs = [model_request(config, place) for place in range(len(config.models))]
    if config.training.steps:
        runs.append(step_request(config))
    if config.inference.method != "none":
        runs.append(together_request(config))
    return runs


def known(wanted: Sequence[Request]) -> dict[str, Timing]:
    """Those that were measured before on this machine, with this code."""
    found = {}
    for request in wanted:
        try:
            found[request.key] = from_json((_folder() / f"{request.key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):  # not measured, or torn: it is measured again
            continue
    return found


def measure(wanted: Sequence[Request]) -> dict[str, Timing]:
    """All of them; what was not measured before runs in one process of its own, in a few seconds per request.

    Raises MissingInputError where it fails, with its last words.
    """
    missing = {request.key: request for request in wanted if request.key not in known(wanted)}
    if missing:
        with tempfile.TemporaryDirectory() as place:
            asked = Path(place) / "requests.json"
            asked.write_text(json.dumps([[one.kind, to_dict(one.config)] for one in missing.values()]))
            command = [sys.executable, "-m", "ilr_bench.costs.timing_run", str(asked), place]
            ended = subprocess.run(command, env=os.environ | THREADS, capture_output=True, text=True, check=False)
            if ended.returncode:
                words = (ended.stderr.strip().splitlines() or ["no message"])[-1]
                raise MissingInputError(f"the timing run failed: {words}; --quick plans without one")
            for number, key in enumerate(missing):
                keep(key, from_json((Path(place) / f"{number}.json").read_text(encoding="utf-8")))
    return known(wanted)


def measure_here(request: Request) -> None:
    """Makes one timing run in this process and keeps it; for the worker of a sweep, which has its libraries loaded."""
    from ilr_bench.costs.timing_run import run
    from ilr_bench.grading import Grader

    with Grader() as grader:
        keep(request.key, run(request, grader))


def keep(key: str, timing: Timing) -> None:
    """Puts a timing into the user's cache; raises StoreError where that cannot be written."""
    _folder().mkdir(parents=True, exist_ok=True)
    write_atomic(_folder() / f"{key}.json", to_json(timing))


def to_json(timing: Timing) -> str:
    """Plain JSON; `from_json` is the inverse."""
    return json.dumps(dataclasses.asdict(timing), indent=1) + "\n"


def from_json(text: str) -> Timing:
    """The inverse of `to_json`; raises ValueError, KeyError or TypeError on anything else."""
    data = json.loads(text)
    said = tuple({kind: Said(**one) for kind, one in agent.items()} for agent in data["said"])
    return Timing(said, data["seconds"], data["base"])


@cache
def _fingerprint(model: str) -> str:
    return MODELS.get(model).fingerprint()


@cache
def _here() -> dict[str, Any]:
    return {"versions": determinants(), "machine": machine()}


def _bare(config: RunConfig) -> RunConfig:
    """Nothing but what a model alone does."""
    return RunConfig(
        profile="timing",
        variant="timing",
        models=(),
        pool=(),
        questions=config.questions,
        difficulty=config.difficulty,
        discussion=DiscussionSettings(stages=("sharing",), trained_turns="sharing"),
        reward=config.reward,
        sampling=replace(config.sampling, samples=1, samples_per_agent=None, match_tokens_of=None),
        warm_start=config.warm_start,
        training=TrainingSettings(steps=0),
        evaluation=config.evaluation,
    )


def _folder() -> Path:
    return cache_folder() / "timings"
