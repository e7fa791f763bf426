"""Points of a search as trials: one training per seed, valued on validation questions and on no benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

import ablations
from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.study.plan import PlannedTrial, plan_study, setting
from ilr_bench.study.search.space import Space

PROBES = 32
"""Random points of a space that are tried on paper before the first one is trained."""
FORBIDDEN = {
    "evaluation": "a search runs no benchmark, so that none that is reported can be chosen for",
    "questions": "other questions would make the points' accuracies incomparable",
    "training.validate_every": "points are compared where all of them are validated",
    "profile": "choose it by --profile", "seed": "name the seeds by --seeds: a point's value is the mean over them",
    "pool": "set it by --set",
}  # fmt: skip
"""Settings, or groups of them, that no space may hold, and why."""


@dataclass(frozen=True)
class TrialPlanner:
    """Makes trials of a point's settings."""

    profile: str
    variant: str | None
    """Of every point; None where the space chooses it."""
    models: tuple[str, ...]
    """Empty: the profile's."""
    seeds: tuple[int, ...]
    fixed: Mapping[str, str]
    """Settings of every point."""
    start: RunConfig
    """The profile with the fixed settings."""

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """The trials of a point, one per seed, and those whose sampled tokens they match.

        Raises ConfigurationError for settings that are unknown, contradict each other, or that the variant fixes.
        """
        chosen = dict(settings)
        variant = chosen.pop("variant", self.variant)
        if not isinstance(variant, str):
            raise ConfigurationError("no variant: declare the dimension `variant`, or name one by --variants")
        _check_free(variant, change(self.start, chosen), chosen)
        overrides = {**self.fixed, **chosen, "evaluation.benchmarks": ()}
        groups = [self.models] if self.models else []
        plans = [
            plan_study(self.profile, [variant], groups, [seed], {key: (value,) for key, value in overrides.items()})
            for seed in self.seeds
        ]
        trials = tuple(plan.by_hash(plan.entries[-1].hash) for plan in plans)
        needed = tuple(
            plan.by_hash(trial.dependency)
            for plan, trial in zip(plans, trials, strict=True)
            if trial.dependency is not None
        )
        return trials, needed


def check_space(space: Space, planner: TrialPlanner) -> None:
    """Raises ConfigurationError for a space with a point that cannot be trained, as far as random points show it."""
    one_seed = replace(planner, seeds=planner.seeds[:1])
    probes = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(PROBES):
        settings = suggested(space, probes.ask())
        for key in settings:
            reason = FORBIDDEN.get(key) or FORBIDDEN.get(key.split(".")[0])
            if reason is not None:
                raise ConfigurationError(f"--search {space.name}: {key} may not be searched: {reason}")
            if key in planner.fixed or (key == "variant" and planner.variant is not None):
                option = "--variants" if key == "variant" else "--set"
                raise ConfigurationError(f"--search {space.name}: {key} is searched; leave it out of {option}")
        try:
            trials, _ = one_seed.plan(settings)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"--search {space.name}: {printed(settings)} is no possible point: {error}; narrow the space, or ask "
                'for a setting only where it counts, by when = {variant = "..."}'
            ) from error
        config = trials[0].config
        if config.questions != planner.start.questions:
            raise ConfigurationError(
                f"--search {space.name}: the variant {config.variant} is trained and validated on other questions, "
                "which would make the points' accuracies incomparable; search it by itself"
            )
        if config.training.steps and not config.training.validate_every:
            raise ConfigurationError("training.validate_every: 0 leaves nothing to compare points by; set it above 0")


def suggested(space: Space, trial: optuna.Trial) -> dict[str, Any]:
    """One point's settings; raises ConfigurationError where the space's function asks for the impossible."""
    try:
        settings = space.suggest(trial)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"--search {space.name}: {error}") from error
    if not isinstance(settings, dict) or not settings:
        raise ConfigurationError(f"--search {space.name}: its function must return a dict of settings")
    return settings


def printed(settings: Mapping[str, Any]) -> str:
    """A point in one line."""
    return ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in
                     settings.items())  # fmt: skip


def _check_free(variant: str, bare: RunConfig, chosen: Mapping[str, Any]) -> None:
    made = ablations.get(variant)(bare)
    fixed: Sequence[str] = [key for key in chosen if setting(made, key) != setting(bare, key)]
    if fixed:
        raise ConfigurationError(f"the variant {variant} fixes {', '.join(fixed)}")
