"""Whole trials on tiny random checkpoints: the files they leave, resuming after `kill -9`, equal bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from ilr_bench.models.loading import save_prepared
from ilr_bench.plan import plan_study
from ilr_bench.records import DialogueRecord, SampleRecord, StepRecord, read, read_result, read_study
from ilr_bench.sweep import run_sweep
from ilr_bench.trial import resolve, versions

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
    plan = plan_study("micro", ["ilr"], [models], [0], {key: (value,) for key, value in SETTINGS.items()})
    outcome = run_sweep(plan, "micro", out, workers=1, command="test", fresh=True)
    assert outcome.failed == {}
    return out


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
    assert len(checkpoints) == 1
    assert len(list(checkpoints[0].glob("*/model.safetensors"))) == 2


@pytest.mark.parametrize("lines", [pytest.param(1, marks=pytest.mark.slow), 5, pytest.param(9, marks=pytest.mark.slow)])
def test_a_killed_trial_continues_and_ends_in_the_same_bytes(lines, models, undisturbed, tmp_path):
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


def test_a_finished_study_is_not_run_again(models, undisturbed):
    before = {path: path.stat().st_mtime_ns for path in trial_folder(undisturbed).rglob("*")}
    plan = plan_study("micro", ["ilr"], [models], [0], {key: (value,) for key, value in SETTINGS.items()})
    run_sweep(plan, "micro", undisturbed, workers=1, command="test", fresh=True)
    assert {path: path.stat().st_mtime_ns for path in trial_folder(undisturbed).rglob("*")} == before


def test_a_matched_trial_samples_about_as_many_tokens_as_the_one_it_matches(models, tmp_path):
    plan = plan_study("micro", ["grpo_matched"], [models], [0], {key: (value,) for key, value in SETTINGS.items()})
    outcome = run_sweep(plan, "micro", tmp_path, workers=1, command="test", fresh=True)
    assert outcome.failed == {}
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
        (["--variants", "ilr", "--out", "x", "--seeds", "one"], 1, "whole numbers"),
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
