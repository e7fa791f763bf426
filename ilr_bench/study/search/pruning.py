"""Which points are given up early, and what they are judged by.

`asha` and `hyperband` compare points after the same number of training steps. `wilcoxon` needs, as Optuna puts it,
instances of one problem whose mean is the point's value; here these are the agents of each training seed at the end
of their training. Accuracies of one training at several steps are no such instances: they are one answer that
improves, and their mean is not the value.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import optuna

from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.study.search.trials import Measurement, Target

Pruning = Literal["none", "asha", "hyperband", "wilcoxon"]
NAMES: tuple[Pruning, ...] = get_args(Pruning)
KEPT = 2
"""One of so many points goes on from each rung: runs here are validated a handful of times, and a larger number
would leave all but the first of those unused."""
P_THRESHOLD = 0.1
INSTANCES = 4
"""Fewest for which a one-sided signed-rank test can reach `P_THRESHOLD`: its smallest p-value is 2^-n."""
_AGENTS = 1000
"""Numbers of instances kept for the agents of one seed."""


def check(kind: Pruning, objectives: Sequence[str], start: RunConfig, seeds: Sequence[int]) -> None:
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


def pruner(kind: Pruning, start: RunConfig) -> optuna.pruners.BasePruner:
    """Optuna's pruner; a rung is one unit of its resource."""
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


def stages(kind: Pruning, trials: Sequence[PlannedTrial]) -> list[list[Target]]:
    """What of a point is run together; it may be given up after each stage but the last."""
    end = [Target(trial) for trial in trials]
    if kind == "wilcoxon":
        return [[target] for target in end]
    between = [] if kind == "none" else prune_steps(trials[0].config)
    return [*([Target(trial, step) for trial in trials] for step in between), end]


def reports(kind: Pruning, stage: int, found: Sequence[Measurement]) -> dict[int, float]:
    """What Optuna is told after a stage: by rung, or by instance."""
    if kind == "wilcoxon":
        return {stage * _AGENTS + agent: value for agent, value in enumerate(found[0].accuracy)}
    return {stage + 1: mean_accuracy(found)}


def mean_accuracy(found: Sequence[Measurement]) -> float:
    """Over agents, then over seeds."""
    each = [sum(one.accuracy) / len(one.accuracy) for one in found]
    return sum(each) / len(each)
