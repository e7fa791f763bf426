"""Searches without training: the accuracy of a point is a function of its settings, known at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from ilr_bench.core.config import content_hash
from ilr_bench.core.profiles import MICRO
from ilr_bench.study.launch.scheduler import Job
from ilr_bench.study.plan import PlannedTrial
from ilr_bench.study.search.loop import Search
from ilr_bench.study.search.plan import DIRECTIONS, SearchOptions
from ilr_bench.study.search.trials import Measurement, Target


def nothing() -> None:
    """What the scripted jobs do."""


class ScriptedBackend:
    """Remembers what was run, as a study's folder does: a second search with the same backend repeats nothing."""

    def __init__(
        self,
        accuracy: Callable[[Mapping[str, Any], int, int], float],
        tokens: Callable[[Mapping[str, Any]], int] = lambda settings: 100,
        seeds: Sequence[int] = (0,),
    ) -> None:
        """`accuracy(settings, seed, step)` in [0, 1] is that of both agents."""
        self._accuracy, self._tokens, self._seeds = accuracy, tokens, seeds
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.reached: dict[str, int] = {}
        self.ran: list[tuple[str, int | None]] = []
        self.published = 0

    def plan(self, settings: Mapping[str, Any]) -> tuple[tuple[PlannedTrial, ...], tuple[PlannedTrial, ...]]:
        trials = []
        for seed in self._seeds:
            key = content_hash([dict(settings), seed])
            self.settings[key] = settings
            trials.append(PlannedTrial(replace(MICRO, seed=seed), key, None))
        return tuple(trials), ()

    def prepare(self, trials: Sequence[PlannedTrial]) -> Iterator[list[Job]]:
        yield []

    def job(self, target: Target) -> Job:
        return Job(target.trial.folder, nothing, (target,))

    def run(self, job: Job) -> None:
        [target] = job.arguments
        self.ran.append((target.trial.hash, target.until))
        self.reached[target.trial.hash] = target.until or target.trial.config.training.steps

    def measurement_at(self, target: Target) -> Measurement | None:
        key, config = target.trial.hash, target.trial.config
        step = target.until or config.training.steps
        if self.reached.get(key, 0) < step:
            return None
        value = self._accuracy(self.settings[key], config.seed, step)
        return Measurement((value, value), None if target.until else self._tokens(self.settings[key]))

    def publish(self, search: Search) -> None:
        self.published += 1


def search_in(
    backend: ScriptedBackend,
    suggest: Callable[[optuna.Trial], dict[str, Any]],
    options: SearchOptions,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> Search:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="search",
        directions=[DIRECTIONS[name] for name in options.objectives],
        sampler=sampler or optuna.samplers.TPESampler(seed=0),
        pruner=pruner or optuna.pruners.NopPruner(),
    )
    return Search(study, suggest, options, backend, backend.publish)


def drive(search: Search, backend: ScriptedBackend, last_first: bool = False, jobs: int | None = None) -> Search:
    """Runs a search to its end, or until so many `jobs` have been run."""
    waiting = search.ready()
    while waiting and jobs != 0:
        job = waiting.pop(-1 if last_first else 0)
        backend.run(job)
        search.ended(job, None)
        waiting += search.ready()
        jobs = None if jobs is None else jobs - 1
    return search


def told(search: Search) -> list[dict[str, Any]]:
    """What a search has come to, for comparisons."""
    return [
        {
            "settings": search_trial.settings,
            "state": search_trial.state,
            "accuracy": search_trial.accuracy,
            "curve": search_trial.curve,
        }
        for search_trial in search.points
    ]
