"""Whole trials on tiny random checkpoints: the files they leave, and equal bytes whatever disturbs them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from tiny_trials import run_plan, tiny_checkpoints

from ilr_bench.core.errors import StoreError
from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import DialogueRecord, SampleRecord, StepRecord, read, read_result, read_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.plan import plan_study
from ilr_bench.study.sweep import run_sweep
from ilr_bench.study.trial import resolve, run_trial, versions

SETTINGS = {
    "training.steps": "6",
    "training.questions_per_step": "2",
    "training.checkpoint_every": "2",
    "training.validate_every": "3",
    "questions.train": "8",
    "questions.validation": "4",
    "sampling.samples": "3",
    "sampling.max_new_tokens": "8",
    "sampling.max_analysis_tokens": "6",
    "sampling.max_ranking_tokens": "6",
    "evaluation.limit": "4",
    "evaluation.max_new_tokens": "8",
}
COMPARED = ("train.jsonl", "dialogues.jsonl", "config.json", "result.json", "eval/*/*.jsonl", "checkpoints/*/*/*")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, kind, seed in (("first", "llama", 1), ("second", "qwen2", 2)):
        (folder / name).mkdir()
        save_prepared(tiny_model(kind, seed=seed), tiny_tokenizer(), folder / name)
    return str(folder / "first"), str(folder / "second")


def arguments(models, out, variants="ilr"):
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    study = ["--variants", variants, "--models", ",".join(models), "--out", str(out)]
    return [*study, "--workers", "1", "--fresh", *settings]


def sweep(models, out, variants="ilr"):
    return subprocess.Popen(
        [sys.executable, "-m", "ilr_bench.sweep", *arguments(models, out, variants)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    found = sorted(path for pattern in COMPARED for path in folder.glob(pattern) if path.name != "manifest.json")
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}
    # The commit may move on while the tests run.
    contents["result.json"] = json.dumps(json.loads(contents["result.json"]) | {"versions": None}).encode()
    return contents


@pytest.fixture(scope="module")
def undisturbed(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    run_plan(study_plan(models, "ilr"), out)
    return out


def study_plan(models, *variants):
    return plan_study("micro", variants, [models], [0], {key: (value,) for key, value in SETTINGS.items()})


def trial_folder(out: Path) -> Path:
    return next((out / "trials").iterdir())


def test_a_trial_leaves_the_files_of_the_contract(undisturbed):
    folder = trial_folder(undisturbed)
    assert folder.name.startswith("ilr-")
    steps = list(read(folder / "train.jsonl", StepRecord))
    assert [record.step for record in steps] == [step for step in range(1, 7) for _ in range(2)]
    assert len(list(read(folder / "dialogues.jsonl", DialogueRecord))) == 6 * 2
    result = read_result(folder)
    assert result.sampled_tokens == {
        agent: sum(record.sampled_tokens for record in steps if record.agent == agent) for agent in result.agents
    }
    for agent in result.agents:
        for file in (folder / "eval" / agent).glob("*.jsonl"):
            records = list(read(file, SampleRecord))
            assert len(records) == 4
            assert {record.benchmark for record in records} == {file.stem}
        assert len(list((folder / "eval" / agent).glob("*.jsonl"))) == 6
    assert json.loads((folder / "config.json").read_text())["hash"] == result.hash
    assert read_study(undisturbed).trials[0].folder == str(folder.relative_to(undisturbed))


def test_weights_have_moved_and_both_agents_are_in_one_checkpoint(undisturbed):
    checkpoints = sorted((trial_folder(undisturbed) / "checkpoints").glob("*/"))
    assert "step-00000006" in [path.name for path in checkpoints]
    assert all(len(list(path.glob("*/model.safetensors"))) == 2 for path in checkpoints)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 5, 9])
def test_a_killed_sweep_continues_and_ends_in_the_same_bytes(lines, models, undisturbed, tmp_path):
    process = sweep(models, tmp_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        files = list(tmp_path.glob("trials/*/train.jsonl"))
        if files and files[0].read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = sweep(models, tmp_path)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert contents(trial_folder(tmp_path)) == contents(trial_folder(undisturbed))


@pytest.fixture(scope="module")
def survivals(tmp_path_factory):
    """Name -> how the attempts at a disturbed trial ended, and which files differ in the end (see survivals.py)."""
    return survived(tmp_path_factory.mktemp("survivals"), "quick")


def survived(folder, how):
    program = Path(__file__).parents[1] / "helpers" / "survivals.py"
    command = [sys.executable, str(program), str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: (ended, other) for name, ended, other in map(json.loads, done.stdout.splitlines())}


def check_survivals(found):
    """Every trial ended in the bytes of the undisturbed one, but for torn files that are refused by name."""
    tears = {name: ended[-1] for name, (ended, _) in found.items() if name.startswith(("flip", "cut"))}
    refused = {name for name, output in tears.items() if output.startswith("StoreError")}
    assert all("does not match its manifest" in tears[name] for name in refused)
    found = {name: seen for name, seen in found.items() if name not in refused}
    assert {name: other for name, (_, other) in found.items() if other} == {}
    assert {name: ended for name, (ended, _) in found.items() if ended[-1] != "done"} == {}
    firsts = {name.split()[0]: set() for name in found}
    for name, (ended, _) in found.items():
        firsts[name.split()[0]].add(ended[0].split(":")[0])
    assert firsts.pop("full") <= {"StoreError", "done"}  # where the file is needed no more, nobody writes it
    assert firsts.pop("flip", {"done"}) == firsts.pop("cut", {"done"}) == {"done"}
    assert firsts == {"kill": {"killed"}, "stop": {"Stopped"}, "parts": {"done"}}


def test_a_killed_stopped_or_torn_trial_ends_in_the_same_bytes(survivals):
    check_survivals(survivals)
    assert sum(name.startswith("kill") for name in survivals) >= 5


def test_a_full_disk_is_a_clear_error(survivals):
    output = [ended[0] for name, (ended, _) in survivals.items() if name.startswith("full")]
    assert all("free some space and run the same command again" in text for text in output)


def test_a_stopped_trial_says_where_it_is_and_how_to_go_on(survivals):
    (in_step, _), (in_evaluation, _) = survivals["stop in a step"], survivals["stop in an evaluation"]
    assert "stopped by SIGTERM after step 1 of ilr-first+second-0-" in in_step[0]
    assert "micro_ood.part.jsonl" in in_evaluation[0]
    assert all("run the same command again to continue" in ended[0] for ended in (in_step, in_evaluation))


@pytest.mark.slow
def test_files_torn_anywhere_and_writes_refused_everywhere_end_in_the_same_bytes(tmp_path):
    check_survivals(survived(tmp_path, "all"))


def test_global_generators_decide_nothing(models, undisturbed, tmp_path):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    run_plan(study_plan(models, "ilr"), tmp_path)
    assert contents(trial_folder(tmp_path)) == contents(trial_folder(undisturbed))


def test_the_last_checkpoints_stay_and_the_best_by_validation(models, tmp_path):
    (trial,) = study_plan(models, "ilr").trials
    run_trial(trial.config, trial.hash, tmp_path / "trial", Artifacts(tmp_path / "artifacts"), keep=2)
    by_step = {}
    for record in read(tmp_path / "trial" / "train.jsonl", StepRecord):
        if record.validation_accuracy is not None:
            by_step.setdefault(record.step, []).append(record.validation_accuracy)
    means = {step: sum(values) / len(values) for step, values in by_step.items()}
    best = max(means, key=lambda step: (means[step], -step))
    kept = [int(path.name.removeprefix("step-")) for path in (tmp_path / "trial" / "checkpoints").iterdir()]
    assert sorted(kept) == sorted({4, 6, best})
    state = json.loads((tmp_path / "trial" / "checkpoints" / "step-00000006" / "state.json").read_text())
    assert state["best"] == {"step": best, "validation_accuracy": means[best]}


def test_a_trial_whose_model_changed_begins_anew_and_no_checkpoint_of_another_model_is_continued(
    tmp_path, monkeypatch, caplog
):
    models = tiny_checkpoints(tmp_path)
    (trial,) = study_plan(models, "ilr").trials
    run = partial(run_trial, trial.config, trial.hash, tmp_path / "trial", Artifacts(tmp_path / "artifacts"))
    assert run(until=2) is None
    save_prepared(tiny_model("llama", seed=9), tiny_tokenizer(), Path(models[0]))
    assert run(until=2) is None
    assert "model.safetensors changed; run again" in caplog.text
    (earlier,) = (tmp_path / "superseded").iterdir()
    other = [folder / "checkpoints/step-00000002/state.json" for folder in (earlier, tmp_path / "trial")]
    assert json.loads(other[0].read_text())["models"] != json.loads(other[1].read_text())["models"]
    save_prepared(tiny_model("llama", seed=8), tiny_tokenizer(), Path(models[0]))
    monkeypatch.setattr("ilr_bench.study.trial.settle", lambda *inputs: "")
    with pytest.raises(StoreError, match="the model of first is not the one that step 2 was trained from"):
        run()


def test_a_finished_study_is_not_run_again(models, undisturbed):
    before = {path: path.stat().st_mtime_ns for path in trial_folder(undisturbed).rglob("*")}
    run_sweep(study_plan(models, "ilr"), "micro", undisturbed, workers=1, command="test", fresh=True)
    assert {path: path.stat().st_mtime_ns for path in trial_folder(undisturbed).rglob("*")} == before


def test_a_matched_trial_samples_about_as_many_tokens_as_the_one_it_matches(models, tmp_path):
    run_plan(study_plan(models, "grpo_matched"), tmp_path)
    matched, other = (
        read_result(next((tmp_path / "trials").glob(f"{name}-*"))).sampled_tokens for name in ("grpo_matched", "ilr")
    )
    assert matched == pytest.approx(other, rel=0.25)


def test_a_trial_without_steps_has_no_tokens_to_match(tmp_path):
    plan = plan_study("micro", ["grpo_matched"], overrides={"training.steps": ("0",)})
    matched = next(trial.config for trial in plan.trials if trial.dependency)
    assert resolve(matched, tmp_path) == matched


def test_a_machine_without_git_has_an_unknown_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert versions()["commit"] == "unknown"


def test_an_output_folder_where_a_file_lies_is_one_line_and_a_status(tmp_path):
    (tmp_path / "taken").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "ilr_bench.sweep", "--variants", "base", "--out", str(tmp_path / "taken")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "a file lies where a folder is needed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--variants", "irl", "--out", "x"], 2, "did you mean ilr?"),
        (["--variants", "ilr", "--out", "x", "--profile", "mikro"], 2, "did you mean micro?"),
        (["--variants", "ilr", "--out", "x", "--set", "training.step=3"], 2, "did you mean training.steps?"),
        (["--variants", "ilr", "--out", "x", "--models", "A"], 2, "at least two agents"),
        (["--variants", "ilr", "--out", "x", "--seeds", "one"], 2, "whole numbers"),
    ],
)
def test_bad_input_is_one_line_and_a_status(arguments, status, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ilr_bench.sweep", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()
