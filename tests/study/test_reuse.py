"""Trials that another study has finished are copied, not run again."""

import json
import shutil

import pytest
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.storage import provenance
from ilr_bench.storage.records import Study, read_result, write_study
from ilr_bench.storage.store import Artifacts, finalize
from ilr_bench.study import sweep
from ilr_bench.study.inputs import inputs_of_trials
from ilr_bench.study.launch.pool import WorkerPool
from ilr_bench.study.reuse import reuse_trials, sibling_studies


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_checkpoints(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def finished(models, tmp_path_factory):
    """A folder with one finished study in it."""
    parent = tmp_path_factory.mktemp("runs")
    run_plan(tiny_plan(models, "pure_cooperative"), parent / "first")
    return parent


@pytest.fixture
def runs(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "runs")
    return tmp_path / "runs"


def ask(plan, out):
    out.mkdir(parents=True, exist_ok=True)
    write_study(out, Study("micro", "test", plan.entries))
    siblings = sibling_studies(out)
    artifacts = Artifacts(out / "artifacts", tuple(study / "artifacts" for study in siblings))
    return reuse_trials(plan.trials, inputs_of_trials(plan.trials), out, siblings, artifacts)


def test_a_copy_holds_the_bytes_that_a_run_would_have_left_under_its_own_name(models, runs, tmp_path):
    plan = tiny_plan(models, "cooperation_1.0")
    assert ask(plan, runs / "second") == {plan.trials[0].hash}
    run_plan(plan, tmp_path / "elsewhere" / "third")
    assert contents(runs / "second" / "trials") == contents(tmp_path / "elsewhere" / "third" / "trials")
    assert contents(runs / "second" / "artifacts") == contents(runs / "first" / "artifacts")
    assert read_result(runs / "second" / plan.trials[0].folder).variant == "cooperation_1.0"


def test_only_trials_with_the_same_hash_are_taken(models, runs):
    assert ask(tiny_plan(models, "pure_competitive"), runs / "second") == set()


def test_a_copy_can_be_taken_over_in_turn(models, runs):
    plan = tiny_plan(models, "cooperation_1.0")
    ask(plan, runs / "second")
    shutil.rmtree(runs / "first")
    assert ask(plan, runs / "third") == {plan.trials[0].hash}


@pytest.mark.parametrize("damaged", ["dialogues.jsonl", "checkpoints/*/*/model.safetensors", "config.json"])
def test_a_trial_that_is_not_whole_is_not_taken(models, runs, damaged, capsys):
    plan = tiny_plan(models, "pure_cooperative")
    file = next((runs / "first" / plan.trials[0].folder).glob(damaged))
    file.write_bytes(file.read_bytes()[:-3])
    assert ask(plan, runs / "second") == set()
    assert "is not whole" in capsys.readouterr().err
    assert not (runs / "second" / plan.trials[0].folder).exists()


def test_a_trial_without_its_artifacts_or_its_result_is_not_taken(models, runs):
    plan = tiny_plan(models, "pure_cooperative")
    shutil.rmtree(runs / "first" / "artifacts")
    assert ask(plan, runs / "second") == set()
    (runs / "first" / plan.trials[0].folder / "result.json").unlink()
    assert ask(plan, runs / "second") == set()


def test_what_other_inputs_made_is_not_taken_and_another_commit_does_not_matter(models, runs, capsys, monkeypatch):
    plan = tiny_plan(models, "pure_cooperative")
    path = runs / "first" / plan.trials[0].folder / "result.json"
    result = json.loads(path.read_text())
    key = plan.trials[0].hash
    finalize(path.parent, key, json.dumps(result | {"versions": result["versions"] | {"commit": "another"}}))
    assert ask(plan, runs / "second") == {key}
    installed = provenance.package_versions
    monkeypatch.setattr(
        provenance,
        "package_versions",
        lambda names: {
            name: found.replace("2.", "0.", 1) if name == "torch" else found for name, found in installed(names).items()
        },
    )
    assert ask(plan, runs / "third") == set()
    told = capsys.readouterr().err
    assert "1 trials; since then package torch: 2." in told
    assert "before, 0." in told


def test_artifacts_are_copied_before_they_are_computed(models, runs):
    run_plan(tiny_plan(models, "pure_competitive"), runs / "second", (runs / "first" / "artifacts",))
    assert contents(runs / "second" / "artifacts") == contents(runs / "first" / "artifacts")

    def fail(folder):
        raise AssertionError("computed again")

    first = next(path for path in (runs / "first" / "artifacts").iterdir() if not path.name.startswith("."))
    key = json.loads((first / "manifest.json").read_text())["key"]
    Artifacts(runs / "third", (runs / "first" / "artifacts",)).get(key, fail)


def asked_jobs(monkeypatch, plan, out, **options):
    jobs = []
    monkeypatch.setattr(WorkerPool, "run", lambda self, given, watch: jobs.extend(given) or {})
    sweep.run_sweep(plan, "micro", out, 1, "test", **options)
    return [job.name for job in jobs]


def test_a_sweep_runs_what_no_other_study_has_finished_unless_it_is_to_start_fresh(models, runs, monkeypatch, capsys):
    plan = tiny_plan(models, "pure_cooperative", "pure_competitive")
    names = asked_jobs(monkeypatch, plan, runs / "second")
    assert plan.trials[1].folder in names
    assert plan.trials[0].folder not in names
    assert "first: 1 trials" in capsys.readouterr().err
    assert {trial.folder for trial in plan.trials} <= set(asked_jobs(monkeypatch, plan, runs / "third", fresh=True))
