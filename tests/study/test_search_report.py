"""What a search leaves for reports, and for Optuna's dashboard."""

import csv
import io
from dataclasses import replace

import optuna
import pytest
from scripted_search import ScriptedBackend, drive, search_in

from ilr_bench.core.config import from_dict, to_dict
from ilr_bench.core.errors import StoreError
from ilr_bench.core.profiles import MICRO
from ilr_bench.storage.records import read_study
from ilr_bench.study.search.plan import SearchOptions, make_pruner
from ilr_bench.study.search.run import publish, write_storage
from reports import Settings
from reports.tables.search import comma_separated, table, write


class Folder:
    def __init__(self, folder):
        self.folder = folder


def suggest(trial):
    variant = trial.suggest_categorical("variant", ["ilr", "coin"])
    settings = {"variant": variant, "x": trial.suggest_float("x", 0.0, 1.0)}
    return settings | ({"ratio": trial.suggest_float("ratio", 0.0, 1.0)} if variant == "coin" else {})


def searched(tmp_path, objectives=("accuracy",), pruning="asha"):
    backend = ScriptedBackend(lambda s, seed, step: (1 - s["x"]) * step / 30, lambda s: int(1000 * (1 - s["x"]) ** 2))
    options = SearchOptions("", 12, pruner=pruning, objectives=objectives)
    search = drive(search_in(backend, suggest, options, pruner=make_pruner(pruning, MICRO)), backend)
    publish(tmp_path, search, {"sampler": "tpe", "pruner": pruning, "seeds": [0]}, "micro", "a command")
    return search


def written(tmp_path):
    path = write(Folder(tmp_path), tmp_path, Settings())
    return path.read_text(), list(csv.DictReader(io.StringIO((tmp_path / "search.csv").read_text())))


def test_every_point_has_a_line_and_the_best_one_a_mark(tmp_path):
    search = searched(tmp_path)
    text, rows = written(tmp_path)
    [best] = search.best()
    assert f"| {best.number} †" in text
    assert "pruned after 10 steps" in text
    assert [int(row["point"]) for row in rows] == list(range(12))
    assert [row["state"] for row in rows] == [point.state for point in search.points]
    assert [float(row["x"]) for row in rows] == [point.settings["x"] for point in search.points]
    assert {row["variant"] for row in rows if row["ratio"]} == {"coin"}
    assert [row["point"] for row in rows if row["best"] == "True"] == [str(best.number)]


def test_with_two_objectives_the_front_stands_by_itself_with_the_fewest_tokens_first(tmp_path):
    search = searched(tmp_path, ("accuracy", "tokens"), "none")
    text, rows = written(tmp_path)
    front = text.partition("Pareto front")[2]
    tokens = [point.tokens for point in sorted(search.best(), key=lambda point: point.tokens)]
    assert len(tokens) > 1
    indices = [front.index(f"{value:,.0f} |") for value in tokens]
    assert indices == sorted(indices)
    assert sum(row["best"] == "True" for row in rows) == len(tokens)


def test_points_that_were_given_up_stand_in_no_study(tmp_path):
    search = searched(tmp_path)
    complete = [point for point in search.points if point.state == "complete"]
    entries = read_study(tmp_path).trials
    assert [entry.hash for entry in entries] == [point.trials[0].hash for point in complete]
    assert entries[0].variant == f"ilr #{complete[0].number}"
    assert len(complete) < len(search.points)


def test_torn_points_are_named(tmp_path):
    searched(tmp_path)
    (tmp_path / "search.json").write_text('{"points": [')
    with pytest.raises(StoreError, match="run the search's command again"):
        written(tmp_path)


def test_a_search_without_points_has_an_empty_table():
    rules = {"sampler": "tpe", "pruner": "none", "seeds": [0]}
    found = {"rules": rules, "objectives": ["accuracy"], "points": [], "best": []}
    assert table(found).main.lines == ()
    assert comma_separated(found) == "point,best,state,reason,accuracy,tokens\n"


def test_the_storage_holds_every_trial_as_optuna_knows_it(tmp_path):
    search = searched(tmp_path)
    write_storage(search.study, tmp_path)
    copy = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert [(one.params, one.values, one.state) for one in copy.trials] == [
        (one.params, one.values, one.state) for one in search.study.trials
    ]


def test_a_storage_that_cannot_be_written_is_left_out(tmp_path, capsys):
    search = searched(tmp_path)
    write_storage(search.study, tmp_path / "nowhere")
    assert "nothing depends on it" in capsys.readouterr().err


def test_a_configuration_without_benchmarks_is_read_as_it_was_written():
    bare = replace(MICRO, evaluation=replace(MICRO.evaluation, benchmarks=()))
    assert from_dict(to_dict(bare)) == bare
