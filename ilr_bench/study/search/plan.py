"""`python -m ilr_bench.sweep --search`: from options to a search that has been checked.

The pruners `asha` and `hyperband` compare points after the same number of training steps. `wilcoxon` needs, as Optuna
puts it, instances of one problem whose mean is the point's value; here these are the agents of each training seed at
the end of their training. Accuracies of one training at several steps are no such instances: they belong to one answer
that improves, and their mean is not the value.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import optuna

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MODEL_GROUPS, profile
from ilr_bench.storage.records import TrialEntry
from ilr_bench.study.own_data import located
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.search.space import SAMPLERS, Space, identity_of, load_space, make_sampler, printed
from ilr_bench.study.search.trials import TrialPlanner, check_space
from ilr_bench.tasks.benchmarks import BENCHMARKS, expand
from ilr_bench.tasks.benchmarks import get as get_benchmark
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.overlap import normalised
from ilr_bench.tasks.types import GROUPS

NAME = "search"
"""Of the Optuna study; Hyperband chooses brackets by it."""
PRUNERS = ("none", "asha", "hyperband", "wilcoxon")
KEPT = 2
"""One of so many points goes on from each prune step: runs here are validated a handful of times, and a larger number
would leave all but the first of those unused."""
P_THRESHOLD = 0.1
INSTANCES = 4
"""Fewest for which a one-sided signed-rank test can reach `P_THRESHOLD`: its smallest p-value is 2^-n."""
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"accuracy": "maximize", "tokens": "minimize"}
"""Objective -> what is better."""


@dataclass(frozen=True)
class SearchOptions:
    """A search as the command line names it."""

    space: str
    """A TOML file, or the name of a space."""
    trials: int
    """Points, each trained with every seed."""
    sampler: str = "tpe"
    sampler_seed: int = 0
    pruner: str = "none"
    objectives: tuple[str, ...] = ("accuracy",)
    round: int = 4
    """Points asked for before Optuna hears the value of any of them; part of the search, whatever runs the trials."""


@dataclass(frozen=True)
class PlannedSearch:
    """A search whose options have been checked."""

    space: Space
    planner: TrialPlanner
    options: SearchOptions
    objectives: tuple[str, ...]
    """Those of the options in the order of `DIRECTIONS`."""

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between two commands for one folder, as JSON data; points may be added."""
        options = {key: value for key, value in asdict(self.options).items() if key not in ("trials", "space")}
        options["sampler"] = identity_of(self.options.sampler, SAMPLERS)
        planner = self.planner
        return options | {
            "space": self.space.declaration, "profile": planner.profile, "variants": planner.variant,
            "models": planner.models, "seeds": planner.seeds, "set": planner.fixed,
        }  # fmt: skip

    @property
    def command(self) -> str:
        """The command that runs the search again. Folder and workers change no number and are left out."""
        options, planner = self.options, self.planner
        words = ["--search", options.space, "--trials", str(options.trials), "--round", str(options.round)]
        words += ["--sampler", options.sampler, "--sampler-seed", str(options.sampler_seed)]
        words += ["--pruner", options.pruner, "--objectives", ",".join(options.objectives), "--out", "DIR"]
        return sweep_command(planner, planner.variant, planner.seeds, planner.fixed, words)


def sweep_command(
    planner: TrialPlanner, variant: str | None, seeds: Sequence[int], settings: Mapping[str, str], rest: Sequence[str]
) -> str:
    """A command that trains with the planner's profile and models."""
    words = ["--profile", planner.profile, *([] if variant is None else ["--variants", variant])]
    words += ["--models", ",".join(planner.models)] if planner.models else []
    words += ["--seeds", ",".join(map(str, seeds))]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return shlex.join(["python", "-m", "ilr_bench.sweep", *words, *rest])


def plan_search(
    options: SearchOptions,
    profile_name: str,
    variants: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    overrides: Mapping[str, Sequence[str]],
) -> PlannedSearch:
    """Checks a search before its first trial; raises ConfigurationError, or MissingInputError for missing data."""
    if options.pruner not in PRUNERS:
        raise ConfigurationError(f"--pruner {options.pruner}: choose one of {', '.join(PRUNERS)}")
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
    start = profile(profile_name)
    start = located(change(replace(start, models=tuple(models) or start.models), fixed))
    space = load_space(options.space, start)
    variant = variants[0] if variants else None
    planner = TrialPlanner(profile_name, variant, tuple(models), tuple(seeds), fixed, start)
    objectives = parse_objectives(options.objectives)
    check_pruner(options.pruner, objectives, start, seeds)
    make_sampler(options.sampler, options.sampler_seed, len(objectives))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_space(space, planner)
    check_apart(start)
    return PlannedSearch(space, planner, options, objectives)


def optuna_study(planned: PlannedSearch) -> optuna.Study:
    """An empty study in memory."""
    options = planned.options
    return optuna.create_study(
        study_name=NAME,
        directions=[DIRECTIONS[objective] for objective in planned.objectives],
        sampler=make_sampler(options.sampler, options.sampler_seed, len(planned.objectives)),
        pruner=make_pruner(options.pruner, planned.planner.start),
    )


def describe_search(planned: PlannedSearch) -> str:
    """A search in words, and the points of its first round."""
    options, planner = planned.options, planned.planner
    steps = planner.start.training.steps
    lines = [
        f"{options.trials} points x {len(planner.seeds)} seeds of {steps} steps at most, {options.round} points at a "
        f"time; sampler {options.sampler}, objectives {', '.join(planned.objectives)} (validation questions)"
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
        entries += [search_entry(trial, number) for trial in asked]
    return Plan(tuple(trials.values()), tuple(entries))


def search_entry(trial: PlannedTrial, number: int) -> TrialEntry:
    """A trial of a point under a name such as `ilr #3`."""
    config = trial.config
    name = f"{config.variant} #{number}"
    return TrialEntry(name, config.models, config.agents, config.seed, trial.hash, trial.folder)


def _first(planned: PlannedSearch) -> list[dict[str, Any]]:
    study = optuna_study(planned)
    return [planned.space.suggest(study.ask()) for _ in range(min(planned.options.round, planned.options.trials))]


def parse_objectives(names: Sequence[str]) -> tuple[str, ...]:
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

    Texts are compared as in `tasks.overlap`. Raises MissingInputError where a benchmark's data are not here.
    """
    _, validation = question_source(config.questions.source).load(config.questions.train, config.questions.validation)
    held = {normalised(question.text) for question in validation}
    for benchmark in map(get_benchmark, expand(config.evaluation.benchmarks)):
        name = benchmark.name
        shared = [row.id for row in benchmark.load() if normalised(row.question) in held]
        if shared:
            raise ConfigurationError(
                f"{len(shared)} questions of the benchmark {name} are validation questions as well (the first is "
                f"{shared[0]}): a search would choose by what is reported; set questions.source or leave {name} out "
                "by --set evaluation.benchmarks=..."
            )


def check_pruner(kind: str, objectives: Sequence[str], start: RunConfig, seeds: Sequence[int]) -> None:
    """Raises ConfigurationError where nothing could be pruned."""
    if kind == "none":
        return
    if len(objectives) > 1:
        raise ConfigurationError(
            f"--pruner {kind}: Optuna prunes for one objective only; leave the pruner out, or name one objective"
        )
    if kind == "wilcoxon":
        if len(start.models) * (len(seeds) - 1) < INSTANCES:
            raise ConfigurationError(
                f"--pruner wilcoxon: compares points agent by agent and seed by seed, and needs {INSTANCES} such pairs "
                f"before the last seed; name more than {len(seeds)} --seeds, or choose asha"
            )
    elif not prune_steps(start):
        raise ConfigurationError(
            f"--pruner {kind}: training.validate_every={start.training.validate_every} leaves no validation before "
            f"the end of {start.training.steps} steps; lower it by --set"
        )


def make_pruner(kind: str, start: RunConfig) -> optuna.pruners.BasePruner:
    """Optuna's pruner; a prune step is one unit of its resource."""
    if kind == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEPT)
    if kind == "hyperband":
        most = len(prune_steps(start)) + 1
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most, reduction_factor=KEPT)
    if kind == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.WilcoxonPruner(p_threshold=P_THRESHOLD)
    return optuna.pruners.NopPruner()


def prune_steps(config: RunConfig) -> list[int]:
    """Validated steps before the last one."""
    every = config.training.validate_every
    return list(range(every, config.training.steps, every)) if every else []
