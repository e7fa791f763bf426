"""What a study consists of: named trials, what they depend on, and in which order they can run.

Nothing here loads a model; a plan is made in the time it takes to read a command line.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ilr_bench import ablations
from ilr_bench.core.config import RunConfig, change, to_dict
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.plugins import file_references, is_reference, label_of, model_source
from ilr_bench.core.profiles import MODEL_GROUPS, profile
from ilr_bench.core.registry import Mechanisms, forget_references
from ilr_bench.core.settings import Options
from ilr_bench.core.validation import validate
from ilr_bench.models.catalogue import MODELS
from ilr_bench.prompts import STYLES
from ilr_bench.storage.provenance import trial_hash
from ilr_bench.storage.records import TrialEntry
from ilr_bench.study.own_data import by_name, check_file_names, check_language, label, located
from ilr_bench.study.spec import as_text, joined
from ilr_bench.tasks.benchmarks import expand
from ilr_bench.tasks.files import question_source

LOOKED_UP: Mapping[str, Callable[[str], object]] = {"questions.source": question_source}
"""Settings that are names -> what finds their entries."""
Pair = tuple[RunConfig, RunConfig | None]
"""A trial's configuration, and that of the trial whose tokens it matches."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial that has to be run, whatever number of names it has."""

    config: RunConfig
    hash: str
    dependency: str | None
    """Hash of the trial whose sampled tokens this one matches."""

    @property
    def folder(self) -> str:
        """Relative to the study's folder."""
        config = self.config
        return f"trials/{config.variant}-{'+'.join(map(_plain, config.agents))}-{config.seed}-{self.hash}"


@dataclass(frozen=True)
class Plan:
    """The trials to run in an order that respects dependencies, and the names they answer for."""

    trials: tuple[PlannedTrial, ...]
    entries: tuple[TrialEntry, ...]

    def by_hash(self, key: str) -> PlannedTrial:
        """The trial with a hash."""
        return next(trial for trial in self.trials if trial.hash == key)


def plan_study(
    profile_name: str,
    variants: Sequence[str],
    model_groups: Sequence[tuple[str, ...]] = (),
    seeds: Sequence[int] = (0,),
    overrides: Mapping[str, Sequence[Any]] | None = None,
    with_untrained: bool = False,
) -> Plan:
    """Variants x groups of models x seeds x overrides of a profile.

    A group may be the name of one of the paper's, such as `group1`. A variant that matches another one's tokens
    brings that one along, and `with_untrained` every one that trains its models as they are before that. Trials that
    compute the same are run once, under the first name given. Raises ConfigurationError before anything runs.
    """

    def make(bare: RunConfig, extra: Mapping[str, Any]) -> list[Pair]:
        made = {name: ablations.get(name)(bare) for name in variants}
        _check_taken(extra, bare, made)
        matched = {name: config.sampling.match_tokens_of for name, config in made.items()}
        return [(made[name], None if other is None else ablations.get(other)(bare)) for name, other in matched.items()]

    return _planned(profile(profile_name), make, model_groups, seeds, overrides or {}, with_untrained)


def plan_again(
    config: RunConfig,
    matched: RunConfig | None,
    model_groups: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    overrides: Mapping[str, Sequence[Any]],
    with_untrained: bool = False,
) -> Plan:
    """A whole configuration as it stands, but for models, seeds and overrides; without groups, with its own models.

    `matched`: that of the trial whose tokens it matches, changed alike. `with_untrained`, and what it raises: see
    `plan_study`.
    """
    if (matched is None) != (config.sampling.match_tokens_of is None):
        raise ConfigurationError(
            f"sampling.match_tokens_of: the whole configuration of {config.sampling.match_tokens_of or 'no trial'} is "
            "needed beside it; name the trial's config.json within its study, or a file that `ilr-bench config` printed"
        )

    def make(bare: RunConfig, extra: Mapping[str, Any]) -> list[Pair]:
        alike = None if matched is None else change(replace(matched, models=bare.models, seed=bare.seed), extra)
        return [(validate(bare), None if alike is None else validate(alike))]

    return _planned(config, make, model_groups, seeds, overrides, with_untrained)


def _planned(
    start: RunConfig,
    make: Callable[[RunConfig, Mapping[str, Any]], list[Pair]],
    model_groups: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    grid: Mapping[str, Sequence[Any]],
    with_untrained: bool,
) -> Plan:
    forget_references()
    trials: dict[str, PlannedTrial] = {}
    entries: list[TrialEntry] = []
    asked: list[RunConfig] = []
    groups = [MODEL_GROUPS.get(",".join(group), group) for group in model_groups] or [start.models]
    for group, seed, extra in itertools.product(groups, seeds, _grid(grid)):
        suffix = "".join(
            f" {key}={label(key, as_text(key, value))}" for key, value in extra.items() if len(grid[key]) > 1
        )
        bare = located(change(replace(start, models=group, seed=seed), served(extra)))
        asked.append(bare)
        for config, matched in make(bare, extra):
            if with_untrained and _answers_after_training(config):
                _enter(_untrained(bare, config), None, suffix, trials, entries)
            if matched is not None:
                _enter(matched, None, suffix, trials, entries)
            _enter(config, None if matched is None else hash_of(matched), suffix, trials, entries)
    if not trials:
        raise ConfigurationError("nothing to run: name at least one variant, one group of models and one seed")
    check_file_names(asked)  # not of the trials: those of two files with one name would be one
    for trial in trials.values():
        _check_names(trial.config)
    check_language(trial.config for trial in trials.values())
    _check_labels([trial.config for trial in trials.values()])
    ordered = sorted(trials.values(), key=lambda trial: (trial.dependency is not None, -_size(trial.config)))
    return Plan(tuple(ordered), tuple(entries))


def served(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings with LoRA where a server is to train, unless they say otherwise: it trains nothing else."""
    if settings.get("sampling.engine") != "tinker" or "update.adapter" in settings:
        return settings
    note("sampling.engine=tinker: servers train LoRA adapters, so update.adapter=lora")
    return {**settings, "update.adapter": "lora"}


def _answers_after_training(config: RunConfig) -> bool:
    return bool(config.training.steps and config.evaluation.benchmarks) and config.inference.method == "none"


def _untrained(bare: RunConfig, trained: RunConfig) -> RunConfig:
    """A variant's models before training, asked what they are asked afterwards."""
    alike = replace(
        bare, models=trained.models, prompt_style=trained.prompt_style, thought_marks=trained.thought_marks,
        evaluation=trained.evaluation, sampling=replace(bare.sampling, match_tokens_of=None),
    )  # fmt: skip
    if bare.interaction.rule != "coin":  # a ratio that the variant takes for its coin
        alike = change(alike, {"interaction.cooperation_ratio": None})
    return ablations.get("base")(alike)


def _check_taken(extra: Mapping[str, Any], bare: RunConfig, made: Mapping[str, RunConfig]) -> None:
    for key in extra:
        wanted = setting(bare, key)
        if all(setting(config, key) != wanted for config in made.values()):
            raise ConfigurationError(f"--set {key}: fixed by {', '.join(made)}; choose a variant that leaves it free")


def _check_names(config: RunConfig) -> None:
    """Finds what a trial would look up by name, some of it hours later only."""
    expand(config.evaluation.benchmarks)
    for key, find in LOOKED_UP.items():
        try:
            find(setting(config, key))
        except ConfigurationError as error:
            raise ConfigurationError(f"{key}: {error}") from error
    for style in config.styles:
        STYLES.get(style)
    for model in map(model_source, config.models):
        elsewhere = ("/" in model and not is_reference(model)) or model.endswith(".gguf") or Path(model).is_dir()
        if not elsewhere:
            MODELS.get(model)
    check_mechanisms(config)


def _mechanisms() -> tuple[Mechanisms[Any], ...]:
    # Bring numpy, which `--help` has no use for.
    from ilr_bench.method.advantages import ESTIMATORS
    from ilr_bench.method.calibration import CALIBRATIONS
    from ilr_bench.method.interaction import RULES
    from ilr_bench.method.rewards import REWARDS

    return CALIBRATIONS, REWARDS, RULES, ESTIMATORS


def check_mechanisms(config: RunConfig) -> None:
    """Raises ConfigurationError for what is unknown, cannot be loaded, or has settings that do not fit."""
    from ilr_bench.method.stages import remark_stages

    for registry in _mechanisms():
        registry.of(config)
    remark_stages(config)


def outside_modules(config: RunConfig) -> dict[str, str]:
    """`reward mine.py:shorter` -> module, for every mechanism of a configuration that is not this project's own."""
    from ilr_bench.method.stages import STAGES

    named = [(registry, registry.name_in(config)) for registry in _mechanisms()]
    found = {
        f"{registry.kind} {label_of(name)}": registry.plugin(name)
        for registry, name in [*named, *((STAGES, stage) for stage in config.discussion.stages)]
    }
    return {name: module for name, module in found.items() if module is not None}


def _check_labels(configs: Sequence[RunConfig]) -> None:
    """Raises ConfigurationError where files of one name define things of one name: nothing would tell them apart."""
    known: dict[str, str] = {}
    for reference in (name for config in configs for name in file_references(to_dict(config))):
        if known.setdefault(label_of(reference), reference) != reference:
            raise ConfigurationError(
                f"{known[label_of(reference)]} and {reference} are both called {label_of(reference)}; rename one"
            )


def _enter(
    config: RunConfig,
    dependency: str | None,
    suffix: str,
    trials: dict[str, PlannedTrial],
    entries: list[TrialEntry],
) -> None:
    key = hash_of(config, dependency)
    trial = trials.setdefault(key, PlannedTrial(config, key, dependency))
    entry = TrialEntry(config.variant + suffix, config.models, config.agents, config.seed, key, trial.folder)
    if entry not in entries:
        entries.append(entry)


def hash_of(config: RunConfig, dependency: str | None = None) -> str:
    """Hash of a trial; `dependency`: that of the trial whose tokens it matches."""
    fingerprints = [MODELS.get(model).fingerprint() for model in config.models if model in MODELS]
    return trial_hash(by_name(config), dependency, fingerprints)


def _grid(overrides: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(overrides, values, strict=True)) for values in itertools.product(*overrides.values())]


def _size(config: RunConfig) -> float:
    """Rough relative length of a trial, to start the longest ones first."""
    stages = 1.0 if len(config.discussion.stages) == 1 else 2.5
    return len(config.models) * (config.training.steps * stages + 1)


def _plain(model: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in model)


def setting(config: RunConfig, key: str) -> Any:
    """The value behind a dotted key; None for an option that is not set."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Options) else getattr(value, name)
    return value


def parse_overrides(settings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`KEY=V1,V2` texts to values by key, values with commas in double quotes.

    Raises ConfigurationError on another form, and for what is given twice.
    """
    overrides: dict[str, tuple[str, ...]] = {}
    for text in settings:
        key, equals, listed = (part.strip() for part in text.partition("="))
        if not equals or not key or not listed:
            raise ConfigurationError(f"--set {text}: write KEY=VALUE or KEY=V1,V2, such as training.steps=10,20")
        values = tuple(value.strip() for value in next(csv.reader([listed], skipinitialspace=True)))
        if key in overrides:
            both = joined(key, list(dict.fromkeys((*overrides[key], *values))))
            raise ConfigurationError(f"--set {key} is given twice; write {key}={both}")
        for value in values:
            if not value:
                raise ConfigurationError(f"--set {text}: an empty value")
            if values.count(value) > 1:
                raise ConfigurationError(f"--set {text}: {value} is given twice")
        overrides[key] = values
    return overrides
