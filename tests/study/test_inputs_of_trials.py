"""A trial whose inputs changed is run or evaluated again, by name; one whose inputs are as they were is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from own_files import NAME, Laboratory, asked, edit_rows, install
from tiny_trials import contents

from ilr_bench.storage import provenance
from ilr_bench.storage.records import SampleRecord, read, read_result, read_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.cost.forecast import states
from ilr_bench.study.inputs import SUPERSEDED, inputs_of_trials, noted_inputs
from ilr_bench.study.plan import Plan, plan_study
from ilr_bench.study.reuse import sibling_studies
from ilr_bench.study.sweep import begin
from ilr_bench.study.trial import run_trial
from reports.frames import load
from reports.registry import Settings
from reports.why import why


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own files, and a study of them that has finished."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        laboratory = Laboratory(folder)
        install(laboratory, patch)
        sweep(planned(laboratory), folder / "runs" / "first")
    return folder


@pytest.fixture
def laboratory(made: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """The files and the study, as they were made; a model is named by its path, so they stay where they are."""
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    found = Laboratory.__new__(Laboratory)
    found.folder, found.models = made, (str(made / "first"), str(made / "second"))
    found.write_all()
    install(found, monkeypatch)
    if not (made / "kept").exists():
        shutil.copytree(made / "runs", made / "kept", symlinks=True)
    shutil.rmtree(made / "runs")
    shutil.copytree(made / "kept", made / "runs")
    return found


def planned(laboratory: Laboratory, *variants: str, **more: str) -> Plan:
    settings = {key: (value,) for key, value in asked(**more).items()}
    return plan_study("micro", variants or ("pure_cooperative",), [laboratory.models], [0], settings)


def sweep(plan: Plan, out: Path, only: int | None = None) -> list[str]:
    """What a sweep does in its own process; returns the folders of the trials that it ran."""
    siblings = sibling_studies(out)
    artifacts = Artifacts(out / "artifacts", tuple(study / "artifacts" for study in siblings))
    out.mkdir(parents=True, exist_ok=True)
    left = begin(plan, inputs_of_trials(plan.trials), "micro", "test", out, artifacts, siblings)
    for trial in left[:only]:
        needed = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
        run_trial(trial.config, trial.hash, out / trial.folder, artifacts, needed)
    return [trial.folder for trial in left[:only]]


def golds(out: Path, plan: Plan) -> list[str]:
    path = out / plan.trials[0].folder / "eval" / "first" / f"{NAME}.jsonl"
    return [record.gold for record in read(path, SampleRecord)]


def test_the_same_inputs_run_nothing_again(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    before = contents(out)
    assert sweep(plan, out) == []
    assert contents(out) == before
    assert "1 of 1 trials have finished before" in capsys.readouterr().err
    assert [state.kind for state in states(plan, out).values()] == ["finished"]


def test_torn_notes_of_inputs_are_written_again_and_nothing_is_run(laboratory: Laboratory) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    before = contents(out)
    (inputs,) = (name for trial in plan.trials if (name := noted_inputs(out / trial.folder)))
    torn = out / "artifacts" / inputs / "manifest.json"
    torn.write_bytes(torn.read_bytes()[:100])
    assert sweep(plan, out) == []
    assert contents(out) == before


def test_a_finished_trial_whose_configuration_is_torn_is_mended_and_not_trained_again(laboratory: Laboratory) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    before = contents(out)
    torn = out / plan.trials[0].folder / "config.json"
    torn.write_bytes(torn.read_bytes()[:100])
    assert len(sweep(plan, out)) == 1
    assert contents(out) == before


def test_an_edited_gold_is_scored_again_and_nothing_is_trained_again(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    folder = out / plan.trials[0].folder
    trained = {name: data for name, data in contents(folder).items() if name.startswith(("checkpoints", "train"))}
    assert len(trained) > 3
    edit_rows(laboratory, "benchmark", lambda rows: [rows[n].__setitem__(1, "99") for n in (3, 7)])()
    assert [state.kind for state in states(plan, out).values()] == ["started"]
    assert sweep(plan, out) == [plan.trials[0].folder]
    assert f"benchmark {NAME}: 2 of 50 rows changed; evaluated again (1 trials)" in capsys.readouterr().err
    assert trained == {name: data for name, data in contents(folder).items() if name in trained}
    assert [number for number, gold in enumerate(golds(out, plan)) if gold == "99"] == [3, 7]
    assert not (out / SUPERSEDED).exists()
    assert sweep(plan, out) == []
    fresh = laboratory.folder / "fresh" / "one"
    sweep(plan, fresh)
    assert contents(fresh / "trials") == contents(out / "trials")


def test_an_edited_question_trains_again_and_an_edit_that_is_taken_back_brings_the_trial_back(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    folder = out / plan.trials[0].folder
    before = contents(folder)
    edit_rows(laboratory, "questions", lambda rows: rows[1].__setitem__(1, "7"))()
    assert [state.kind for state in states(plan, out).values()] == ["new"]
    assert sweep(plan, out) == [plan.trials[0].folder]
    told = capsys.readouterr().err
    assert f"questions {NAME} (4 + 2): 1 of 6 rows changed; run again, the earlier one is in" in told
    (aside,) = (out / SUPERSEDED).iterdir()
    assert contents(aside) == before
    assert contents(folder) != before
    laboratory.write_all()
    assert sweep(plan, out) == []
    assert "taken up again" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_trial_that_was_interrupted_is_not_continued_with_other_questions(laboratory: Laboratory) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "halves"
    trial, artifacts = plan.trials[0], Artifacts(out / "artifacts")
    run_trial(trial.config, trial.hash, out / trial.folder, artifacts, until=1)
    edit_rows(laboratory, "questions", lambda rows: [row.__setitem__(0, f" {row[0]}") for row in rows])()
    run_trial(trial.config, trial.hash, out / trial.folder, artifacts)
    sweep(plan, laboratory.folder / "elsewhere" / "whole")
    assert contents(out / trial.folder) == contents(laboratory.folder / "elsewhere" / "whole" / trial.folder)


def test_a_neighbour_that_other_weights_trained_is_not_taken_over(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, runs = planned(laboratory), laboratory.folder / "runs"
    weights = Path(laboratory.models[0]) / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        assert sweep(plan, runs / "second", only=0) == []
        told = capsys.readouterr().err
        assert "not taken over from" in told
        assert f"1 trials; since then model {laboratory.models[0]}: model.safetensors changed" in told
        assert [state.kind for state in states(plan, runs / "second").values()] == ["new"]
    finally:
        weights.write_bytes(kept)
    sweep(plan, runs / "second", only=0)
    assert (runs / "second" / plan.trials[0].folder / "result.json").exists()


def test_edited_code_runs_again_and_an_edited_docstring_does_not(
    laboratory: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = planned(laboratory), laboratory.folder / "runs" / "first"
    copy = tmp_path / "ilr_bench"
    shutil.copytree(provenance.OWN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "OWN", copy)
    monkeypatch.setattr(provenance, "module_hashes", provenance.module_hashes.__wrapped__)
    module = copy / "learner" / "grpo.py"
    module.write_text(module.read_text().replace('"""', '"""Told anew. ', 1))
    assert sweep(plan, out, only=0) == []
    assert "have finished before" in capsys.readouterr().err
    module.write_text(module.read_text() + "\nEDITED = 1\n")
    sweep(plan, out, only=0)
    assert "code changed (learner/grpo.py); run again" in capsys.readouterr().err
    assert not (out / plan.trials[0].folder).exists()


def test_a_table_leaves_out_what_another_version_made_and_why_names_both(laboratory: Laboratory) -> None:
    both, out = planned(laboratory, "pure_cooperative", "pure_competitive"), laboratory.folder / "runs" / "first"
    sweep(both, out)
    assert load(out).unfinished == ()
    edit_rows(laboratory, "benchmark", lambda rows: rows[0].__setitem__(1, "99"))()
    sweep(planned(laboratory, "pure_competitive"), out)
    frames = load(out)
    (left_out,) = frames.unfinished
    assert left_out.startswith("pure_cooperative, ")
    assert left_out.endswith(f"(made with another version of benchmark {NAME})")
    assert set(frames.samples["variant"]) == {"pure_competitive"}
    sweep(both, out)
    frames = load(out)
    assert frames.unfinished == ()
    new, old = read_study(out).inputs[f"benchmark {NAME}"]
    lines = why(frames, "variants", "first/pure_competitive", "Avg", Settings())
    (line,) = (line for line in lines if NAME in line and "version" in line)
    assert f"in version {new}, before {old}; the last change: benchmark {NAME}: 1 of 50 rows changed" in line


def test_a_variant_that_was_edited_takes_the_place_of_what_it_was(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    out = laboratory.folder / "runs" / "first"
    other = planned(laboratory, sampling__samples="4")
    sweep(other, out, only=0)
    assert [entry.hash for entry in read_study(out).trials] == [other.trials[0].hash]
    assert "has other settings now" in capsys.readouterr().err
    assert read_result(out / planned(laboratory).trials[0].folder).inputs
