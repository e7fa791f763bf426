"""A study's folder as tidy tables: one row per answer, per agent and step, per agent and trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ilr_bench.core.config import LABELS, RunConfig, to_dict
from ilr_bench.core.errors import StoreError
from ilr_bench.core.plugins import labelled
from ilr_bench.storage.files import parse_json
from ilr_bench.storage.provenance import read_inputs
from ilr_bench.storage.records import (
    DialogueRecord,
    InferenceRecord,
    SampleRecord,
    StepRecord,
    Study,
    TrialEntry,
    TrialResult,
    Verdict,
    read,
    read_config,
    read_result,
    read_study,
)
from ilr_bench.storage.store import require_finalized

INFERENCE = "inference.jsonl"
KEYS = ("variant", "models", "agent", "seed")
"""What names a row of every frame: the variant, the group as `A+B`, the agent in it, the training seed."""

SAMPLE_COLUMNS = (
    "benchmark", "question", "sample", "completion", "correct", "verdict", "tokens", "file", "prompt_hash",
    "sampling_seed", "cut", "answer", "gold",
)  # fmt: skip
"""`correct` is 0 or 1, `tokens` those sampled for the answer, `file` its records, relative to the study, `cut` whether
the token limit ended it, `answer` what was found in the completion (None: nothing)."""


@dataclass(frozen=True)
class StudyFrames:
    """The records of the finished trials of a study; models are named as in `short_names`."""

    folder: Path
    """Of the study."""
    study: Study
    trials: pd.DataFrame
    """KEYS, model, hash, folder, steps, sampled_tokens, rule_cooperation (a fraction or NaN), ability."""
    steps: pd.DataFrame
    """KEYS and the fields of StepRecord; empty where nothing was trained."""
    samples: pd.DataFrame
    """KEYS and SAMPLE_COLUMNS: answers of agents alone."""
    inference: pd.DataFrame
    """KEYS, SAMPLE_COLUMNS and rounds: answers that untrained agents reached together; all of a group's agents
    together are the agent `joint`."""
    configs: Mapping[str, RunConfig]
    """Trial folder -> resolved configuration."""
    results: Mapping[str, TrialResult]
    """Trial folder -> what the trial recorded about itself."""
    subjects: Mapping[str, str]
    """Benchmark -> `maths`, `code` or `general`, where the trials state it."""
    unfinished: tuple[str, ...]
    """Trials that were asked for and have no result yet, or one that other versions of the study's inputs made."""


def load(folder: Path) -> StudyFrames:
    """Everything that reports read; raises StoreError for no study, nothing finished, or a damaged trial."""
    study, names = _with_names(read_study(folder))
    trials: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    inference: list[dict[str, Any]] = []
    configs: dict[str, RunConfig] = {}
    results: dict[str, TrialResult] = {}
    unfinished = []
    for entry in study.trials:
        place = folder / entry.folder
        name = f"{entry.variant}, {'+'.join(entry.models)}, seed {entry.seed}"
        if not (place / "result.json").exists():
            unfinished.append(name)
            continue
        require_finalized(place, entry.hash)
        config, result = read_config(place), read_result(place)
        other = other_versions(folder, study, result)
        if other:
            unfinished.append(f"{name} (made with another version of {', '.join(other[:3])})")
            continue
        configs[entry.folder] = dataclasses.replace(config, models=_named(config.models, names))
        results[entry.folder] = dataclasses.replace(result, models=_named(result.models, names))
        trials += _trial_rows(result, entry, config.agents)
        steps += _step_rows(place, entry)
        if (place / INFERENCE).exists():
            inference += _inference_rows(place, entry)
        elif configs[entry.folder].evaluation.benchmarks:  # a search asks none
            samples += _sample_rows(place, entry)
    if not trials:
        raise StoreError(f"{folder}: no trial of this study has finished; run the sweep's command again")
    fields = [field.name for field in dataclasses.fields(StepRecord)]
    step_columns = [*KEYS, *(name for name in fields if name not in KEYS)]
    return StudyFrames(
        folder=folder,
        study=study,
        trials=pd.DataFrame(trials),
        steps=pd.DataFrame(steps, columns=step_columns),
        samples=pd.DataFrame(samples, columns=[*KEYS, *SAMPLE_COLUMNS]),
        inference=pd.DataFrame(inference, columns=[*KEYS, *SAMPLE_COLUMNS, "rounds"]),
        configs=configs,
        results=results,
        subjects={name: subject for result in results.values() for name, subject in result.subjects.items()},
        unfinished=tuple(unfinished),
    )


def narrowed(frames: StudyFrames, entries: Iterable[TrialEntry]) -> StudyFrames:
    """What a study holds of some of its trials."""
    names = {(entry.variant, entry.hash): entry for entry in entries}
    kept = tuple(entry for entry in frames.study.trials if (entry.variant, entry.hash) in names)
    keys = {(entry.variant, "+".join(entry.models), entry.seed) for entry in kept}

    def of_these(frame: pd.DataFrame) -> pd.DataFrame:
        rows = zip(frame["variant"], frame["models"], frame["seed"], strict=True)
        return frame[[row in keys for row in rows]]

    return dataclasses.replace(
        frames, study=dataclasses.replace(frames.study, trials=kept), trials=of_these(frames.trials),
        steps=of_these(frames.steps), samples=of_these(frames.samples), inference=of_these(frames.inference),
        unfinished=(),
    )  # fmt: skip


def other_versions(folder: Path, study: Study, result: TrialResult) -> list[str]:
    """Names of a trial's inputs that are not in the version which the study's last command found."""
    noted = read_inputs(folder / "artifacts", result.inputs) if study.inputs else None
    digests = {} if noted is None else noted.digests
    return [name for name, found in digests.items() if study.inputs.get(name, [found])[0] != found]


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Name or path -> its last part, or as many as it takes to tell it from the others."""
    parts = {path: tuple(part for part in path.split("/") if part not in ("", ".")) for path in paths}
    found = {}
    for path, mine in parts.items():
        others = [other for name, other in parts.items() if name != path]
        ends = (n for n in range(1, len(mine) + 1) if all(other[-n:] != mine[-n:] for other in others))
        # What is the end of another one stands whole, what is written in two ways as it is written.
        found[path] = path if not mine or mine in others else "/".join(mine[-next(ends, len(mine)) :])
    return found


def _with_names(study: Study) -> tuple[Study, dict[str, str]]:
    """The study with models, which may be paths, under short names; and the names."""
    names = short_names(model for entry in study.trials for model in entry.models)
    entries = tuple(dataclasses.replace(entry, models=_named(entry.models, names)) for entry in study.trials)
    command = study.command
    for path in sorted(names, key=len, reverse=True):
        command = command.replace(path, names[path]) if path != names[path] else command
    return dataclasses.replace(study, command=command, trials=entries), names


def _named(models: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(model, model) for model in models)


def _keys(entry: TrialEntry, agent: str) -> dict[str, Any]:
    return {"variant": entry.variant, "models": "+".join(entry.models), "agent": agent, "seed": entry.seed}


def _trial_rows(result: TrialResult, entry: TrialEntry, agents: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {
            **_keys(entry, agent), "model": model, "hash": entry.hash, "folder": entry.folder, "steps": result.steps,
            "sampled_tokens": result.sampled_tokens.get(agent, 0),
            "rule_cooperation": result.cooperation_share.get(agent), "ability": result.ability.get(agent),
        }
        for agent, model in zip(agents, entry.models, strict=True)
    ]  # fmt: skip


def _step_rows(folder: Path, entry: TrialEntry) -> list[dict[str, Any]]:
    path = folder / "train.jsonl"
    if not path.exists():
        return []
    return [{**dataclasses.asdict(record), **_keys(entry, record.agent)} for record in read(path, StepRecord)]


def _sample_rows(folder: Path, entry: TrialEntry) -> list[dict[str, Any]]:
    rows = []
    for agent in entry.agents:
        paths = sorted((folder / "eval" / agent).glob("*.jsonl"))
        if not paths:
            raise StoreError(f"{folder / 'eval' / agent}: no answers; delete {entry.folder} to run the trial again")
        for path in paths:
            file = f"{entry.folder}/eval/{agent}/{path.name}"
            rows += [_answer(_keys(entry, agent), record, record.sample, file) for record in read(path, SampleRecord)]
    return rows


def _inference_rows(folder: Path, entry: TrialEntry) -> list[dict[str, Any]]:
    file = f"{entry.folder}/{INFERENCE}"
    return [
        {**_answer(_keys(entry, record.agent), record, 0, file), "rounds": record.rounds}
        for record in read(folder / INFERENCE, InferenceRecord)
    ]


def _answer(keys: dict[str, Any], record: SampleRecord | InferenceRecord, sample: int, file: str) -> dict[str, Any]:
    return {
        **keys, "benchmark": record.benchmark, "question": record.question_id, "sample": sample,
        "completion": record.completion, "correct": float(record.verdict is Verdict.CORRECT),
        "verdict": record.verdict.value, "tokens": record.tokens, "file": file, "prompt_hash": record.prompt_hash,
        "sampling_seed": record.seed, "cut": not getattr(record, "finished", True),
        "answer": record.answer, "gold": record.gold,
    }  # fmt: skip


DIALOGUE_COLUMNS = (
    "step", "question", "text", "gold", "difficulty", "dialogue", "stage", "mode", "turn", "verdict", "reward",
    "calibrated_reward", "advantage",
)  # fmt: skip
"""`question` is its id and `text` what it asks, `turn` what the agent wrote."""


def dialogue_turns(frames: StudyFrames) -> pd.DataFrame:
    """KEYS and DIALOGUE_COLUMNS: every turn that was sampled while training. Raises StoreError."""
    rows = [
        {
            **_keys(entry, turn.agent), "step": record.step, "question": record.question_id, "text": record.question,
            "gold": record.gold, "difficulty": record.difficulty, "dialogue": record.dialogue, "stage": turn.stage,
            "mode": turn.mode, "turn": turn.text, "verdict": turn.verdict, "reward": turn.reward,
            "calibrated_reward": turn.calibrated_reward, "advantage": turn.advantage,
        }
        for entry in frames.study.trials
        if entry.folder in frames.configs and (path := frames.folder / entry.folder / "dialogues.jsonl").exists()
        for record in read(path, DialogueRecord)
        for turn in record.turns
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*KEYS, *DIALOGUE_COLUMNS])


def total_times(trial: Path) -> list[dict[str, Any]] | None:
    """The lines of a trial's timings that are about whole processes; None where nothing was noted."""
    path = trial / "timing.jsonl"
    if not path.exists():
        return None
    try:
        lines = [parse_json(line) for line in path.read_bytes().splitlines()]
        return [line | {"seconds": float(line["seconds"])} for line in lines if line["stage"] == "total"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a file of timings ({error}); delete it to go on without") from error


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Dotted keys to values, without what only names a run: profile, variant, pool, the seed, and where files lie."""
    return {key: value for key, value in _flat(labelled(to_dict(config))) if key not in (*LABELS, "seed")}


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
