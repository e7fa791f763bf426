"""The search: Optuna's ask and tell in rounds, the same whatever runs the trials."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_search import ScriptedBackend, drive, nothing, search_in, told

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MICRO
from ilr_bench.study.launch.scheduler import Failure, Job
from ilr_bench.study.search.plan import PRUNERS, SearchOptions, make_pruner


def options(trials=8, round_size=4, objectives=("accuracy",), pruning="none"):
    return SearchOptions("", trials, pruner=pruning, objectives=objectives, round=round_size)


def one_number(trial):
    return {"x": trial.suggest_float("x", 0.0, 1.0)}


def few_choices(trial):
    return {"x": trial.suggest_categorical("x", [0.2, 0.8])}


def rising(settings, seed, step):
    """Better points are better at all steps, and all improve."""
    return (1 - (settings["x"] - 0.3) ** 2) * step / 30


def searched(backend, **changes):
    pruning = changes.get("pruning", "none")
    return search_in(
        backend, changes.pop("suggest", one_number), options(**changes), pruner=make_pruner(pruning, MICRO)
    )


@pytest.mark.parametrize("pruning", PRUNERS)
def test_the_order_in_which_trials_end_changes_nothing(pruning):
    seeds = (0, 1, 2, 3)
    first, last = ScriptedBackend(rising, seeds=seeds), ScriptedBackend(rising, seeds=seeds)
    one = drive(searched(first, pruning=pruning, trials=12), first)
    other = drive(searched(last, pruning=pruning, trials=12), last, last_first=True)
    assert told(one) == told(other)
    assert one.best()[0].number == other.best()[0].number


@pytest.mark.parametrize("pruning", PRUNERS)
def test_a_search_that_starts_again_repeats_nothing_and_ends_the_same(pruning):
    seeds = (0, 1, 2, 3)
    whole, broken = ScriptedBackend(rising, seeds=seeds), ScriptedBackend(rising, seeds=seeds)
    undisturbed = drive(searched(whole, pruning=pruning), whole)
    for jobs in (0, 1, 3, 6, None):
        ended = drive(searched(broken, pruning=pruning), broken, jobs=jobs)
    assert told(ended) == told(undisturbed)
    assert len(broken.ran) == len(set(broken.ran))
    assert set(broken.ran) == set(whole.ran)
    assert drive(searched(broken, pruning=pruning), broken).ready() == []
    assert len(broken.ran) == len(whole.ran)


@given(st.integers(1, 9), st.integers(1, 5))
def test_every_point_is_asked_for_and_told_once(trials, round_size):
    backend = ScriptedBackend(rising)
    search = drive(searched(backend, trials=trials, round_size=round_size), backend)
    assert [search_trial.number for search_trial in search.points] == list(range(trials))
    assert all(trial.state.is_finished() for trial in search.study.trials)


def test_a_round_is_asked_for_before_any_of_it_is_told():
    backend = ScriptedBackend(rising)
    search = searched(backend, trials=8, round_size=4)
    assert len(search.ready()) == 4
    assert len(search.points) == 4


def handed_out_and_to_come(search, backend):
    """Training steps of the jobs so far, and of those expected, whenever there are new jobs."""
    reached, found = {}, []
    while waiting := search.ready():
        for job in waiting:
            [target] = job.arguments
            reached[target.trial.hash] = target.until or target.trial.config.training.steps
        found.append((sum(reached.values()), search.steps_to_come()))
        for job in waiting:
            backend.run(job)
            search.ended(job, None)
    return found


@pytest.mark.parametrize("pruning", ["none", "wilcoxon"])
def test_points_not_asked_for_and_later_stages_are_still_to_come(pruning):
    backend = ScriptedBackend(lambda settings, seed, step: 0.5, seeds=(0, 1, 2, 3))  # nothing is worse than the best
    found = handed_out_and_to_come(searched(backend, trials=9, pruning=pruning), backend)
    assert len(found) > 2
    assert {round(given + left) for given, left in found} == {9 * 4 * MICRO.training.steps}
    assert found[-1][1] == 0


def test_what_is_to_come_shrinks_where_points_are_given_up():
    backend = ScriptedBackend(rising)
    found = handed_out_and_to_come(searched(backend, trials=16, pruning="asha"), backend)
    whole, (end, left) = 16 * MICRO.training.steps, found[-1]
    assert left == 0
    assert end < whole
    assert sum(found[0]) == whole
    after_half = next(given + left for given, left in found if given >= whole / 3)
    assert abs(after_half - end) < 0.15 * whole


@pytest.mark.parametrize("pruning", ["asha", "hyperband"])
def test_halving_gives_up_worse_points_before_their_end(pruning):
    backend = ScriptedBackend(rising)
    search = drive(searched(backend, trials=16, pruning=pruning), backend)
    pruned = [search_trial for search_trial in search.points if search_trial.state == "pruned"]
    assert pruned
    ends = {key for key, until in backend.ran if until is None}
    assert all(trial.hash not in ends for search_trial in pruned for trial in search_trial.trials)
    assert all(max(search_trial.curve) in (10, 20) for search_trial in pruned)
    assert search.best()[0].accuracy == max(search_trial.accuracy for search_trial in search.points)


def test_wilcoxon_gives_up_a_point_whose_agents_are_worse_seed_by_seed():
    backend = ScriptedBackend(lambda settings, seed, step: settings["x"] - 0.01 * seed, seeds=(0, 1, 2, 3, 4))
    search = drive(searched(backend, suggest=few_choices, trials=12, round_size=1, pruning="wilcoxon"), backend)
    for search_trial in search.points:
        assert search_trial.state == "complete" or search_trial.settings["x"] == 0.2
    pruned = [search_trial for search_trial in search.points if search_trial.state == "pruned"]
    assert pruned
    assert all(len(search_trial.found) < 5 for search_trial in pruned)
    assert search.best()[0].settings["x"] == 0.8


def test_equal_points_share_their_trials():
    backend = ScriptedBackend(rising)
    search = drive(searched(backend, suggest=few_choices, trials=8), backend)
    assert len(backend.ran) == 2
    assert all(search_trial.state == "complete" for search_trial in search.points)


def test_a_point_that_fails_is_told_and_the_rest_goes_on():
    backend = ScriptedBackend(rising)
    search = searched(backend, trials=8)
    waiting = search.ready()
    lost = waiting.pop(0)
    search.ended(lost, Failure("loss of A is not finite at step 3\nmore", 5))
    for job in waiting:
        backend.run(job)
        search.ended(job, None)
    drive(search, backend)
    assert [point.state for point in search.points] == ["failed"] + ["complete"] * 7
    assert search.points[0].reason == "loss of A is not finite at step 3"
    assert search.study.trials[0].state is optuna.trial.TrialState.FAIL


def test_an_impossible_point_costs_nothing():
    class Picky(ScriptedBackend):
        def plan(self, settings):
            if settings["x"] < 0.5:
                raise ConfigurationError("x: too small")
            return super().plan(settings)

    backend = Picky(rising)
    search = drive(searched(backend, trials=12), backend)
    states = {search_trial.settings["x"] < 0.5: search_trial.state for search_trial in search.points}
    assert states == {True: "impossible", False: "complete"}
    assert {search_trial.reason for search_trial in search.points if search_trial.state == "impossible"} == {
        "x: too small"
    }


def test_a_failed_preparation_ends_the_search():
    class Unprepared(ScriptedBackend):
        def prepare(self, trials):
            yield [Job("model", nothing, ())]

    backend = Unprepared(rising)
    search = searched(backend)
    [job] = search.ready()
    search.ended(job, Failure("no such model", 3))
    assert search.ready() == []
    assert search.failed["model"].status == 3
    assert not backend.ran


def test_once_it_is_asked_to_stop_nothing_half_done_is_judged():
    backend = ScriptedBackend(rising)
    asked = []
    search = searched(backend)
    search._stopped = lambda: bool(asked)
    for job in search.ready():
        asked.append(job)
        search.ended(job, Failure("stopped by SIGTERM", 143))
    assert search.ready() == []
    assert [point.state for point in search.points] == ["running"] * 4


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_with_two_objectives_the_front_is_what_nothing_dominates(values):
    """Brute force: a point is out if another is at least as good in both objectives and better in one."""
    indices = iter(range(len(values)))

    def next_point(trial):
        return {"place": trial.suggest_int("place", 0, 100) * 0 + next(indices)}

    backend = ScriptedBackend(lambda s, seed, step: values[s["place"]][0] / 4, lambda s: values[s["place"]][1])
    search = search_in(backend, next_point, options(len(values), objectives=("accuracy", "tokens")))
    drive(search, backend)
    front = [
        index
        for index, (accuracy, tokens) in enumerate(values)
        if not any(a >= accuracy and t <= tokens and (a, t) != (accuracy, tokens) for a, t in values)
    ]
    assert [search_trial.number for search_trial in search.best()] == front


def test_tpe_finds_a_better_point_than_chance():
    def two_numbers(trial):
        return {"x": trial.suggest_float("x", 0.0, 1.0), "rate": trial.suggest_float("rate", 1e-5, 1e-1, log=True)}

    def closed_form(settings, seed, step):
        return 1 - (settings["x"] - 0.3) ** 2 - abs(settings["rate"] - 1e-3) ** 0.5

    def best(sampler):
        backend = ScriptedBackend(closed_form)
        return drive(search_in(backend, two_numbers, options(40), sampler), backend).best()[0].accuracy

    seeds = range(5)
    learned = [best(optuna.samplers.TPESampler(seed=seed)) for seed in seeds]
    drawn = [best(optuna.samplers.RandomSampler(seed=seed)) for seed in seeds]
    assert sum(learned) > sum(drawn)
