"""`python -m ilr_bench.sweep --search`: from options to a search that can run, and what it says at its end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from ilr_bench.config import RunConfig, change
from ilr_bench.errors import ConfigurationError
from ilr_bench.executor import Job
from ilr_bench.plan import PlannedTrial
from ilr_bench.profiles import MODEL_GROUPS, profile
from ilr_bench.search import study_file
from ilr_bench.search.measuring import Records
from ilr_bench.search.points import Goal, Measurement, PointPlanner, check_space, printed
from ilr_bench.search.pruning import Pruning, check, pruner, rungs
from ilr_bench.search.rounds import DIRECTIONS, Point, Rules, Search
from ilr_bench.search.samplers import sampler
from ilr_bench.search.space import Space, load_space
from ilr_bench.search.validation import check_apart, parse_objectives
from ilr_bench.store import Artifacts
from ilr_bench.work import run_planned

FRESH_SEEDS = 3
"""Fewest seeds that the best point is trained with again."""


@dataclass(frozen=True)
class SearchOptions:
    """What the command line says of a search."""

    space: str
    """A TOML file, or the name of a space."""
    trials: int
    """Points, each trained with every seed."""
    sampler: str = "tpe"
    sampler_seed: int = 0
    pruner: Pruning = "none"
    objectives: tuple[str, ...] = ("accuracy",)
    round: int = 4
    """Points asked for at a time; it is part of what the search is, whatever the number of workers."""


@dataclass(frozen=True)
class PlannedSearch:
    """A search whose options have been checked."""

    space: Space
    planner: PointPlanner
    rules: Rules
    options: SearchOptions

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between two commands for one folder, as JSON data; points may be added."""
        options = {key: value for key, value in asdict(self.options).items() if key not in ("trials", "space")}
        planner = self.planner
        return options | {
            "space": self.space.declaration, "profile": planner.profile, "variants": planner.variant,
            "models": planner.models, "seeds": planner.seeds, "set": planner.fixed,
        }  # fmt: skip


def plan_search(
    options: SearchOptions,
    profile_name: str,
    variants: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    overrides: Mapping[str, Sequence[str]],
) -> PlannedSearch:
    """Checks a search before its first trial; raises ConfigurationError, or MissingInputError for missing data."""
    for option, given in (("--variants", variants), ("--models", groups)):
        if len(given) > 1:
            raise ConfigurationError(f"{option}: a search takes one; declare the others as choices in its space")
    several = [key for key, values in overrides.items() if len(values) > 1]
    if several:
        raise ConfigurationError(f"--set {several[0]}: a search takes one value; declare the others in its space")
    if not seeds:
        raise ConfigurationError("--seeds: name at least one")
    models = MODEL_GROUPS.get(groups[0][0], groups[0]) if groups else ()
    fixed = {key: values[0] for key, values in overrides.items()}
    start = _start(profile_name, models, fixed)
    space = load_space(options.space, start)
    variant = variants[0] if variants else None
    planner = PointPlanner(profile_name, variant, tuple(models), tuple(seeds), fixed, start)
    objectives = parse_objectives(options.objectives)
    check(options.pruner, objectives, start, seeds)
    sampler(options.sampler, options.sampler_seed, len(objectives))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_space(space, planner)
    check_apart(start)
    return PlannedSearch(space, planner, Rules(options.trials, options.round, objectives, options.pruner), options)


class StudyWorld:
    """Trials in a study's folder."""

    def __init__(
        self,
        planned: PlannedSearch,
        out: Path,
        artifacts: Artifacts,
        prepare: Callable[[Sequence[PlannedTrial], Artifacts], Iterator[list[Job]]],
        command: str,
    ) -> None:
        """`prepare` names the jobs, batch after batch, without which trials cannot run."""
        self._planned, self._out, self._artifacts, self._prepare = planned, out, artifacts, prepare
        self._command = command
        self._needed: dict[str, PlannedTrial] = {}
        self._records = Records(out)

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        """See `World.plan`."""
        trials, needed = self._planned.planner.plan(settings)
        self._needed |= {trial.hash: trial for trial in needed}
        return trials, needed

    def prepare(self, trials: Sequence[PlannedTrial]) -> Iterator[list[Job]]:
        """See `World.prepare`."""
        return self._prepare(trials, self._artifacts)

    def job(self, goal: Goal) -> Job:
        """See `World.job`."""
        trial = goal.trial
        dependency = None if trial.dependency is None else self._out / self._needed[trial.dependency].folder
        return Job(trial.folder, run_planned, (trial, self._out, self._artifacts, dependency, goal.until))

    def measure(self, goal: Goal) -> Measurement | None:
        """See `World.measure`."""
        return self._records.measure(goal)

    def publish(self, search: Search) -> None:
        """See `World.publish`."""
        planned = self._planned
        study_file.publish(self._out, search, planned.identity, planned.planner.profile, self._command)


def optuna_study(planned: PlannedSearch) -> optuna.Study:
    """An empty study in memory."""
    options, rules = planned.options, planned.rules
    return optuna.create_study(
        study_name=study_file.NAME,
        directions=[DIRECTIONS[objective] for objective in rules.objectives],
        sampler=sampler(options.sampler, options.sampler_seed, len(rules.objectives)),
        pruner=pruner(options.pruner, planned.planner.start),
    )


def describe(planned: PlannedSearch) -> str:
    """What a search will do, for a look before it starts: the points of its first round among it."""
    options, planner, rules = planned.options, planned.planner, planned.rules
    steps = planner.start.training.steps
    lines = [
        f"{rules.trials} points x {len(planner.seeds)} seeds of {steps} steps at most, {rules.round} points at a time; "
        f"sampler {options.sampler}, objectives {', '.join(rules.objectives)} (validation questions)"
    ]
    if options.pruner == "wilcoxon":
        lines.append("a point may be given up after each seed but the last (wilcoxon)")
    elif options.pruner != "none":
        between = ", ".join(map(str, rungs(planner.start)))
        lines.append(f"a point may be given up after step {between} ({options.pruner})")
    study = optuna_study(planned)
    for _ in range(min(rules.round, rules.trials)):
        lines.append(f"  {printed(planned.space.suggest(study.ask()))}")
    return "\n".join(lines)


def conclusion(planned: PlannedSearch, search: Search, out: Path) -> list[str]:
    """The best points, and the commands that train them with fresh seeds and score them on the benchmarks."""
    states = [point.state for point in search.points]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    lines = [f"{len(states)} points: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    for point in search.best():
        tokens = f", {point.tokens:,.0f} tokens sampled" if "tokens" in planned.rules.objectives else ""
        lines.append(
            f"best: point {point.number}, validation accuracy {point.accuracy:.3f}{tokens}: {printed(point.settings)}"
        )
        lines.append(f"  {grid_command(planned, point, out, len(search.best()) > 1)}")
    if search.best():
        lines.append("these commands train with fresh seeds and score on benchmarks, which the search has not seen")
    return lines


def grid_command(planned: PlannedSearch, point: Point, out: Path, several: bool) -> str:
    """The sweep that trains a point with seeds that the search has not used, and scores it on the benchmarks."""
    planner = planned.planner
    settings = {key: str(value) for key, value in {**planner.fixed, **point.settings}.items()}
    variant = settings.pop("variant", planner.variant or "")
    first = max(planner.seeds) + 1
    seeds = range(first, first + max(FRESH_SEEDS, len(planner.seeds)))
    words = ["python", "-m", "ilr_bench.sweep", "--profile", planner.profile, "--variants", variant]
    words += ["--models", ",".join(planner.models)] if planner.models else []
    words += ["--seeds", ",".join(map(str, seeds))]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return shlex.join([*words, "--out", f"{out}-best-{point.number}" if several else f"{out}-best"])


def _start(profile_name: str, models: Sequence[str], fixed: Mapping[str, str]) -> RunConfig:
    start = profile(profile_name)
    return change(replace(start, models=tuple(models) or start.models), fixed)
