"""`python -m ilr_bench.sweep --search`: from options to a search that has been checked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MODEL_GROUPS, profile
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.search.points import TrialPlanner, check_space, printed, suggested
from ilr_bench.study.search.pruning import NAMES, check, prune_steps, pruner
from ilr_bench.study.search.rounds import DIRECTIONS, Objective, Rules, SearchTrial
from ilr_bench.study.search.samplers import sampler
from ilr_bench.study.search.space import Space, load_space
from ilr_bench.study.search.study_file import NAME, entry
from ilr_bench.tasks.benchmarks import BENCHMARKS, expand
from ilr_bench.tasks.benchmarks import get as get_benchmark
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.types import GROUPS

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
    pruner: str = "none"
    objectives: tuple[str, ...] = ("accuracy",)
    round: int = 4
    """Points asked for at a time; it is part of what the search is, whatever the number of workers."""


@dataclass(frozen=True)
class PlannedSearch:
    """A search whose options have been checked."""

    space: Space
    planner: TrialPlanner
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

    @property
    def command(self) -> str:
        """The command that runs the search again. Folder and workers change no number and are left out."""
        options, planner = self.options, self.planner
        words = ["--profile", planner.profile, *(["--variants", planner.variant] if planner.variant else [])]
        words += ["--models", ",".join(planner.models)] if planner.models else []
        words += ["--seeds", ",".join(map(str, planner.seeds))]
        words += [word for key, value in planner.fixed.items() for word in ("--set", f"{key}={value}")]
        words += ["--search", options.space, "--trials", str(options.trials), "--round", str(options.round)]
        words += ["--sampler", options.sampler, "--sampler-seed", str(options.sampler_seed)]
        words += ["--pruner", options.pruner, "--objectives", ",".join(options.objectives), "--out", "DIR"]
        return shlex.join(["python", "-m", "ilr_bench.sweep", *words])

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """One point's settings."""
        return suggested(self.space, trial)


def plan_search(
    options: SearchOptions,
    profile_name: str,
    variants: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    overrides: Mapping[str, Sequence[str]],
) -> PlannedSearch:
    """Checks a search before its first trial; raises ConfigurationError, or MissingInputError for missing data."""
    if options.pruner not in NAMES:
        raise ConfigurationError(f"--pruner {options.pruner}: choose one of {', '.join(NAMES)}")
    if min(options.trials, options.round) < 1:
        raise ConfigurationError("--trials and --round: at least 1")
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
    planner = TrialPlanner(profile_name, variant, tuple(models), tuple(seeds), fixed, start)
    objectives = parse_objectives(options.objectives)
    check(options.pruner, objectives, start, seeds)
    sampler(options.sampler, options.sampler_seed, len(objectives))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_space(space, planner)
    check_apart(start)
    return PlannedSearch(space, planner, Rules(options.trials, options.round, objectives, options.pruner), options)


def optuna_study(planned: PlannedSearch) -> optuna.Study:
    """An empty study in memory."""
    options, rules = planned.options, planned.rules
    return optuna.create_study(
        study_name=NAME,
        directions=[DIRECTIONS[objective] for objective in rules.objectives],
        sampler=sampler(options.sampler, options.sampler_seed, len(rules.objectives)),
        pruner=pruner(rules.pruning, planned.planner.start),
    )


def describe_search(planned: PlannedSearch) -> str:
    """What a search will do, and the points of its first round."""
    options, planner, rules = planned.options, planned.planner, planned.rules
    steps = planner.start.training.steps
    lines = [
        f"{rules.trials} points x {len(planner.seeds)} seeds of {steps} steps at most, {rules.round} points at a time; "
        f"sampler {options.sampler}, objectives {', '.join(rules.objectives)} (validation questions)"
    ]
    if options.pruner == "wilcoxon":
        lines.append("a point may be given up after each seed but the last (wilcoxon)")
    elif options.pruner != "none":
        between = ", ".join(map(str, prune_steps(planner.start)))
        lines.append(f"a point may be given up after step {between} ({options.pruner})")
    lines += ["the first round:", *(f"  {number}: {printed(point)}" for number, point in enumerate(_first(planned)))]
    return "\n".join(lines)


def first_round(planned: PlannedSearch) -> Plan:
    """The trials of the first round's points, as a study to be priced."""
    trials: dict[str, PlannedTrial] = {}
    entries = []
    for number, settings in enumerate(_first(planned)):
        asked, needed = planned.planner.plan(settings)
        trials |= {trial.hash: trial for trial in (*needed, *asked)}
        entries += [entry(trial, f"#{number}") for trial in asked]
    return Plan(tuple(trials.values()), tuple(entries))


def _first(planned: PlannedSearch) -> list[dict[str, Any]]:
    study = optuna_study(planned)
    return [planned.suggest(study.ask()) for _ in range(min(planned.rules.round, planned.rules.trials))]


def grid_command(planned: PlannedSearch, search_trial: SearchTrial, out: Path, several: bool) -> str:
    """The sweep that trains a point with seeds that the search has not used, and scores it on the benchmarks."""
    planner = planned.planner
    settings = {key: str(value) for key, value in {**planner.fixed, **search_trial.settings}.items()}
    variant = settings.pop("variant", planner.variant or "")
    first = max(planner.seeds) + 1
    seeds = range(first, first + max(FRESH_SEEDS, len(planner.seeds)))
    words = ["python", "-m", "ilr_bench.sweep", "--profile", planner.profile, "--variants", variant]
    words += ["--models", ",".join(planner.models)] if planner.models else []
    words += ["--seeds", ",".join(map(str, seeds))]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return shlex.join([*words, "--out", f"{out}-best-{search_trial.number}" if several else f"{out}-best"])


def _start(profile_name: str, models: Sequence[str], fixed: Mapping[str, str]) -> RunConfig:
    start = profile(profile_name)
    return change(replace(start, models=tuple(models) or start.models), fixed)


def parse_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives by name; raises ConfigurationError for an unknown one, and for a benchmark above all."""
    for name in names:
        if name in GROUPS or name in BENCHMARKS:
            raise ConfigurationError(
                f"--objectives {name}: a benchmark that is searched for can no longer be reported; "
                "`accuracy` is measured on validation questions"
            )
        if name not in DIRECTIONS:
            raise ConfigurationError(f"--objectives {name}: choose among {', '.join(DIRECTIONS)}")
    chosen = tuple(objective for objective in DIRECTIONS if objective in names)
    if "accuracy" not in chosen:
        raise ConfigurationError("--objectives: `accuracy` must be among them; fewest tokens alone is no training")
    return chosen


def check_apart(config: RunConfig) -> None:
    """Raises ConfigurationError where a validation question stands in a benchmark that this configuration reports.

    Texts are compared word by word. Raises MissingInputError where a benchmark's data are not here to be compared.
    """
    _, validation = SOURCES.get(config.questions.source).load(config.questions.train, config.questions.validation)
    held = {_words(question.text): question.id for question in validation}
    for name in expand(config.evaluation.benchmarks):
        shared = [row.id for row in get_benchmark(name).load() if _words(row.question) in held]
        if shared:
            raise ConfigurationError(
                f"{len(shared)} questions of the benchmark {name} are validation questions as well (the first is "
                f"{shared[0]}): a search would choose by what is reported; set questions.source or leave {name} out "
                "by --set evaluation.benchmarks=..."
            )


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()
